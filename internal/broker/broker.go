package broker

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/outward"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// The kinds of providers that log users in.
const (
	KindOIDC   = "oidc"
	KindGitHub = "github"
	KindSAML   = "saml"
)

// Config is what a Broker is made of.
type Config struct {
	Providers []zone.Provider                    // those of other kinds are passed over
	Base      string                             // https://host[:port] of the zone: what callback addresses begin with
	DB        *store.DB                          // required for SAML: assertions that were used, the key of requests
	Root      *keys.Root                         // required for SAML: what that key is sealed under
	Secret    func(*zone.Secret) (string, error) // required where a provider has a client_secret
	Log       *slog.Logger                       // required
	Clock     func() time.Time                   // nil: time.Now
	Resolve   outward.Resolve                    // nil: the system's
	Timeout   time.Duration                      // of one call to a provider; 0: 10 s
	Before    *Broker                            // of the map before this one; what is unchanged is taken over
}

// Broker asks the providers of a zone. It is safe for concurrent use.
type Broker struct {
	base  string
	clock func() time.Time
	log   *slog.Logger
	list  []*entry    // in the order of the map
	key   *requestKey // nil: there was no SAML provider yet
}

// entry is a provider with what the map says of it.
type entry struct {
	zone.Provider
	protocol protocol

	mu     sync.Mutex
	told   time.Time // guarded by mu; of the last line about a provider that is not available
	untold int       // guarded by mu; lines since then that were not written
}

// protocol is how users log in at one provider.
type protocol interface {
	issuer(ctx context.Context) (string, error)
	begin(ctx context.Context, s *State) (redirect string, err error)
	finish(ctx context.Context, s *State, r *http.Request) (Claims, error)
	place() string // an address of the origin that begin leads to
	takeOver(old protocol)
}

// New returns a broker for the providers of a map. It asks none of them yet: one
// that is down keeps nobody from starting.
func New(ctx context.Context, cfg Config) (*Broker, error) {
	base, err := url.Parse(cfg.Base)
	if err != nil || base.Host == "" || cfg.Base != base.Scheme+"://"+base.Host {
		return nil, fmt.Errorf("broker: base %q is not https://host[:port]", cfg.Base)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = callTime
	}
	key, err := cfg.requestKey(ctx, base.Host)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	b := &Broker{base: cfg.Base, clock: cfg.Clock, log: cfg.Log, key: key}
	for _, p := range cfg.Providers {
		made, err := newProtocol(p, &cfg, key)
		if err != nil {
			return nil, fmt.Errorf("broker: provider %s: %w", p.Name, err)
		}
		if made == nil {
			continue
		}
		if old := cfg.Before.entry(p.Name); old != nil && sameSource(old.Provider, p) {
			made.takeOver(old.protocol)
		}
		b.list = append(b.list, &entry{Provider: p, protocol: made})
	}
	return b, nil
}

// requestKey returns the key of SAML requests: that of the broker before, or the
// one in the store where there is a provider for it; else nil.
func (cfg *Config) requestKey(ctx context.Context, host string) (key *requestKey, err error) {
	if cfg.Before != nil {
		key = cfg.Before.key
	}
	if !slices.ContainsFunc(cfg.Providers, func(p zone.Provider) bool { return p.Kind == KindSAML }) {
		return key, nil
	}
	if cfg.DB == nil || cfg.Root == nil {
		return nil, errors.New("no database and root key for SAML")
	}
	if key == nil {
		key, err = openRequestKey(ctx, cfg.DB, cfg.Root, host, cfg.Clock())
	}
	return key, err
}

// outward is how a provider is asked.
func (cfg *Config) outward(p zone.Provider) outward.Options {
	return outward.Options{CA: p.CA, Timeout: cfg.Timeout, Resolve: cfg.Resolve}
}

func newProtocol(p zone.Provider, cfg *Config, key *requestKey) (protocol, error) {
	secret := ""
	if p.ClientSecret != nil {
		if cfg.Secret == nil {
			return nil, errors.New("nobody reads its client_secret")
		}
		var err error
		if secret, err = cfg.Secret(p.ClientSecret); err != nil {
			return nil, fmt.Errorf("client_secret: %w", err)
		}
	}
	switch p.Kind {
	case KindOIDC:
		return newOIDC(p, secret, cfg)
	case KindGitHub:
		return newGitHub(p, secret, cfg)
	case KindSAML:
		return newSAML(p, cfg, key)
	default:
		return nil, nil
	}
}

// sameSource says whether documents of one are documents of the other.
func sameSource(a, b zone.Provider) bool {
	a.Title, b.Title = "", ""
	a.ClientID, b.ClientID = "", ""
	a.ClientSecret, b.ClientSecret = nil, nil
	a.Scopes, b.Scopes = nil, nil
	return reflect.DeepEqual(a, b)
}

func (b *Broker) entry(name string) *entry {
	if b == nil {
		return nil
	}
	for _, e := range b.list {
		if e.Name == name {
			return e
		}
	}
	return nil
}

// Provider is one that users may log in with.
type Provider struct {
	Name, Kind string
	Title      string // what its button says
	Fresh      bool   // it can be asked to log the user in anew, and says when it did
	// Origin is where Begin leads, for the form-action of a page's content policy:
	// browsers hold the answer to a form to it. Until the provider was asked for the
	// first time it is the origin of its issuer, which List does not wait for.
	Origin string
}

// List returns the providers in the order of the map.
func (b *Broker) List() []Provider {
	list := make([]Provider, 0, len(b.list))
	for _, e := range b.list {
		list = append(list, Provider{e.Name, e.Kind, cmp.Or(e.Title, e.Name), e.Kind != KindGitHub, originOf(e.protocol.place())})
	}
	return list
}

// Ask is how a login is asked for.
type Ask struct {
	// Handle comes back with the answer, where HandleOf reads it: the id of the
	// flow. 80 letters, digits, - and _ at most; empty: the broker makes one.
	Handle string
	// Fresh demands that the user logs in anew, which the answer must prove.
	Fresh bool
}

// Begin returns where to send the browser, and what Finish needs of this flow.
// Reasons: provider.unknown, provider.unavailable.
func (b *Broker) Begin(ctx context.Context, name string, ask Ask) (redirect string, s State, err error) {
	e := b.entry(name)
	if e == nil {
		return "", State{}, problem.New(problem.ProviderUnknown, nil)
	}
	if ask.Fresh && e.Kind == KindGitHub {
		return "", State{}, problem.New(problem.ProviderInvalid, errors.New("broker: github cannot be asked for a fresh login"))
	}
	if ask.Handle == "" {
		ask.Handle = rand.Text()
	}
	if !isHandle(ask.Handle) {
		return "", State{}, fmt.Errorf("broker: a handle of %d bytes or with other characters than letters, digits, - and _", len(ask.Handle))
	}
	s = State{Provider: e.Name, Kind: e.Kind, Handle: ask.Handle, Fresh: ask.Fresh, Begun: b.clock()}
	if s.Issuer, err = e.protocol.issuer(ctx); err == nil {
		redirect, err = e.protocol.begin(ctx, &s)
	}
	if err != nil {
		err = unavailable(ctx, err)
		b.tell(ctx, e, err)
		return "", State{}, err
	}
	return redirect, s, nil
}

// Finish returns who logged in. s is the State of the flow that the answer's
// handle names; the caller has made sure that the flow is of this browser and that
// it is finished once. For SAML, whose answer comes from another site and so
// without cookies, it is the caller's to look for the browser later: keep the
// claims and go on with a GET.
// Reasons: provider.unknown, provider.denied, provider.invalid, provider.unavailable.
func (b *Broker) Finish(ctx context.Context, name string, s State, r *http.Request) (Claims, error) {
	e := b.entry(name)
	if e == nil {
		return Claims{}, problem.New(problem.ProviderUnknown, nil)
	}
	c, err := b.finish(ctx, e, &s, r)
	if err != nil {
		err = unavailable(ctx, err)
		b.tell(ctx, e, err)
		return Claims{}, err
	}
	return c, nil
}

func (b *Broker) finish(ctx context.Context, e *entry, s *State, r *http.Request) (Claims, error) {
	if s.Provider != e.Name || s.Kind != e.Kind { // RFC 9700 section 4.4.2.2: each provider has its own callback
		return Claims{}, invalid("the flow is of the provider %q", s.Provider)
	}
	issuer, err := e.protocol.issuer(ctx)
	if err != nil {
		return Claims{}, err
	}
	if issuer != s.Issuer { // the map changed, or the metadata
		return Claims{}, invalid("the flow began with the issuer %q", s.Issuer)
	}
	c, err := e.protocol.finish(ctx, s, r)
	if err != nil {
		return Claims{}, err
	}
	c.Provider, c.Issuer = e.Name, issuer
	if s.Fresh && c.AuthTime.Before(s.Begun.Add(-leeway)) { // also where there is none
		return Claims{}, invalid("a fresh login was asked for, and the one told of is of %s", c.AuthTime)
	}
	if c.AuthTime.After(b.clock().Add(leeway)) {
		return Claims{}, invalid("the login is in the future")
	}
	return c, nil
}

// tell lets an operator find out why nobody comes in. That a provider is down is
// said once each ten seconds: strangers choose how often it is asked for.
func (b *Broker) tell(ctx context.Context, e *entry, err error) {
	p := (*problem.Error)(nil)
	if !errors.As(err, &p) {
		return // the caller gave up
	}
	untold := 0
	if p.Reason == problem.ProviderUnavailable {
		now := b.clock()
		e.mu.Lock()
		defer e.mu.Unlock()
		if since := now.Sub(e.told); !e.told.IsZero() && since >= 0 && since < outward.AskTime {
			e.untold++
			return
		}
		untold, e.told, e.untold = e.untold, now, 0
	}
	b.log.InfoContext(ctx, "login through a provider refused",
		slog.String("provider", e.Name), slog.String("reason", p.Reason.Code()), slog.Any("cause", p.Cause), slog.Int("untold", untold))
}

// originOf returns scheme, host and port of an address. It is for a header of ours,
// where hosts that URLs may have would be more than a host.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || strings.ContainsFunc(u.Host, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(".:-[]", c)
	}) {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// callback is the address at which the answers of a provider come back.
func callback(base, name, last string) string {
	return base + "/auth/providers/" + name + "/" + last
}

// Metadata returns the document that tells a SAML provider of this zone, of the
// media type application/samlmetadata+xml. Reason: provider.unknown.
func (b *Broker) Metadata(name string) ([]byte, error) {
	e := b.entry(name)
	if e == nil || e.Kind != KindSAML {
		return nil, problem.New(problem.ProviderUnknown, nil)
	}
	return e.protocol.(*samlProvider).own, nil
}

func isHandle(s string) bool {
	return s != "" && len(s) <= maxHandle && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}
