package gateway

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
)

func bufioReader(s string) *bufio.Reader { return bufio.NewReader(strings.NewReader(s)) }

// clockSet is a set of n instances that nobody dials, on a clock of the test.
func clockSet(t *testing.T, n int, cfg upstreamConfig) (*upstreamSet, *testClock) {
	t.Helper()
	clock := &testClock{}
	clock.advance(time.Hour)
	cfg.clock = clock.now
	var services []*rawService
	for i := range n {
		services = append(services, &rawService{network: "tcp", address: fmt.Sprintf("192.0.2.1:%d", i+1)})
	}
	return newTestSet(t, cfg, services...), clock
}

// must picks and fails when there is nothing to pick.
func must(t *testing.T, s *upstreamSet, avoid *instance, again bool) lease {
	t.Helper()
	l, reason := s.pick(avoid, again)
	if reason != problem.OK {
		t.Fatalf("pick: %v", reason)
	}
	return l
}

func TestLeastOutstanding(t *testing.T) {
	s, _ := clockSet(t, 3, upstreamConfig{})
	var held []lease
	for range 9 {
		held = append(held, must(t, s, nil, true))
	}
	for _, in := range s.instances {
		if n := in.outstanding.Load(); n != 3 {
			t.Errorf("%s has %d of 9 requests, want 3", in.url, n)
		}
	}
	// One that answers quickly gets the next.
	quick := held[4].instance
	held[4].release()
	if l := must(t, s, nil, true); l.instance != quick {
		t.Errorf("picked %s, want %s, which has the fewest", l.url, quick.url)
	}
	for range 9 { // until it has by far the most
		if l := must(t, s, quick, true); l.instance == quick {
			t.Error("picked the one to avoid")
		}
	}
}

func TestOutstandingIsBounded(t *testing.T) {
	s, _ := clockSet(t, 2, upstreamConfig{outstanding: 2})
	var held []lease
	for range 4 {
		held = append(held, must(t, s, nil, true))
	}
	if _, reason := s.pick(nil, true); reason != problem.UpstreamBusy {
		t.Errorf("beyond the bound: %v, want %v", reason, problem.UpstreamBusy)
	}
	held[0].release()
	must(t, s, nil, true)
}

// An instance that is out comes back by one request at a time, and is out for
// twice as long when that fails.
func TestEjection(t *testing.T) {
	s, clock := clockSet(t, 2, upstreamConfig{})
	bad, good := s.instances[0], s.instances[1]
	out := ejectionFloor
	bad.failed(true, errTest)
	for round := range 8 {
		for range 4 {
			l := must(t, s, nil, true)
			if l.instance != good {
				t.Fatalf("round %d: an ejected instance was picked", round)
			}
			l.release()
		}
		clock.advance(out - 1)
		if bad.ejection() != ejectedNow {
			t.Fatalf("round %d: back before %v", round, out)
		}
		clock.advance(1)
		// What could not be sent again elsewhere is not risked on it.
		if l := must(t, s, nil, false); l.instance != good {
			t.Errorf("round %d: a request that cannot be sent again probes", round)
		} else {
			l.release()
		}
		probe := must(t, s, nil, true)
		if probe.instance != bad || !probe.probe {
			t.Fatalf("round %d: no probe after %v", round, out)
		}
		if l := must(t, s, nil, true); l.instance != good {
			t.Errorf("round %d: a second probe", round)
		} else {
			l.release()
		}
		bad.failed(false, errTest)
		probe.release()
		out = min(2*out, ejectionCap)
	}
	clock.advance(out)
	probe := must(t, s, nil, true)
	bad.succeeded()
	probe.release()
	if bad.ejection() != closedBreaker || bad.failures.Load() != 0 {
		t.Error("not back after a probe that succeeded")
	}
	bad.failed(true, errTest)
	clock.advance(ejectionFloor)
	if bad.ejection() != halfOpen {
		t.Error("the time does not begin anew after a success")
	}
}

// A probe whose client goes away decides nothing and blocks nothing.
func TestProbeWithoutResult(t *testing.T) {
	s, clock := clockSet(t, 1, upstreamConfig{})
	s.instances[0].failed(true, errTest)
	clock.advance(ejectionFloor)
	must(t, s, nil, false).release()
	if l := must(t, s, nil, false); !l.probe {
		t.Error("the instance came back without a success")
	}
}

// Requests from before the ejection come to their end without making room for
// a second probe.
func TestOneProbeAtATime(t *testing.T) {
	s, clock := clockSet(t, 1, upstreamConfig{})
	before := must(t, s, nil, true)
	s.instances[0].failed(true, errTest)
	clock.advance(ejectionFloor)
	probe := must(t, s, nil, true)
	before.release()
	if _, reason := s.pick(nil, true); reason != problem.UpstreamUnreachable {
		t.Errorf("beside the probe: %v, want %v", reason, problem.UpstreamUnreachable)
	}
	probe.release()
	must(t, s, nil, true)
}

// The idle connections of an instance that broke are as good as it.
func TestEjectionHangsUp(t *testing.T) {
	s := newTestSet(t, upstreamConfig{}, newRawService(t, "tcp", always(sized("ok"))))
	in := s.instances[0]
	wantServed(t, "first", someOutgoing("GET", "/").send(s), "ok")
	if n := len(in.idle); n != 1 {
		t.Fatalf("%d idle connections, want 1", n)
	}
	in.failed(true, errTest)
	if n := len(in.idle); n != 0 {
		t.Errorf("%d idle connections after the ejection, want 0", n)
	}
}

func TestFailuresInARow(t *testing.T) {
	s, _ := clockSet(t, 2, upstreamConfig{}) // the other one works
	in := s.instances[0]
	for range failuresLimit - 1 {
		in.failed(false, errTest)
	}
	if in.ejection() != closedBreaker {
		t.Fatalf("ejected before %d failures", failuresLimit)
	}
	in.succeeded()
	for range failuresLimit - 1 {
		in.failed(false, errTest)
	}
	if in.ejection() != closedBreaker {
		t.Fatal("failures that were not in a row ejected")
	}
	in.failed(false, errTest)
	if in.ejection() != ejectedNow {
		t.Fatalf("not ejected after %d failures in a row", failuresLimit)
	}
}

// With everything down, requests are refused at once, but for one now and then
// that asks.
func TestAllDown(t *testing.T) {
	s, clock := clockSet(t, 2, upstreamConfig{})
	for range 6 { // far into the growing times
		for _, in := range s.instances {
			in.failed(true, errTest)
			clock.advance(20 * time.Second)
		}
	}
	for _, in := range s.instances {
		in.failed(true, errTest)
	}
	if _, reason := s.pick(nil, true); reason != problem.UpstreamUnreachable {
		t.Fatalf("all ejected: %v, want %v", reason, problem.UpstreamUnreachable)
	}
	clock.advance(ejectionFloor)
	for range 2 {
		if l := must(t, s, nil, false); !l.probe {
			t.Error("picked without being the probe")
		}
	}
	if _, reason := s.pick(nil, true); reason != problem.UpstreamUnreachable {
		t.Errorf("while both are probed: %v, want %v", reason, problem.UpstreamUnreachable)
	}
}

// What is declared as https is never spoken to in clear.
func TestNothingInClear(t *testing.T) {
	s := newRawService(t, "tcp", always(sized("ok")))
	set := newTestSet(t, upstreamConfig{}, s)
	wantServed(t, "control", someOutgoing("GET", "/").send(set), "ok")
	set = newTestSet(t, upstreamConfig{}, s)
	set.instances[0].scheme = "https"
	wantReason(t, "https", someOutgoing("GET", "/").send(set), problem.UpstreamUnreachable)
	wantRequests(t, "https", s, 1)
}

func TestRetryBudget(t *testing.T) {
	s, _ := clockSet(t, 1, upstreamConfig{})
	n := 0
	for s.retries.spend() {
		n++
	}
	if n != retryCap/retryCost {
		t.Errorf("saved up %d retries, want %d", n, retryCap/retryCost)
	}
	for range retryCost {
		s.retries.earn()
	}
	if !s.retries.spend() || s.retries.spend() {
		t.Errorf("%d requests did not earn exactly one retry", retryCost)
	}
}

// healthService answers its health with what the test puts into status.
func healthService(t *testing.T, status chan string) *rawService {
	return newRawService(t, "tcp", func(c *rawConn) {
		raw, ok := c.head()
		if ok && strings.HasPrefix(raw, "GET /healthz HTTP/1.1\r\n") {
			c.say("HTTP/1.1 " + <-status + "\r\nContent-Length: 0\r\n\r\n")
		}
	})
}

func TestHealth(t *testing.T) {
	one, two := make(chan string, 1), make(chan string, 1)
	s := newTestSet(t, upstreamConfig{}, healthService(t, one), healthService(t, two))
	s.health = "/healthz"
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
	gone := &rawService{network: "unix", address: filepath.Join(t.TempDir(), "s.sock")}
	s := newTestSet(t, upstreamConfig{}, gone, newRawService(t, "tcp", always(sized("ok"))))
	s.round(context.Background())
	if s.instances[0].ejection() == closedBreaker || s.instances[1].ejection() != closedBreaker {
		t.Error("the round of dials did not tell the dead instance from the live one")
	}
	l, err := net.Listen("unix", gone.address)
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
	s := newRawService(t, "tcp", always(sized("ok")))
	set := newTestSet(t, upstreamConfig{clock: clock.now, idleConns: 2}, s)
	in := set.instances[0]
	idle := func() int { in.mu.Lock(); defer in.mu.Unlock(); return len(in.idle) }
	var open []*exchange
	for range 3 {
		x, err := set.send(context.Background(), someOutgoing("GET", "/"))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, x)
	}
	for _, x := range open {
		if _, err := x.fill(make([]byte, 9)); err == nil {
			t.Fatal("no end of the body")
		}
		x.finish()
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
	wantServed(t, "after Close", someOutgoing("GET", "/").send(set), "ok")
	if n := idle(); n != 0 {
		t.Errorf("%d idle connections after Close, want 0", n)
	}
}
