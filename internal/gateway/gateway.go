package gateway

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/upstream"
	"sallyport.dev/zone"
)

// Gateway is one running outer door. Everything in it is made by New from one
// zone and never changes, but for the caches and counters, which guard
// themselves.
type Gateway struct {
	zone      *zone.Zone
	stages    []stage
	listeners []*listener
	services  map[string]*upstream.Set // by name
	inner     *innerDoors
	spool     *httpsig.Spool // nil: no service has an inner door
	room      room           // for what is spooled

	auth    Authenticator
	tokens  TokenService
	journal Journal
	limiter Limiter
	metrics *obs.Metrics
	log     *slog.Logger
	clock   func() time.Time
	drain   time.Duration

	principals  *principals
	lookups     singleflight.Group // of credentials not in principals
	mints       singleflight.Group // of inside tokens
	requests    *addressBound      // per client address
	crossOrigin *http.CrossOriginProtection
	timers      *stageTimers
	lines       lineBound // of the log
	draining    atomic.Bool
	cutting     atomic.Bool  // the drain is over: what is left is cut, by us
	underWay    atomic.Int64 // handlers
	trips       sync.Pool    // of *trip
}

// New builds the door of a zone: its listeners, routes, upstream pools and
// caches. It opens nothing yet: see Run and Serve.
func New(cfg Config) (*Gateway, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	g := &Gateway{
		zone:       cfg.Zone,
		stages:     pipeline(),
		services:   make(map[string]*upstream.Set, len(cfg.Zone.Services)),
		room:       newRoom(),
		inner:      newInnerDoors(cfg.Zone.Name, cfg.Identity, cfg.Clock),
		auth:       cfg.Auth,
		tokens:     cfg.Tokens,
		journal:    cfg.Journal,
		limiter:    cfg.Limiter,
		metrics:    cfg.Metrics,
		log:        cfg.Log,
		clock:      cfg.Clock,
		drain:      cfg.Drain,
		principals: newPrincipals(maxPrincipals),
		requests:   newAddressBound(cfg.Addresses.Requests, maxAddresses, cfg.Addresses.Loopback),
		timers:     newStageTimers(cfg.Metrics, Stages()),

		crossOrigin: http.NewCrossOriginProtection(), // trusts no other origin
	}
	if cfg.Spool != "" {
		var err error
		if g.spool, err = openSpool(cfg.Spool); err != nil {
			return nil, fmt.Errorf("gateway: folder of bodies: %w", err)
		}
	}
	if cfg.Upstream.Dial == nil {
		cfg.Upstream.Dial, cfg.Upstream.Prove = g.inner.dial, g.inner.prove
	}
	for _, svc := range cfg.Zone.Services {
		g.services[svc.Name] = upstream.New(svc, cfg.Upstream)
	}
	for i, zl := range cfg.Zone.Listeners {
		l, err := newListener(g, zl, i, &cfg)
		if err != nil {
			g.Close()
			return nil, err
		}
		g.listeners = append(g.listeners, l)
	}
	return g, nil
}

// Close lets go of the upstream connections. Run and Serve do it when they end.
func (g *Gateway) Close() {
	defer g.inner.close()
	for _, s := range g.services {
		s.Close()
	}
}

// Forget drops what is remembered of one credential, by its SHA-256: principal
// and inside tokens. A look-up that is under way is not remembered, so a request
// that begins after Forget has returned asks the authenticator again.
func (g *Gateway) Forget(credential [32]byte) { g.principals.forget(credential) }

// ForgetSubject does the same for every credential of a subject: its rights
// changed, or it is gone.
func (g *Gateway) ForgetSubject(subject string) { g.principals.forgetSubject(subject) }

// anonymous is the principal of requests without a credential. It is never changed.
func anonymous() *policy.Principal {
	return &policy.Principal{Kind: policy.Anonymous, Subject: policy.AnonymousSubject}
}
