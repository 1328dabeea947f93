package password

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"

	"sallyport.dev/internal/problem"
)

// The bounds of the admission gate.
const (
	defaultMemory   = 192 << 20       // bytes; Config.Memory when it is not given: four hashes at once
	defaultQueue    = 64              // checks that wait for memory, at most
	defaultPatience = 2 * time.Second // how long one of them waits
)

// gate admits hashes while their memory fits into a budget, in order of
// arrival. Who finds the queue full, or waits longer than its patience, is
// refused with limit.busy: a flood of logins costs its own answers, never the
// process's memory.
//
// The budget is of hashes at work. The collector may hold as much again until
// it runs, which GOMEMLIMIT bounds.
type gate struct {
	budget   int64 // KiB
	memory   *semaphore.Weighted
	queue    chan struct{} // one element for each that waits
	patience time.Duration
}

func newGate(budget int64, queue int, patience time.Duration) *gate {
	return &gate{budget: budget, memory: semaphore.NewWeighted(budget), queue: make(chan struct{}, queue), patience: patience}
}

// enter waits for kib of memory and returns the function that gives it back.
func (g *gate) enter(ctx context.Context, kib int64) (leave func(), err error) {
	if ctx.Err() != nil { // nobody waits for this hash
		return nil, gone(ctx)
	}
	leave = func() { g.memory.Release(kib) }
	if g.memory.TryAcquire(kib) {
		return leave, nil
	}
	select {
	case g.queue <- struct{}{}:
		defer func() { <-g.queue }()
	default:
		return nil, busy(g.patience)
	}
	wait, cancel := context.WithTimeout(ctx, g.patience)
	defer cancel()
	if err := g.memory.Acquire(wait, kib); err != nil {
		if ctx.Err() != nil {
			return nil, gone(ctx)
		}
		return nil, busy(g.patience)
	}
	return leave, nil
}

// BusyError is the refusal limit.busy of a gate that has no room. It says when
// to come back.
type BusyError struct {
	refusal *problem.Error
	after   time.Duration
}

func busy(after time.Duration) error {
	return &BusyError{refusal: problem.New(problem.LimitBusy, nil), after: after}
}

func (e *BusyError) Error() string { return fmt.Sprintf("%v (retry after %v)", e.refusal, e.after) }

// Unwrap returns the refusal, with its reason.
func (e *BusyError) Unwrap() error { return e.refusal }

// RetryAfter is what the header of that name says.
func (e *BusyError) RetryAfter() time.Duration { return e.after }

// gone is the refusal of a request whose client went away while it waited.
func gone(ctx context.Context) error { return problem.New(problem.ClientClosed, context.Cause(ctx)) }
