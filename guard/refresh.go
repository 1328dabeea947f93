package guard

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"sallyport.dev/internal/svid"
)

const (
	refreshEvery = 10 * time.Second       // while control answers at once
	pollWait     = 10 * time.Second       // for which control is asked to hold its answer
	atOnce       = time.Second            // an answer that took less was not held
	retryFirst   = 100 * time.Millisecond // after the first failure; doubles with each
	retryMost    = 5 * time.Second
)

// run keeps the book up to date until ctx ends.
func (g *Guard) run(ctx context.Context) {
	defer g.control.close()
	defer g.client.CloseIdleConnections()
	if g.source.Wait(ctx) != nil {
		return
	}
	failures, hold := 0, false
	for {
		began := time.Now()
		changed, err := g.refresh(ctx, hold)
		if ctx.Err() != nil {
			return
		}
		held := time.Since(began) >= atOnce
		hold = err == nil // after a failure, and after an interruption, what control says now counts
		switch {
		case errors.Is(err, errAsked):
		case err != nil:
			failures++
			if failures == 1 {
				g.cfg.Log.WarnContext(ctx, "guard: control does not answer", "control", g.cfg.Control, "ready", g.Ready(), "error", err)
			} else {
				g.cfg.Log.DebugContext(ctx, "guard: control does not answer", "control", g.cfg.Control, "failures", failures, "error", err)
			}
			held = false
		case failures > 0:
			g.cfg.Log.InfoContext(ctx, "guard: control answers again", "control", g.cfg.Control, "failures", failures)
			failures = 0
		}
		if g.asks.waiting() {
			continue // at most once in askEvery
		}
		wait := pause(failures)
		if err == nil && (held || changed) {
			wait = spread(retryFirst) // control holds its answers, or has more to tell
		}
		if b := g.book.Load(); b != nil { // a zone that wants its map fresh is asked so often
			wait = max(min(wait, b.staleness/4), retryFirst)
		}
		timer := time.NewTimer(wait)
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

// pause returns how long to wait after so many failures in a row.
func pause(failures int) time.Duration {
	if failures == 0 {
		return spread(refreshEvery)
	}
	return spread(min(retryFirst<<min(failures-1, 10), retryMost))
}

// spread moves a time by up to a fifth to both sides, so that the guards of a
// zone do not ask in step.
func spread(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5) // #nosec G404 -- a spread, not a secret
}

// refresh fetches the keys, puts them in force, and then asks for the map, where
// control may hold its answer. The book changes as a whole or not at all, and both
// have to be heard of before it counts as heard.
func (g *Guard) refresh(ctx context.Context, hold bool) (changed bool, err error) {
	heard := g.cfg.Clock() // what control says is as old as the question
	old, err := g.refreshKeys(ctx)
	if err != nil {
		return false, err
	}
	tag, wait := "", time.Duration(0)
	if old.slice != nil {
		tag = old.tag
		if hold {
			wait = min(pollWait, old.staleness/4)
		}
	}
	asking, stop := g.asks.interrupted(ctx)
	a, err := g.control.slice(asking, tag, wait)
	stop()
	if err != nil {
		return false, err
	}
	b, err := g.newBook(old, a, heard)
	if err != nil {
		return false, err
	}
	changed = old.slice != b.slice
	g.put(ctx, old, b)
	return changed, nil
}

// refreshKeys fetches the keys and returns the book with them; one without a map
// is not in force.
func (g *Guard) refreshKeys(ctx context.Context) (*book, error) {
	done := g.asks.begin()
	defer g.asks.end(done)
	keys, err := g.control.keys(ctx)
	if err != nil {
		return nil, err
	}
	b, err := withKeys(g.book.Load(), keys)
	if err == nil && b.slice != nil {
		g.book.Store(b)
	}
	return b, err
}

// put makes a book the one in force.
func (g *Guard) put(ctx context.Context, old, b *book) {
	g.book.Store(b)
	if old.slice == b.slice {
		return
	}
	g.cfg.Log.InfoContext(ctx, "guard: map in force", "service", b.slice.Service, "revision", b.slice.Revision, "routes", len(b.slice.Routes))
	if old.slice == nil {
		close(g.first)
		return
	}
	old.calls.close() // busy connections follow when they are done
	g.enforce(ctx, old, b)
}

// enforce ends the connections whose peer lost a right with the change from old
// to b. Each request is judged by the map in force anyway; this ends what was let
// in before and is still under way.
func (g *Guard) enforce(ctx context.Context, old, b *book) {
	lost := lostRights(old, b)
	if n := g.callers.CloseWhere(func(p svid.Peer) bool { return lost[nameOf(p.ID)] }); n > 0 {
		g.cfg.Log.InfoContext(ctx, "guard: connections closed, their callers lost a right", "connections", n)
	}
	if n := g.review(b) + g.sockets.review(b); n > 0 {
		g.cfg.Log.InfoContext(ctx, "guard: streams ended, the map does not allow them any more", "streams", n)
	}
	g.callees.CloseWhere(func(p svid.Peer) bool { return b.calls.to[nameOf(p.ID)] == nil })
}
