package password

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
)

// TestGateBoundsMemory lets many in at once: with a budget for four hashes, four
// work, as many as the queue holds wait, and the others are told to come back.
func TestGateBoundsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room, queue, callers = 4, 3, 20
		g := newGate(192<<10, queue, time.Second)
		var inside, most, refused atomic.Int32
		release := make(chan struct{})
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				leave, err := g.enter(t.Context(), int64(DefaultCost().Memory))
				if err != nil {
					var busy *BusyError
					if problem.ReasonOf(err) != problem.LimitBusy || !errors.As(err, &busy) || busy.RetryAfter() != time.Second {
						t.Errorf("refusal %v, want limit.busy after 1s", err)
					}
					refused.Add(1)
					return
				}
				defer leave()
				n := inside.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				<-release
				inside.Add(-1)
			})
		}
		synctest.Wait()
		if got := inside.Load(); got != room {
			t.Errorf("%d hashes at work, want %d", got, room)
		}
		if got := refused.Load(); got != callers-room-queue {
			t.Errorf("%d refused at once, want %d", got, callers-room-queue)
		}
		close(release) // those in the queue follow
		all.Wait()
		if got := most.Load(); got != room {
			t.Errorf("at most %d at once, want %d", got, room)
		}
		if !g.memory.TryAcquire(192 << 10) {
			t.Error("memory was not given back")
		}
	})
}

func TestGateRefusesWhoWaitsTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(100, 4, 2*time.Second)
		leave, err := g.enter(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = g.enter(t.Context(), 1)
		if got := problem.ReasonOf(err); got != problem.LimitBusy || time.Since(start) != 2*time.Second {
			t.Errorf("refused with %v after %v, want limit.busy after 2s", got, time.Since(start))
		}
		leave()
		if leave, err := g.enter(t.Context(), 100); err != nil {
			t.Errorf("after it was left: %v", err)
		} else {
			leave()
		}
	})
}

func TestGateForgetsWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(100, 1, time.Minute)
		leave, err := g.enter(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan error)
		go func() { _, err := g.enter(ctx, 1); answer <- err }()
		synctest.Wait()
		cancel()
		if err := <-answer; problem.ReasonOf(err) != problem.ClientClosed || !errors.Is(err, context.Canceled) {
			t.Errorf("a client that went away: %v, want client.closed", err)
		}
		if len(g.queue) != 0 {
			t.Error("its place in the queue was kept")
		}
	})
}
