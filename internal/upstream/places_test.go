package upstream

import (
	"context"
	"hash/maphash"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
)

func TestHolders(t *testing.T) {
	seed := maphash.MakeSeed()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"203.0.113.7", "203.0.113.7", true},
		{"203.0.113.7", "203.0.113.8", false},
		{"203.0.113.7", "::ffff:203.0.113.7", true},
		{"::ffff:203.0.113.7", "::ffff:203.0.113.8", false},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		a, b := holderOf(seed, netip.MustParseAddr(c.a)), holderOf(seed, netip.MustParseAddr(c.b))
		if (a == b) != c.same {
			t.Errorf("%s and %s are one holder: %v, want %v", c.a, c.b, a == b, c.same)
		}
	}
	if holderOf(seed, netip.Addr{}) == 0 {
		t.Error("a request without an address holds no place")
	}
}

// One holder may take whatever is free until it is crowded, and its share then.
func TestShares(t *testing.T) {
	for _, c := range []struct {
		name        string
		outstanding int
		first       int // of the only holder
		others      []int
	}{
		// What each gets that asks for as many as it can, one holder after the other.
		{"of 16", 16, 9, []int{2, 2, 2, 1, 0}},
		{"of 1024", 1024, 513, []int{128, 128, 128, 127, 0}},
		{"an eighth is less than one", 4, 3, []int{1, 0}},
		{"one place", 1, 1, []int{0}},
	} {
		s, _ := clockSet(t, 1, Config{Outstanding: c.outstanding})
		take := func(holder uint64) (n int, last lease) {
			for {
				l, reason := s.pick(nil, true, holder)
				if reason == problem.UpstreamBusy {
					return n, last
				}
				if reason != problem.OK {
					t.Fatalf("%s: %v", c.name, reason)
				}
				n, last = n+1, l
			}
		}
		n, last := take(1)
		if n != c.first {
			t.Errorf("%s: the first holder took %d, want %d", c.name, n, c.first)
		}
		for i, want := range c.others {
			if n, _ := take(uint64(i + 2)); n != want {
				t.Errorf("%s: holder %d took %d, want %d", c.name, i+2, n, want)
			}
		}
		last.release() // it is still above its share: the place is for others
		if l, reason := s.pick(nil, true, 1); reason == problem.OK {
			l.release()
			if c.outstanding > 1 {
				t.Errorf("%s: the first holder got its place back", c.name)
			}
		}
		if _, reason := s.pick(nil, true, 99); reason != problem.OK {
			t.Errorf("%s: somebody else: %v", c.name, reason)
		}
	}
}

// The share is of each instance: where a holder has none it is served still.
func TestSharesOfEachInstance(t *testing.T) {
	s, _ := clockSet(t, 2, Config{Outstanding: 16})
	for range 9 {
		s.instances[0].lease(false, 7, 0)
		s.instances[1].lease(false, 8, 0)
	}
	for _, c := range []struct {
		holder uint64
		places int
	}{{1, 4}, {7, 2}, {8, 2}} {
		for i := range c.places + 1 {
			if _, reason := s.pick(nil, true, c.holder); (reason == problem.OK) != (i < c.places) {
				t.Errorf("holder %d, request %d: %v", c.holder, i, reason)
			}
		}
	}
}

// A client whose requests never end does not shut out another one, neither where
// it reads slowly nor where it sends slowly, and its places come back.
func TestSlowClientLeavesRoom(t *testing.T) {
	slow, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:0:1::1")
	s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok")))
	for _, sends := range []bool{false, true} {
		set := newTestSet(t, Config{Outstanding: 16}, s)
		ctx, cancel := context.WithCancel(context.Background())
		var requests sync.WaitGroup
		var open []*Exchange
		hold := func(client netip.Addr) error {
			r := someRequest("POST", "/")
			r.Client = client
			if !sends {
				x, err := set.Send(ctx, r) // and does not read the answer
				if err == nil {
					open = append(open, x)
				}
				return err
			}
			body := newScriptBody() // of which nothing comes
			started := make(chan error, 1)
			before := set.instances[0].outstanding.Load()
			requests.Go(func() {
				_, err := set.Send(ctx, r.with(body, -1))
				started <- err
			})
			for set.instances[0].outstanding.Load() == before {
				select {
				case err := <-started:
					return err
				case <-time.After(time.Millisecond):
				}
			}
			return nil
		}
		n := 0
		for n < 20 && hold(slow) == nil {
			n++
		}
		if n != 9 {
			t.Errorf("sends %v: a slow client holds %d of 16 places, want 9", sends, n)
		}
		slow2 := someRequest("GET", "/")
		slow2.Client = slow.Next() // of the same /64
		wantReason(t, "another address of it", send(set, slow2), problem.UpstreamBusy)
		r := someRequest("GET", "/")
		r.Client = other
		for range 20 { // one after the other, it never has more than one
			wantServed(t, "another client", send(set, r), "ok")
		}
		cancel()
		requests.Wait()
		for _, x := range open {
			x.Close()
		}
		wantServed(t, "the slow client, when it is done", send(set, slow2), "ok")
		if in := set.Status()[0]; in.Outstanding != 0 {
			t.Errorf("sends %v: %d requests under way at the end", sends, in.Outstanding)
		}
	}
}

// Places are never lent twice and never lost, however many take them at once.
func TestPlacesAtOnce(t *testing.T) {
	const workers, outstanding = 8, 6
	s, _ := clockSet(t, 1, Config{Outstanding: outstanding})
	var lent [outstanding]sync.Mutex
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for range 2000 {
				l, reason := s.pick(nil, true, uint64(w+1))
				if reason != problem.OK {
					continue
				}
				if !lent[l.place].TryLock() {
					t.Error("a place was lent twice")
					return
				}
				runtime.Gosched() // so that others look meanwhile
				lent[l.place].Unlock()
				l.release()
			}
		})
	}
	all.Wait()
	in := s.instances[0]
	for i := range in.places.holders {
		if in.places.holders[i].Load() != 0 {
			t.Errorf("place %d is still taken", i)
		}
	}
	if n := in.outstanding.Load(); n != 0 {
		t.Errorf("%d requests under way at the end", n)
	}
}

// BenchmarkPick is the choice of an instance and the end of the lease, quiet and
// crowded.
func BenchmarkPick(b *testing.B) {
	for _, c := range []struct {
		name  string
		taken int
	}{{"quiet", 0}, {"half", 512}, {"crowded", 900}} {
		b.Run(c.name, func(b *testing.B) {
			s := newTestSet(b, Config{}, upstreamtest.Dead(b))
			for i := range c.taken {
				s.instances[0].lease(false, uint64(i+2), 0)
			}
			client := netip.MustParseAddr("203.0.113.7")
			b.ReportAllocs()
			for b.Loop() {
				l, reason := s.pick(nil, true, holderOf(s.seed, client))
				if reason != problem.OK {
					b.Fatal(reason)
				}
				l.release()
			}
		})
	}
}
