package guard

import (
	"context"
	"crypto/ecdsa"
	"math/rand/v2"
	"sync"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/token"
)

const (
	refreshEvery = 10 * time.Second       // while control answers
	retryFirst   = 100 * time.Millisecond // after the first failure; doubles with each
	retryMost    = 5 * time.Second
	askEvery     = 5 * time.Second // refreshes that unknown keys may cause
	askPatience  = 3 * time.Second // that a request waits for one
)

// run keeps the book up to date until ctx ends.
func (g *Guard) run(ctx context.Context) {
	defer g.control.close()
	defer g.client.CloseIdleConnections()
	failures := 0
	for {
		done := g.asks.begin()
		err := g.refresh(ctx)
		g.asks.end(done)
		if ctx.Err() != nil {
			return
		}
		switch {
		case err != nil:
			failures++
			if failures == 1 {
				g.cfg.Log.WarnContext(ctx, "guard: control does not answer", "control", g.cfg.Control, "ready", g.Ready(), "error", err)
			} else {
				g.cfg.Log.DebugContext(ctx, "guard: control does not answer", "control", g.cfg.Control, "failures", failures, "error", err)
			}
		case failures > 0:
			g.cfg.Log.InfoContext(ctx, "guard: control answers again", "control", g.cfg.Control, "failures", failures)
			failures = 0
		}
		timer := time.NewTimer(pause(failures))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-g.asks.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// pause returns how long to wait after so many failures in a row, spread by a
// fifth to both sides so that the guards of a zone do not ask in step.
func pause(failures int) time.Duration {
	d := refreshEvery
	if failures > 0 {
		d = min(retryFirst<<min(failures-1, 10), retryMost)
	}
	return d*4/5 + rand.N(d*2/5) // #nosec G404 -- a spread, not a secret
}

// refresh fetches the map and the keys; the book changes as a whole or not at all.
func (g *Guard) refresh(ctx context.Context) error {
	heard := g.cfg.Clock() // what control says is as old as the question
	slice, keys, err := g.control.fetch(ctx)
	if err != nil {
		return err
	}
	old := g.book.Load()
	b, err := g.newBook(old, slice, keys, heard)
	if err != nil {
		return err
	}
	g.book.Store(b)
	if old == nil || old.slice != b.slice {
		if old != nil {
			old.calls.wire.CloseIdleConnections() // busy ones follow when they are done
		}
		g.cfg.Log.InfoContext(ctx, "guard: map in force", "service", b.slice.Service, "revision", b.slice.Revision, "routes", len(b.slice.Routes))
	}
	if old == nil {
		close(g.first)
	}
	return nil
}

// key answers the verifier from the keys of the book, which
// change without the verifier. A kid that they lack causes a refresh, at most
// one in askEvery, however many requests bring one.
func (g *Guard) key(ctx context.Context, kid string) (*ecdsa.PublicKey, error) {
	b := g.book.Load()
	if b == nil {
		return nil, problem.New(problem.InsideUnavailable, nil)
	}
	key, err := b.keys.Key(ctx, kid)
	if err == nil {
		return key, nil
	}
	done := g.asks.ask(g.cfg.Clock())
	if done == nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	case <-g.ended:
	}
	return g.book.Load().keys.Key(ctx, kid)
}

// keySource is the guard as its verifier sees it.
type keySource struct{ g *Guard }

var _ token.KeySource = keySource{}

func (s keySource) Key(ctx context.Context, kid string) (*ecdsa.PublicKey, error) {
	return s.g.key(ctx, kid)
}

// asks joins the requests that ask for a refresh.
type asks struct {
	wake chan struct{} // holds one: the goroutine is to refresh now

	mu      sync.Mutex
	asked   chan struct{} // guarded by mu; closed after the refresh that was asked for; nil: none was
	running chan struct{} // guarded by mu; closed after the refresh under way; nil: none is
	last    time.Time     // guarded by mu; of the last ask that woke the goroutine
}

// ask returns a channel that closes after a refresh, nil when one was asked for
// too short a time ago.
func (a *asks) ask(now time.Time) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.asked != nil:
		return a.asked
	case a.running != nil:
		return a.running
	case !a.last.IsZero() && now.Sub(a.last) < askEvery:
		return nil
	}
	a.last = now
	a.asked = make(chan struct{})
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return a.asked
}

// begin takes over what was asked for.
func (a *asks) begin() chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running, a.asked = a.asked, nil
	if a.running == nil {
		a.running = make(chan struct{})
	}
	return a.running
}

func (a *asks) end(done chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running = nil
	close(done)
}
