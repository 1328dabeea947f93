package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/guess"
	"sallyport.dev/internal/identity"
	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/oauth"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/recall"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

const (
	base          = "https://bench.example"
	callback      = "https://client.example/cb"
	passphrase    = "a long enough passphrase"                         // #nosec G101 -- of the seeded accounts
	clientSecret  = "the secret of a client of the bench, long enough" // #nosec G101 -- likewise
	agent         = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
	smallAccounts = 100
	perUser       = 50 // sessions of an account that are seeded, at most: logins add some, and at 100 the oldest end
)

// lives are the lifetimes of sessions that a map has by default.
var lives = zone.Sessions{Idle: 30 * time.Minute, Absolute: 12 * time.Hour, Remember: 30 * 24 * time.Hour}

// bed is one zone's account service and provider, on a database of its own.
type bed struct {
	name               string
	accounts, sessions int
	dir                string
	db                 *store.DB
	mux                *http.ServeMux
	identity           *identity.Identity
	lived              *session.Sessions
	provider           *oauth.Provider
	introspected       *recall.Memory[oauth.Resolved]
	outbox             *mail.Outbox
	sink               *smtpSink
	counters           *delayed
	ahead              atomic.Int64 // ns by which the clock of the bounds of guessing is ahead
	clients            int          // addresses that were used
}

// newBed makes a zone of so many accounts with the sessions spread over them.
func newBed(ctx context.Context, folder string, accounts, sessions int) (_ *bed, err error) {
	b := &bed{name: fmt.Sprintf("%d accounts, %d sessions", accounts, sessions), accounts: accounts, sessions: sessions}
	if b.dir, err = os.MkdirTemp(folder, "bench-accounts-"); err != nil {
		return nil, err
	}
	if err := b.fill(ctx); err != nil {
		b.close()
		return nil, fmt.Errorf("%s: %w", b.name, err)
	}
	return b, nil
}

func (b *bed) close() {
	if b.db != nil {
		_ = b.db.Close()
	}
	_ = os.RemoveAll(b.dir)
}

// clock is that of the bounds of guessing and of what is short-lived: it is moved
// on, since measuring is faster than those allow.
func (b *bed) clock() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) }

func (b *bed) fill(ctx context.Context) error {
	passwords, err := password.New(password.Config{})
	if err != nil {
		return err
	}
	hash, _, err := passwords.Hash(ctx, passphrase)
	if err != nil {
		return err
	}
	path := filepath.Join(b.dir, "zone.db")
	if b.db, err = store.OpenSQLite(ctx, path); err != nil { // makes the schema
		return err
	}
	if err := b.db.Close(); err != nil {
		return err
	}
	began := time.Now()
	if err := seed(ctx, path, b.accounts, b.sessions, hash); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	if info, err := os.Stat(path); err == nil {
		fmt.Fprintf(os.Stderr, "seeded %s in %v, %d MiB\n", b.name, time.Since(began).Round(time.Millisecond), info.Size()>>20)
	}
	if b.db, err = store.OpenSQLite(ctx, path); err != nil {
		return err
	}
	return b.open(ctx, passwords)
}

// open joins the parts as package app does.
func (b *bed) open(ctx context.Context, passwords *password.Passwords) error {
	sink, err := newSink(ctx)
	if err != nil {
		return err
	}
	b.sink = sink
	z := benchZone()
	root, err := keys.OpenRoot(filepath.Join(b.dir, "root.key"), true)
	if err != nil {
		return err
	}
	ring, err := keys.NewRing(ctx, b.db, root, keys.RingConfig{Name: "openid", Rotate: 24 * time.Hour, Overlap: time.Hour})
	if err != nil {
		return err
	}
	factors, err := factor.New(ctx, factor.Config{DB: b.db, Root: root, Zone: z.Name, RPID: z.Name, Origins: []string{base}})
	if err != nil {
		return err
	}
	b.outbox, err = mail.New(mail.Config{
		DB: b.db, Root: root, Zone: z, URL: obs.Secret("smtp://" + sink.address), Base: base,
		Render: func(ctx context.Context, tx *store.Tx, job mail.Job) (*mail.Letter, error) {
			return b.identity.Letter(ctx, tx, job)
		},
	})
	if err != nil {
		return err
	}
	memory := kv.NewMemory(b.clock, 1<<17)
	b.counters = &delayed{Counters: memory}
	b.lived = session.New(b.db, lives, time.Now)
	flows, guesses := flow.New(b.db, root, time.Now), guess.New(b.counters, memory, make([]byte, 32), b.clock)
	b.identity, err = identity.New(identity.Config{
		DB: b.db, Root: root, Zone: z, Sessions: accountSessions{of: b.lived}, Passwords: passwords, Factors: factors, Flows: flows, Guesses: guesses,
		Mail: b.outbox, Base: base,
	})
	if err != nil {
		return err
	}
	pages, err := page.New(page.Config{Zone: z})
	if err != nil {
		return err
	}
	b.introspected = recall.New(func(t oauth.Resolved, subject string) bool { return t.Subject == subject }, time.Now, func(time.Time) bool { return true })
	b.db.Subscribe(b.introspected.Forget)
	b.provider, err = oauth.New(ctx, oauth.Config{
		Zone: z, Issuer: base, DB: b.db, Values: memory, Root: root, Keys: ring, Introspected: b.introspected, Users: users{b}, Throttle: guesses, Pages: pages, Flows: flows,
		Secret: func(*zone.Secret) (string, error) { return clientSecret, nil },
	})
	if err != nil {
		return err
	}
	b.lived.SetHooks(session.Hooks{Ended: b.provider.RevokeSessionTx, Moved: b.provider.MoveSessionTx})
	b.mux = http.NewServeMux()
	for _, r := range b.identity.Routes() {
		b.mux.Handle(r.Method+" "+r.Path, r.Handler)
	}
	for _, r := range b.provider.Routes() {
		b.mux.Handle(r.Method+" "+r.Path, r.Handler)
	}
	return nil
}

// benchZone is a zone with open registration, mail and one confidential client.
func benchZone() *zone.Zone {
	return &zone.Zone{
		Name:     "bench.example",
		Services: []*zone.Service{{Routes: []*zone.Route{{Scopes: []string{"orders.read"}}}}},
		Identity: zone.Identity{
			URL: base, Registration: zone.RegistrationOpen, Sessions: lives, Mail: &zone.Mail{From: "zone@bench.example"},
			Clients: []zone.Client{{
				ID: "shop", Title: "The shop", Kind: "confidential", RedirectURIs: []string{callback}, Scopes: []string{"openid", "orders.read"},
				Grants: []string{"authorization_code", "client_credentials"}, Secret: &zone.Secret{},
			}},
		},
	}
}

// accountSessions hands sessions to the account service in its own words: those
// methods that the bench comes to.
type accountSessions struct {
	identity.Sessions
	of *session.Sessions
}

func (a accountSessions) CreateTx(ctx context.Context, tx *store.Tx, n identity.NewSession) (string, identity.Session, error) {
	token, s, err := a.of.CreateTx(ctx, tx, session.NewSession(n))
	return token, identity.Session{
		ID: s.ID, User: s.User, Created: s.Created, AuthTime: s.AuthTime, Remember: s.Remember, LastUsed: s.LastUsed, Expires: s.Expires,
		Level: s.Level, Method: s.Method, Client: s.Client, Agent: s.Agent,
	}, err
}

func (a accountSessions) LiveTx(ctx context.Context, tx *store.Tx, user, id string) error {
	return a.of.LiveTx(ctx, tx, user, id)
}

// users tells the provider of accounts and sessions, as package app does.
type users struct{ b *bed }

func (users) Claims(context.Context, string, []string) (map[string]any, error) {
	return map[string]any{}, nil
}

func (u users) Active(ctx context.Context, user, id string) (time.Time, error) {
	s, err := u.b.lived.Find(ctx, user, id)
	if err != nil {
		return time.Time{}, err
	}
	_, err = u.b.identity.Principal(ctx, user, s.Reached)
	return s.ValidUntil, err
}

func (users) EndSession(http.ResponseWriter, *http.Request, string, string) error {
	return errors.New("bench: nobody logs out")
}

// asUser is a request of a seeded session, as the gateway would pass it on.
func asUser(ctx context.Context, accounts, n int) context.Context {
	return policy.WithPrincipal(ctx, &policy.Principal{
		Kind: policy.User, Subject: userOf(n % accounts), Session: sessionOf(n), Level: 1, Method: "cookie", AuthTime: time.Now(),
	})
}
