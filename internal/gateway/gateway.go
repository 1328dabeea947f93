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
)

// Gateway is one running outer door. What it has from the map are its rules,
// which a reload replaces as a whole; the rest stays as New made it, but for the
// caches and counters, which guard themselves.
type Gateway struct {
	cfg      Config // of the rules in force; guarded by changing
	zoneName string
	stages   []stage
	inForce  atomic.Pointer[rules]
	inner    *innerDoors
	spool    *httpsig.Spool // nil: no service has an inner door
	room     room           // for what is spooled

	auth    Authenticator
	tokens  TokenService
	journal Journal
	limiter Limiter
	metrics *obs.Metrics
	log     *slog.Logger
	clock   func() time.Time
	fresh   func(time.Time) bool
	drain   time.Duration
	graces  graces

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

	changing sync.Mutex    // held while rules and doorways change
	serving  bool          // guarded by changing
	served   chan struct{} // closed when it serves
	doors    doors
	pooling  sync.Mutex // guards the users of pools
}

// New builds the door of a zone: its listeners, routes, upstream pools and
// caches. It opens nothing yet: see Run and Serve.
func New(cfg Config) (*Gateway, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	g := &Gateway{
		zoneName:   cfg.Zone.Name,
		stages:     pipeline(),
		room:       newRoom(),
		inner:      newInnerDoors(cfg.Zone.Name, cfg.Identity, cfg.Clock),
		auth:       cfg.Auth,
		tokens:     cfg.Tokens,
		journal:    cfg.Journal,
		limiter:    cfg.Limiter,
		metrics:    cfg.Metrics,
		log:        cfg.Log,
		clock:      cfg.Clock,
		fresh:      cfg.Fresh,
		drain:      cfg.Drain,
		graces:     cfg.graces,
		principals: newPrincipals(maxPrincipals),
		requests:   newAddressBound(cfg.Addresses.Requests, maxAddresses, cfg.Addresses.Loopback),
		timers:     newStageTimers(cfg.Metrics, Stages()),

		crossOrigin: http.NewCrossOriginProtection(), // trusts no other origin
	}
	g.inner.conns.Patience = cfg.Upstream.DialTime // a dial has one bound; zero: that of the set
	if cfg.Spool != "" {
		var err error
		if g.spool, err = openSpool(cfg.Spool); err != nil {
			return nil, fmt.Errorf("gateway: folder of bodies: %w", err)
		}
	}
	if cfg.Upstream.Dial == nil {
		cfg.Upstream.Dial, cfg.Upstream.DialHTTP2, cfg.Upstream.Prove = g.inner.dial, g.inner.dialHTTP2, g.inner.prove
	}
	g.cfg, g.served = cfg, make(chan struct{})
	first, err := g.makeRules(&cfg, nil)
	if err != nil {
		g.inner.close()
		return nil, err
	}
	g.inForce.Store(first)
	return g, nil
}

// Close lets go of the upstream connections. Run and Serve do it when they end.
func (g *Gateway) Close() {
	defer g.inner.close()
	for _, p := range g.now().pools {
		p.close()
	}
}

// Forget drops what is remembered of one credential, by its SHA-256: principal
// and inside tokens. A look-up that is under way is not remembered, so a request
// that begins after Forget has returned asks the authenticator again.
func (g *Gateway) Forget(credential [32]byte) { g.principals.forget(credential) }

// ForgetSubject does the same for every credential of a subject: its rights
// changed, or it is gone.
func (g *Gateway) ForgetSubject(subject string) { g.principals.forgetSubject(subject) }

// ForgetAll does the same for all credentials: what was revoked is not known.
func (g *Gateway) ForgetAll() {
	g.principals.forgetAll()
}

// anonymous is the principal of requests without a credential. It is never changed.
func anonymous() *policy.Principal {
	return &policy.Principal{Kind: policy.Anonymous, Subject: policy.AnonymousSubject}
}
