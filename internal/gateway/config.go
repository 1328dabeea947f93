package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"sallyport.dev/internal/dpop"
	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/reqsig"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/upstream"
	"sallyport.dev/zone"
)

// Authenticator resolves an outside credential. A refusal is a *problem.Error
// of the auth family; any other error is taken as auth.unavailable. The answer
// is believed for 30 s, never past validUntil, and never past a Forget.
type Authenticator interface {
	Authenticate(ctx context.Context, c Credential) (p policy.Principal, validUntil time.Time, err error)
}

// TokenService mints the inside token, on sight of the outside credential
// itself. An anonymous principal comes with the zero Credential. transaction is
// the token's `txn`; empty lets the service choose. Any error is token.unavailable.
type TokenService interface {
	Exchange(ctx context.Context, c Credential, p *policy.Principal, listener, transaction string) (value string, expires time.Time, err error)
}

// Journal keeps the one record of each request. Admit says whether a new
// request may begin; Append returns when the record has been handed to the
// kernel, AppendSync when it is on stable storage. Neither keeps r.
type Journal interface {
	Admit(admin bool) error
	Append(r *journal.Record) error
	AppendSync(r *journal.Record) error
}

// Limiter takes one from the allowance of a key, in one atomic step; kv.Store
// has it.
type Limiter interface {
	Take(ctx context.Context, key string, rate zone.Rate, now time.Time) (kv.Result, error)
}

// Once accepts a key once within a life; kv.Values has it. Any error refuses.
type Once interface {
	SetNX(ctx context.Context, key string, life time.Duration) (bool, error)
}

// SigningKeys finds the key that signs requests of an API key; *apikey.Keys has it
// in other words. Reason proof.invalid: there is none that is live; any other error
// is proof.unavailable.
type SigningKeys interface {
	SigningKey(ctx context.Context, id string) (key reqsig.Key, of string, err error)
}

// Certificates is where a listener's certificate comes from; *pki.Source is one.
type Certificates interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

// Local is an operation that this process answers itself: the account service,
// well-known documents.
type Local struct {
	Listener string // the only listener on which it exists
	Service  string // label of records and metrics, e.g. identity
	Method   string
	Path     string // Go ServeMux syntax
	Allow    zone.Allow
	Roles    []string
	Limit    zone.Rate
	Durable  bool  // its record is on stable storage before the answer leaves
	Raw      bool  // its handler judges the caller: credentials and DPoP proofs reach it untouched, also from other sites
	Body     int64 // bound of the request body in bytes; 0: the listener's
	Handler  http.Handler
}

// Config is all that a gateway needs. Everything is required but where it is said.
type Config struct {
	Zone         *zone.Zone
	Certificates map[string]Certificates // by listener name
	Locals       []Local                 // may be empty
	Auth         Authenticator
	Tokens       TokenService
	Journal      Journal
	Limiter      Limiter
	Metrics      *obs.Metrics
	Log          *slog.Logger

	Clock     func() time.Time // default time.Now
	Drain     time.Duration    // how long a stop waits for requests under way; default 10 s
	Addresses AddressBounds    // default DefaultAddressBounds
	Upstream  upstream.Config  // how services are reached; Clock and Log are those above, and so are Dial and Prove but for tests

	// Fresh says whether what is remembered of credentials may be believed: whether
	// this process has heard of revocations made elsewhere lately. While it may not,
	// each request asks the authenticator. nil: there is no elsewhere.
	Fresh func(now time.Time) bool

	// Nonces are those of DPoP proofs, Once what keeps the ids of proofs and the
	// nonces of signed requests; nil: no credential that is bound to a key passes.
	Nonces dpop.Nonces
	Once   Once
	// Signing knows the keys of routes with `signed: true`; nil: nobody passes there.
	Signing SigningKeys

	// Identity is spiffe://ZONE/gateway. Needed where a service has an inner door.
	Identity *svid.Source
	// Spool is the folder for bodies that are too large for memory, made if it is
	// not there. Needed likewise; on a disk that may hold what clients send.
	Spool string

	graces graces // other than the default in tests alone
}

const defaultDrain = 10 * time.Second

// graces are how long others may take where a map does not say it.
type graces struct {
	body   time.Duration // default bodyGrace
	reader time.Duration // default readerGrace
	vigil  time.Duration // default vigilGrace
	tunnel time.Duration // default tunnelRest
}

func (s graces) withDefaults() graces {
	return graces{
		body: cmp.Or(s.body, bodyGrace), reader: cmp.Or(s.reader, readerGrace),
		vigil: cmp.Or(s.vigil, vigilGrace), tunnel: cmp.Or(s.tunnel, tunnelRest),
	}
}

// check refuses a configuration that would have to guess, and fills in what may
// be left out.
func (c *Config) check() error {
	var missing []string
	for _, need := range []struct {
		name string
		is   bool
	}{
		{"Zone", c.Zone != nil}, {"Auth", c.Auth != nil}, {"Tokens", c.Tokens != nil}, {"Journal", c.Journal != nil},
		{"Limiter", c.Limiter != nil}, {"Metrics", c.Metrics != nil}, {"Log", c.Log != nil},
	} {
		if !need.is {
			missing = append(missing, need.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("gateway: configuration lacks %v", missing)
	}
	if len(c.Zone.Listeners) == 0 {
		return errors.New("gateway: the zone has no listener")
	}
	if len(c.Zone.Listeners) > maxListeners {
		return fmt.Errorf("gateway: the zone has more than %d listeners", maxListeners)
	}
	for _, l := range c.Zone.Listeners {
		if b := l.Limits; min(b.Body, b.Header, int64(b.HeaderTime), int64(b.Idle), b.BodyRate, int64(b.Connections), int64(b.Streams)) <= 0 {
			return fmt.Errorf("gateway: listener %s has a limit that bounds nothing", l.Name)
		}
		if c.Certificates[l.Name] == nil {
			return fmt.Errorf("gateway: listener %s has no certificate source", l.Name)
		}
	}
	for _, local := range c.Locals {
		if c.Zone.Listener(local.Listener) == nil {
			return fmt.Errorf("gateway: local route %s %s is on unknown listener %q", local.Method, local.Path, local.Listener)
		}
		if local.Handler == nil || local.Service == "" {
			return fmt.Errorf("gateway: local route %s %s needs a handler and a service name", local.Method, local.Path)
		}
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Fresh == nil {
		c.Fresh = func(time.Time) bool { return true }
	}
	if c.Drain <= 0 {
		c.Drain = defaultDrain
	}
	for _, svc := range c.Zone.Services {
		if slices.ContainsFunc(svc.Routes, func(rt *zone.Route) bool { return rt.Signed }) && c.Spool == "" {
			return fmt.Errorf("gateway: service %s has a route with signed: true, and the gateway no folder for bodies", svc.Name)
		}
		if svc.InnerDoor() && (c.Spool == "" || c.Identity == nil && c.Upstream.Dial == nil) {
			return fmt.Errorf("gateway: service %s has an inner door, and the gateway no identity or no folder for bodies", svc.Name)
		}
	}
	c.Upstream.Clock, c.Upstream.Log = c.Clock, c.Log
	c.graces = c.graces.withDefaults()
	if c.Addresses == (AddressBounds{}) {
		c.Addresses = DefaultAddressBounds()
	}
	return nil
}
