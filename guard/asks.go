package guard

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"sync"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/token"
)

const (
	askEvery    = 5 * time.Second // refreshes that unknown keys may cause
	askPatience = 3 * time.Second // that a request waits for one
)

// errAsked ends a question to control that waits, because of another one.
var errAsked = errors.New("the guard asks control for the keys")

// key answers the verifier from the keys of the book, which change without the
// verifier. A kid that they lack causes a refresh, at most one in askEvery,
// however many requests bring one.
func (g *Guard) key(ctx context.Context, kid string) (*ecdsa.PublicKey, error) {
	b := g.book.Load()
	if b == nil {
		return nil, problem.New(problem.InsideUnavailable, nil)
	}
	if key, err := b.keys.Key(ctx, kid); err == nil {
		return key, nil
	}
	done := g.asks.ask(g.cfg.Clock())
	if done == nil { // a refresh may have ended since the look above
		return g.book.Load().keys.Key(ctx, kid)
	}
	ctx, cancel := context.WithTimeout(ctx, max(askPatience, g.patience))
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

// asks joins the requests that ask for a refresh of the keys.
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
	select {
	case <-a.wake: // answered by what begins now
	default:
	}
	return a.running
}

func (a *asks) end(done chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running = nil
	close(done)
}

// waiting says whether somebody asked since the last refresh began.
func (a *asks) waiting() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked != nil
}

// interrupted returns a context that ends with errAsked when somebody asks. stop
// is called when it is no longer needed; who asks after that wakes run.
func (a *asks) interrupted(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-a.wake:
			cancel(errAsked)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil); <-gone }
}
