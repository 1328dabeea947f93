package identity

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
)

// TestGateBoundsMemory lets many in at once: with a budget for six hashes, six
// work, as many as the queue holds wait, and the others are told to come back.
func TestGateBoundsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room, queue, callers = 6, 4, 20
		g := newGate(128*1024, queue, time.Second)
		var inside, most, busy atomic.Int32
		release := make(chan struct{})
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				leave, err := g.enter(t.Context(), currentMemory)
				if err != nil {
					if problem.ReasonOf(err) != problem.LimitBusy || retryAfter(err) != 1 {
						t.Errorf("refusal %v, retry after %d, want limit.busy after 1", err, retryAfter(err))
					}
					busy.Add(1)
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
		if got := busy.Load(); got != callers-room-queue {
			t.Errorf("%d refused at once, want %d", got, callers-room-queue)
		}
		close(release) // those in the queue follow
		all.Wait()
		if got := most.Load(); got != room {
			t.Errorf("at most %d at once, want %d", got, room)
		}
		if leave, err := g.enter(t.Context(), 128*1024); err != nil {
			t.Errorf("the whole budget afterwards: %v", err)
		} else {
			leave()
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
		if got := retryAfter(err); got != 2 {
			t.Errorf("retry after %d, want 2", got)
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
		refused := make(chan error)
		go func() { _, err := g.enter(ctx, 1); refused <- err }()
		synctest.Wait()
		cancel()
		if err := <-refused; problem.ReasonOf(err) != problem.ClientClosed || !errors.Is(err, context.Canceled) {
			t.Errorf("a client that went away: %v, want client.closed", err)
		}
		if len(g.queue) != 0 {
			t.Error("its place in the queue was kept")
		}
	})
}

func TestAddressGate(t *testing.T) {
	g := newAddressGate(2)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var leaves []func()
	for range 2 {
		leave, err := g.enter(a)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	if _, err := g.enter(a); problem.ReasonOf(err) != problem.LimitAddress || retryAfter(err) != 1 {
		t.Errorf("third of one address: %v, want limit.address after 1", err)
	}
	if _, err := g.enter(netip.MustParseAddr("::ffff:192.0.2.1")); problem.ReasonOf(err) != problem.LimitAddress {
		t.Errorf("the same address mapped to IPv6: %v, want limit.address", err)
	}
	leave, err := g.enter(b)
	if err != nil {
		t.Errorf("another address: %v", err)
	}
	leave()
	leaves[0]()
	if leave, err := g.enter(a); err != nil {
		t.Errorf("after one has left: %v", err)
	} else {
		leave()
	}
	leaves[1]()
	if len(g.inside) != 0 {
		t.Errorf("addresses that nobody comes from are kept: %v", g.inside)
	}
}

func TestNetwork(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
	} {
		if got := network(netip.MustParseAddr(c.a)) == network(netip.MustParseAddr(c.b)); got != c.same {
			t.Errorf("%s and %s count as one: %v, want %v", c.a, c.b, got, c.same)
		}
	}
	if network(netip.Addr{}).IsValid() {
		t.Error("no address has a network")
	}
}
