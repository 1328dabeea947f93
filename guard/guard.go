package guard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/guard/internal/standin"
	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
)

// Guard is the inner door of one service. It is safe for use by any number of
// goroutines. Its own goroutines end with the context that was given to New; a
// guard whose context ended goes on with the map and the identity it has until
// these are too old.
type Guard struct {
	cfg     Config
	source  *svid.Source // who the service is
	control *control
	book    atomic.Pointer[book] // nil until control has answered once
	first   chan struct{}        // closed when book is first set
	ended   <-chan struct{}      // closed when the goroutines are told to end
	asks    asks

	failOnce sync.Once
	failed   chan struct{} // closed when there will be no (further) identity
	failure  error         // why; read after failed

	callers *svid.Conns // connections to the guard
	callees *svid.Conns // connections of Client
	inner   *tls.Config // of callers
	places  places      // for callers

	turnedAway *sparse // says who found none
	streams    streams
	sockets    sockets

	patience   time.Duration // see standin.Parts
	settle     time.Time     // signatures that are made from then on are taken
	spool      *httpsig.Spool
	signatures *httpsig.Verifier
	own        ownToken
	client     *http.Client
	grpc       GRPC
}

const spoolBudget = 1 << 30 // bytes of bodies that lie in files at one time

// New returns the guard of a service, and starts to get the service's identity,
// and then its part of the map and the zone's keys from control. The error is one
// of the configuration: the zone may well start later than the service. Meanwhile
// requests are refused with inside.unavailable; see Ready and Wait.
func New(ctx context.Context, cfg Config) (*Guard, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	parts, settle := standin.From(ctx), time.Time{}
	var from supplier
	if parts.Source == nil {
		if from, err = cfg.supplier(); err != nil {
			return nil, err
		}
		parts.Source = svid.NewSource(cfg.Clock)
		settle = cfg.Clock().Truncate(time.Second).Add(time.Second)
	}
	cfg.Join = ""
	g := &Guard{
		cfg:     cfg,
		settle:  settle,
		source:  parts.Source,
		control: newControl(cfg, parts),
		first:   make(chan struct{}),
		ended:   ctx.Done(),
		asks:    asks{wake: make(chan struct{}, 1)},
		failed:  make(chan struct{}),
		callers: svid.NewConns(cfg.Clock),
		callees: svid.NewConns(cfg.Clock),
		places:  standardPlaces(),

		patience: parts.Patience,

		turnedAway: &sparse{log: cfg.Log, clock: time.Now},
	}
	g.callers.Admit = g.admit
	g.callers.Patience, g.callees.Patience = parts.Patience, parts.Patience
	g.inner = g.innerTLS()
	if g.spool, err = httpsig.NewSpool(cfg.Spool, spoolBudget); err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	if cfg.Replays == nil {
		cfg.Replays = replicas{g.control}
	}
	if g.signatures, err = newSignatures(cfg, parts.Source); err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	g.client = newClient(g)
	g.grpc.g, g.grpc.conns = g, make(chan net.Conn)
	if from != nil {
		go g.obtain(ctx, from)
	}
	go g.run(ctx)
	return g, nil
}

// Ready says whether requests are judged at all: the service has an identity in
// its lifetime, and the map and the keys are there and younger than the zone's
// staleness. It is what a readiness probe asks.
func (g *Guard) Ready() bool { return g.ready() == nil }

func (g *Guard) ready() error {
	if _, err := g.source.Current(); err != nil {
		return err
	}
	_, err := g.current()
	return err
}

// Wait returns when the service has its identity and control has answered once:
// with nil when the guard is ready, else with an error, at the latest when ctx or
// the guard's own context ends. The error is also for what no waiting mends, such
// as a join token that is spent: then the program had better end.
func (g *Guard) Wait(ctx context.Context) error {
	select {
	case <-g.first:
	default:
		select {
		case <-g.first:
		case <-g.failed:
			return fmt.Errorf("guard: %w", g.failure)
		case <-ctx.Done():
			return fmt.Errorf("guard: wait for %s: %w", g.lacks(), context.Cause(ctx))
		case <-g.ended:
			return fmt.Errorf("guard: wait for %s: the guard was ended", g.lacks())
		}
	}
	if err := g.ready(); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	return nil
}

// lacks names what the guard waits for.
func (g *Guard) lacks() string {
	if _, err := g.source.Current(); err != nil {
		return "the identity of " + g.cfg.Service
	}
	return "control at " + g.cfg.Control
}

// current returns the book to judge by, or the reason why there is none.
func (g *Guard) current() (*book, error) {
	b := g.book.Load()
	if b == nil {
		return nil, problem.New(problem.InsideUnavailable, errors.New("no map yet"))
	}
	if age := age(b.heard, g.cfg.Clock()); age > b.staleness {
		return nil, problem.New(problem.InsideStale, fmt.Errorf("control was last heard %s ago", age))
	}
	return b, nil
}

// age returns how long ago then was, by the clock that says longer: the monotonic
// one stands still while a host sleeps, the wall clock may be set back.
func age(then, now time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)))
}
