package oauth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/recall"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

// Users are the accounts and sessions of the zone, as this package needs them.
type Users interface {
	// Claims are what OpenID Connect tells of a user for these scopes, without sub.
	Claims(ctx context.Context, user string, scopes []string) (map[string]any, error)
	// Active says whether a user may act now, and whether a session of theirs
	// lives; an empty session is not asked about. until bounds how long that may be
	// believed, a revocation aside; zero: it has no bound. Reasons: auth.invalid,
	// auth.revoked, auth.expired, auth.unavailable.
	Active(ctx context.Context, user, session string) (until time.Time, err error)
	// EndSession logs a session of a user out and takes its cookie back.
	EndSession(w http.ResponseWriter, r *http.Request, user, session string) error
}

// Throttle bounds how often something happens.
type Throttle interface {
	Take(ctx context.Context, kind, subject string, rates ...zone.Rate) error
}

// Ring is the ring of keys that OpenID tokens are signed with.
type Ring interface {
	SigningKey(ctx context.Context) (token.SigningKey, error)
	PublicKeys(ctx context.Context) ([]token.PublicKey, error)
}

// Lifetimes of what is given out. Zero values take those of DefaultLifetimes.
type Lifetimes struct {
	Request     time.Duration // an authorization request, from its first page to its last
	Pushed      time.Duration // a pushed request, until it is taken up
	Code        time.Duration
	Device      time.Duration // a device code; the library has no other
	Access      time.Duration // access tokens
	ID          time.Duration // ID tokens
	RefreshIdle time.Duration // a refresh token that rests
	Refresh     time.Duration // a family of refresh tokens, however much it is used
	Overlap     time.Duration // in which a refresh token may come again
}

// DefaultLifetimes are those of RFC 9700 and the FAPI 2.0 security profile, or
// shorter.
var DefaultLifetimes = Lifetimes{ //nolint:gochecknoglobals // a constant that Go has no way to write
	Request: 15 * time.Minute, Pushed: time.Minute, Code: time.Minute, Device: 5 * time.Minute, Access: 10 * time.Minute, ID: 10 * time.Minute,
	RefreshIdle: 14 * 24 * time.Hour, Refresh: 90 * 24 * time.Hour, Overlap: 10 * time.Second,
}

// Config is what a provider needs. All is required but where it is said.
type Config struct {
	Zone     *zone.Zone
	Issuer   string // https://host[:port], as clients reach it: no path
	MTLSBase string // the same of the listener with client_ca; empty: no mutual TLS
	DB       *store.DB
	Values   kv.Values
	Root     *keys.Root
	Keys     Ring // a ring of its own, overlap of an hour or more
	Users    Users
	Throttle Throttle
	Pages    *page.Pages
	Flows    *flow.Flows
	Secret   func(*zone.Secret) (string, error) // reads a secret of the map
	Client   *http.Client                       // back-channel logout; nil: one that follows no redirects
	Clock    func() time.Time                   // nil: time.Now. The library has no other than that
	Log      *slog.Logger                       // nil: nothing is logged
	Count    func(event string)                 // nil: nothing is counted; see the constants Event
	Life     Lifetimes

	// Introspected remembers what introspection found; nil: the store is asked each time.
	Introspected *recall.Memory[Resolved]
}

// The events that are counted, a closed list.
const (
	EventToken        = "token"         // an access token was issued
	EventCodeReplay   = "code_replay"   // a code came again
	EventRefreshReuse = "refresh_reuse" // a refresh token came again
	EventClient       = "client"        // a client could not show who it is
	EventLogoutSent   = "logout_sent"
	EventLogoutFailed = "logout_failed" // a client was not told, and will not be
)

func (c *Config) complete() error {
	if c.Zone == nil || c.Issuer == "" || c.DB == nil || c.Values == nil || c.Root == nil || c.Keys == nil || c.Users == nil ||
		c.Throttle == nil || c.Pages == nil || c.Flows == nil || c.Secret == nil {
		return errors.New("oauth: the configuration is not complete")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Count == nil {
		c.Count = func(string) {}
	}
	if c.Client == nil {
		c.Client = &http.Client{
			Timeout: 10 * time.Second,
			// Logouts are rare: a connection that is kept is mostly one that the client
			// has closed when the next one comes. Nothing of the environment leads astray.
			Transport:     &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	d := DefaultLifetimes
	for _, l := range []struct{ at, is *time.Duration }{
		{&c.Life.Request, &d.Request}, {&c.Life.Pushed, &d.Pushed}, {&c.Life.Code, &d.Code}, {&c.Life.Access, &d.Access}, {&c.Life.ID, &d.ID},
		{&c.Life.RefreshIdle, &d.RefreshIdle}, {&c.Life.Refresh, &d.Refresh}, {&c.Life.Overlap, &d.Overlap},
	} {
		if *l.at == 0 {
			*l.at = *l.is
		}
	}
	c.Life.Device = d.Device
	return nil
}
