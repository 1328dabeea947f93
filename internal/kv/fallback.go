package kv

import (
	"context"
	"errors"
	"time"

	"sallyport.dev/zone"
)

// Fallback limits by a Valkey and, while it is away, by this process's share of
// each rate. It implements Counters.
//
// With the server there: what Valkey promises, over all processes. And no
// process alone lets more through than the rate, whatever becomes of the server:
// what is allowed is counted here too, and what is over the rate here is refused
// without a question, which also keeps a flood off the server.
//
// With the server away (ErrUnavailable, or ErrFull): each process allows the
// rate's count divided by the number of processes that were alive when it last
// heard the server, rounded down, but at least one; what it allowed before
// counts. So all together allow no more than the count, or one each where the
// count is smaller than the number of processes. A process that others had not
// heard of when the server went away (started within the last beat, a second)
// comes on top with its share. No process starts while the server is away:
// OpenValkey fails.
//
// Across a change: a window that has time of both kinds in it sees the count at
// most once by the server and once by the shares, and no process more than the
// count; one process alone is exact. The same holds for a partition, where some
// processes have the server and others do not. A server that comes back empty
// has forgotten its part, and allows the count again.
//
// When to try again is told by who refuses. Where the server's clock is ahead of
// this process's, that may be an eighth of the window too early.
//
// It goes back by itself, with the first heartbeat that the server takes.
// Local counters are Memory's, with its bound; a counter that Memory has
// forgotten is not counted here.
type Fallback struct {
	shared *Valkey
	local  *Memory
}

var _ Counters = (*Fallback)(nil)

// NewFallback returns a limiter over a Valkey that is open and a memory of its own.
func NewFallback(shared *Valkey, local *Memory) *Fallback {
	return &Fallback{shared: shared, local: local}
}

// Local says that limits are counted by shares at present. Each change is logged
// by the Valkey.
func (f *Fallback) Local() bool { return f.shared.Away() }

// Undo implements Counters. With the server away only what is counted here is
// taken back.
func (f *Fallback) Undo(ctx context.Context, key string, rate zone.Rate, now time.Time) error {
	if err := f.local.Undo(ctx, key, rate, now); err != nil {
		return err
	}
	err := f.shared.Undo(ctx, key, rate, now)
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFull) {
		return nil
	}
	return err
}

// Take implements Counters.
func (f *Fallback) Take(ctx context.Context, key string, rate zone.Rate, now time.Time) (Result, error) {
	if rate == (zone.Rate{}) {
		return Result{Allowed: true}, nil
	}
	if !validRate(rate) || validKey(key) != nil {
		return Result{}, ErrInvalid
	}
	if own := f.local.peek(key, rate, now); !own.Allowed {
		return own, nil
	}
	r, err := f.shared.Take(ctx, key, rate, now)
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrFull):
		rate.Count = max(1, rate.Count/f.shared.Gateways())
		return f.local.Take(ctx, key, rate, now)
	case err == nil && r.Allowed:
		// Not before the server did: what refuses here also says when there is a place,
		// and that must not be sooner than the server has one.
		if counted := f.local.clock(); counted.After(now) {
			now = counted
		}
		own, err := f.local.Take(ctx, key, rate, now)
		if err != nil || !own.Allowed { // others of this process took the last places meanwhile
			return own, err
		}
		r.Remaining = min(r.Remaining, own.Remaining)
	}
	return r, err
}
