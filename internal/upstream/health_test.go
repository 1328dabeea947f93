package upstream

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/upstream/upstreamtest"
)

// healthService answers its health with what the test puts into status.
func healthService(t *testing.T, status chan string) *upstreamtest.Service {
	return upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) {
		raw, ok := c.Head()
		if ok && strings.HasPrefix(raw, "GET /healthz HTTP/1.1\r\n") {
			c.Say("HTTP/1.1 " + <-status + "\r\nContent-Length: 0\r\n\r\n")
		}
	})
}

func TestHealth(t *testing.T) {
	one, two := make(chan string, 1), make(chan string, 1)
	s := newTestSet(t, Config{}, healthService(t, one), healthService(t, two))
	s.service.Health = "/healthz"
	ctx := context.Background()
	for _, c := range []struct {
		one, two string
		want     []int // indexes of the instances in use
	}{
		{"200 OK", "204 None", []int{0, 1}},
		{"503 Down", "200 OK", []int{1}},
		{"200 OK", "500 Down", []int{0}},
		{"302 Elsewhere", "500 Down", []int{0, 1}}, // none is better than the other
		{"garbage", "200 OK", []int{1}},
		{"200 OK", "200 OK", []int{0, 1}},
	} {
		one <- c.one
		two <- c.two
		s.round(ctx)
		used := map[int]bool{}
		for range 8 {
			l := must(t, s, nil, true)
			for i, in := range s.instances {
				used[i] = used[i] || in == l.instance
			}
			l.release()
		}
		for i := range s.instances {
			want := false
			for _, w := range c.want {
				want = want || w == i
			}
			if used[i] != want {
				t.Errorf("health %q and %q: instance %d used = %v, want %v", c.one, c.two, i, used[i], want)
			}
		}
	}
}

// A dial finds an instance dead before a request does, and alive again before
// its time is over.
func TestHealthDials(t *testing.T) {
	gone := &upstreamtest.Service{Network: "unix", Address: filepath.Join(t.TempDir(), "s.sock")}
	s := newTestSet(t, Config{}, gone, upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok"))))
	s.round(context.Background())
	if s.instances[0].ejection() == closedBreaker || s.instances[1].ejection() != closedBreaker {
		t.Error("the round of dials did not tell the dead instance from the live one")
	}
	l, err := net.Listen("unix", gone.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s.round(context.Background())
	if s.instances[0].ejection() != closedBreaker {
		t.Error("still ejected though it takes connections")
	}
	// Exchanges that break are not disproved by a dial.
	for range failuresLimit {
		s.instances[0].failed(false, errTest)
	}
	s.round(context.Background())
	if s.instances[0].ejection() == closedBreaker {
		t.Error("a dial brought back an instance that breaks exchanges")
	}
}

// Idle connections end by age, by their number and with the set.
func TestIdleIsBounded(t *testing.T) {
	var clock testClock
	s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok")))
	set := newTestSet(t, Config{Clock: clock.now, IdleConns: 2}, s)
	in := set.instances[0]
	idle := func() int { in.mu.Lock(); defer in.mu.Unlock(); return len(in.idle) }
	var open []*Exchange
	for range 3 {
		x, err := set.Send(context.Background(), someRequest("GET", "/"))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, x)
	}
	for _, x := range open {
		if _, err := io.ReadAll(x); err != nil {
			t.Fatal(err)
		}
		x.Close()
	}
	if n := idle(); n != 2 {
		t.Errorf("%d idle connections, want the bound of 2", n)
	}
	clock.advance(29 * time.Second)
	set.round(context.Background())
	if n := idle(); n != 2 {
		t.Errorf("%d idle connections after 29 s, want 2", n)
	}
	clock.advance(time.Second)
	set.round(context.Background())
	if n := idle(); n != 0 {
		t.Errorf("%d idle connections after 30 s, want 0", n)
	}
	set.Close()
	wantServed(t, "after Close", send(set, someRequest("GET", "/")), "ok")
	if n := idle(); n != 0 {
		t.Errorf("%d idle connections after Close, want 0", n)
	}
}
