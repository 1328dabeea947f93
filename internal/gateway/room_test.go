package gateway

import (
	"io"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
)

// TestShares: anybody may have of what is left while half of it is free, and
// nobody more than an eighth beyond that.
func TestShares(t *testing.T) {
	s := newShares(80)
	a, b := addr("192.0.2.1"), addr("2001:db8::1")
	for _, c := range []struct {
		what string
		who  netip.Addr
		n    int64
		want bool
	}{
		{"a's half", a, 40, true},
		{"more of a", a, 1, false},
		{"b's share", b, 10, true},
		{"more of b", b, 1, false},
		{"more of b's network", addr("2001:db8::2"), 1, false},
		{"another network", addr("2001:db8:0:1::1"), 10, true},
		{"nothing left for it", addr("2001:db8:0:1::1"), 1, false},
		{"a third", addr("192.0.2.3"), 10, true},
		{"a fourth", addr("192.0.2.4"), 10, true},
		{"nothing left", addr("192.0.2.5"), 1, false},
	} {
		if got := s.take(c.who, c.n); got != c.want {
			t.Errorf("%s: take(%v, %d) = %v with %d used, want %v", c.what, c.who, c.n, got, s.used, c.want)
		}
	}
	s.give(a, 40)
	if !s.take(addr("192.0.2.5"), 10) {
		t.Error("what was given back is not free")
	}
	for who, n := range map[netip.Addr]int64{b: 10, addr("192.0.2.5"): 10, addr("2001:db8:0:1::1"): 10, addr("192.0.2.3"): 10, addr("192.0.2.4"): 10} {
		s.give(who, n)
	}
	if s.used != 0 || len(s.holders) != 0 {
		t.Errorf("%d used by %v, want nothing", s.used, s.holders)
	}
}

// TestSlowUploadsLeaveRoom: a client that holds many bodies on their way shuts
// nobody out, and what it held is free when it has gone.
func TestSlowUploadsLeaveRoom(t *testing.T) {
	ca := newTrust(t, "shop.example")
	inner := serveGuarded(t, ca.source("shop"))
	for _, size := range []int{1 << 10, 2 * httpsig.SpoolMemory} {
		d := &door{t: t}
		cfg := testConfig(d, testZone("", innerRoutes()...))
		unhurried(&cfg)
		throughInnerDoor(t, ca.source(svid.GatewayName), inner.address)(&cfg)
		g, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.Close)
		kept := min(size, httpsig.SpoolMemory)
		g.room.memory.capacity, g.room.files.capacity = int64(16*kept), int64(16*max(1, size-kept))
		upload := func(client string, body io.Reader) *taker {
			r := httptest.NewRequest("POST", "https://shop.example/mac/1", body)
			r.RequestURI, r.URL.Scheme, r.URL.Host, r.RemoteAddr = "/mac/1", "", "", client+":4711"
			r.TLS.ServerName = "shop.example"
			w := newTaker()
			g.serve(g.now().listeners[0], w, r)
			return w
		}
		content := strings.Repeat("x", size)
		end := make(chan struct{})
		var slow sync.WaitGroup
		for range 8 { // half of the room
			held := make(chan struct{})
			slow.Go(func() {
				last := &slowBody{strings.NewReader(""), func() { close(held); <-end }}
				if w := upload("192.0.2.1", io.MultiReader(strings.NewReader(content), last)); w.status != 200 {
					t.Errorf("%d bytes: a slow upload was answered %d", size, w.status)
				}
			})
			<-held
		}
		if w := upload("192.0.2.1", strings.NewReader(content)); w.status != 503 || w.header.Get("Retry-After") == "" {
			t.Errorf("%d bytes: one more of the same client: %d %v, want 503", size, w.status, w.header)
		} else if rec := d.last(); rec.Reason != problem.ProofUnavailable.Code() {
			t.Errorf("%d bytes: recorded %+v", size, rec)
		}
		if w := upload("192.0.2.2", strings.NewReader(content)); w.status != 200 {
			t.Errorf("%d bytes: another client: %d %s, want 200", size, w.status, w.sent.String())
		}
		close(end)
		slow.Wait()
		if g.room.memory.used != 0 || g.room.files.used != 0 || g.spool.Used() != 0 {
			t.Errorf("%d bytes: still taken: %d in memory, %d in files", size, g.room.memory.used, g.room.files.used)
		}
	}
}
