package guard

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
)

// Guard is the inner door of one service. It is safe for use by any number of
// goroutines. It has one goroutine of its own, which ends with the context that
// was given to New; a guard whose context ended goes on with the map it has
// until that is stale.
type Guard struct {
	cfg     Config
	control *control
	book    atomic.Pointer[book] // nil until control has answered once
	first   chan struct{}        // closed when book is first set
	ended   <-chan struct{}      // closed when the goroutine is told to end
	asks    asks
	client  *http.Client
}

// New returns the guard of a service and starts to fetch its part of the map
// and the zone's keys from control. The error is one of the configuration:
// control may well start later than the service. Meanwhile Protect answers 503
// inside.unavailable; see Ready and Wait.
func New(ctx context.Context, cfg Config) (*Guard, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	g := &Guard{
		cfg:     cfg,
		control: newControl(cfg),
		first:   make(chan struct{}),
		ended:   ctx.Done(),
		asks:    asks{wake: make(chan struct{}, 1)},
	}
	g.client = newClient(g)
	go g.run(ctx)
	return g, nil
}

// Ready says whether requests are judged at all: the map and the keys are there
// and younger than the zone's staleness. It is what a readiness probe asks.
func (g *Guard) Ready() bool {
	_, err := g.current()
	return err == nil
}

// Wait returns when control has answered once: with nil when the guard is ready,
// else with an error, at the latest when ctx or the guard's own context ends.
func (g *Guard) Wait(ctx context.Context) error {
	select {
	case <-g.first:
	default:
		select {
		case <-g.first:
		case <-ctx.Done():
			return fmt.Errorf("guard: wait for control at %s: %w", g.cfg.Control, context.Cause(ctx))
		case <-g.ended:
			return fmt.Errorf("guard: wait for control at %s: the guard was ended", g.cfg.Control)
		}
	}
	if _, err := g.current(); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	return nil
}

// current returns the book to judge by, or the reason why there is none.
func (g *Guard) current() (*book, error) {
	b := g.book.Load()
	if b == nil {
		return nil, problem.New(problem.InsideUnavailable, nil)
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
