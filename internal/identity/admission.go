package identity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"sallyport.dev/internal/problem"
)

// The bounds of the admission gate beside its memory.
const (
	hashMemory   = 128 << 20       // bytes; Config.HashMemory when it is not given: six hashes at once
	hashQueue    = 64              // requests that wait for memory, at most
	hashPatience = 2 * time.Second // how long one of them waits
	hashAddress  = 8               // requests of one client address that wait or hash, at most
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
	leave = func() { g.memory.Release(kib) }
	if g.memory.TryAcquire(kib) {
		return leave, nil
	}
	select {
	case g.queue <- struct{}{}:
		defer func() { <-g.queue }()
	default:
		return nil, later(problem.LimitBusy, g.patience)
	}
	wait, cancel := context.WithTimeout(ctx, g.patience)
	defer cancel()
	if err := g.memory.Acquire(wait, kib); err != nil {
		if ctx.Err() != nil {
			return nil, gone(ctx)
		}
		return nil, later(problem.LimitBusy, g.patience)
	}
	return leave, nil
}

// addressGate bounds how many requests of one client address wait for a hash or
// compute one: it stands before gate, so that one address cannot fill the queue.
// It holds one entry for each address with a request in flight, so the
// listener's connections bound it.
type addressGate struct {
	most int

	mu     sync.Mutex
	inside map[netip.Prefix]int // guarded by mu
}

func newAddressGate(most int) *addressGate {
	return &addressGate{most: most, inside: make(map[netip.Prefix]int)}
}

func (g *addressGate) enter(client netip.Addr) (leave func(), err error) {
	from := network(client)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside[from] >= g.most {
		return nil, later(problem.LimitAddress, time.Second)
	}
	g.inside[from]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.inside[from]--; g.inside[from] <= 0 {
			delete(g.inside, from)
		}
	}, nil
}

// network is the unit in which client addresses are counted: an IPv4 address,
// or the /64 that one IPv6 customer holds at least. Requests without an address
// count as one client.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// laterError is a refusal that says when to come back.
type laterError struct {
	refusal *problem.Error
	after   time.Duration
}

func later(r problem.Reason, after time.Duration) error {
	return &laterError{refusal: problem.New(r, nil), after: after}
}

func (e *laterError) Error() string { return fmt.Sprintf("%v (retry after %v)", e.refusal, e.after) }

func (e *laterError) Unwrap() error { return e.refusal }

// retryAfter returns the value of Retry-After in whole seconds, at least 1; 0
// when err does not say when to come back.
func retryAfter(err error) int {
	e, ok := errors.AsType[*laterError](err)
	if !ok {
		return 0
	}
	return max(1, int((e.after+time.Second-1)/time.Second))
}

// gone is the refusal of a request whose client went away while it waited.
func gone(ctx context.Context) error { return problem.New(problem.ClientClosed, context.Cause(ctx)) }
