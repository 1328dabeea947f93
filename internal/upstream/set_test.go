package upstream

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

// clockSet is a set of n instances that nobody dials, on a clock of the test.
func clockSet(t *testing.T, n int, cfg Config) (*Set, *testClock) {
	t.Helper()
	clock := &testClock{}
	clock.advance(time.Hour)
	cfg.Clock = clock.now
	var services []*upstreamtest.Service
	for i := range n {
		services = append(services, &upstreamtest.Service{Network: "tcp", Address: fmt.Sprintf("192.0.2.1:%d", i+1)})
	}
	return newTestSet(t, cfg, services...), clock
}

// must picks and fails when there is nothing to pick.
func must(t *testing.T, s *Set, avoid *instance, again bool) lease {
	t.Helper()
	l, reason := s.pick([]*instance{avoid}, again, 1)
	if reason != problem.OK {
		t.Fatalf("pick: %v", reason)
	}
	return l
}

func TestLeastOutstanding(t *testing.T) {
	s, _ := clockSet(t, 3, Config{})
	var held []lease
	for range 9 {
		held = append(held, must(t, s, nil, true))
	}
	for _, in := range s.instances {
		if n := in.outstanding.Load(); n != 3 {
			t.Errorf("%s has %d of 9 requests, want 3", in.URL, n)
		}
	}
	// One that answers quickly gets the next.
	quick := held[4].instance
	held[4].release()
	if l := must(t, s, nil, true); l.instance != quick {
		t.Errorf("picked %s, want %s, which has the fewest", l.URL, quick.URL)
	}
	for range 9 { // until it has by far the most
		if l := must(t, s, quick, true); l.instance == quick {
			t.Error("picked the one to avoid")
		}
	}
}

func TestOutstandingIsBounded(t *testing.T) {
	s, _ := clockSet(t, 2, Config{Outstanding: 2})
	var held []lease
	for range 4 {
		held = append(held, must(t, s, nil, true))
	}
	if _, reason := s.pick(nil, true, 1); reason != problem.UpstreamBusy {
		t.Errorf("beyond the bound: %v, want %v", reason, problem.UpstreamBusy)
	}
	held[0].release()
	must(t, s, nil, true)
}

// An instance that is out comes back by one request at a time, and is out for
// twice as long when that fails.
func TestEjection(t *testing.T) {
	s, clock := clockSet(t, 2, Config{})
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
	s, clock := clockSet(t, 2, Config{})
	s.instances[0].failed(true, errTest)
	clock.advance(ejectionFloor)
	for range 2 {
		l := must(t, s, nil, true)
		if l.instance != s.instances[0] || !l.probe {
			t.Error("the instance came back without a success")
		}
		l.release()
	}
}

// Requests from before the ejection come to their end without making room for
// a second probe.
func TestOneProbeAtATime(t *testing.T) {
	s, clock := clockSet(t, 2, Config{})
	before := []lease{must(t, s, nil, true), must(t, s, nil, true)}
	for _, in := range s.instances {
		in.failed(true, errTest)
	}
	clock.advance(ejectionFloor)
	probes := []lease{must(t, s, nil, true), must(t, s, nil, true)}
	for _, l := range before {
		l.release()
	}
	if _, reason := s.pick(nil, true, 1); reason != problem.UpstreamUnreachable {
		t.Errorf("beside the probes: %v, want %v", reason, problem.UpstreamUnreachable)
	}
	probes[0].release()
	must(t, s, nil, true)
}

// Where there is one instance alone, it is asked each time: a service that has
// just come back is not refused. What is known of it is told all the same.
func TestTheOnlyInstanceIsAsked(t *testing.T) {
	up := false
	s := newTestSet(t, Config{Dial: func(ctx context.Context, svc *zone.Service, to zone.Upstream) (net.Conn, error) {
		if !up {
			return nil, errTest
		}
		return dialPlain(ctx, svc, to)
	}}, upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok"))))
	for range 3 {
		wantReason(t, "down", send(s, someRequest("POST", "/")), problem.UpstreamUnreachable)
	}
	if s.Status()[0].Healthy {
		t.Error("told to be healthy while it takes no connection")
	}
	up = true
	wantServed(t, "just back", send(s, someRequest("POST", "/")), "ok")
	if !s.Status()[0].Healthy {
		t.Error("told to be down after it has answered")
	}
}

// The idle connections of an instance that broke are as good as it.
func TestEjectionHangsUp(t *testing.T) {
	s := newTestSet(t, Config{}, upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok"))))
	in := s.instances[0]
	wantServed(t, "first", send(s, someRequest("GET", "/")), "ok")
	if n := len(in.idle); n != 1 {
		t.Fatalf("%d idle connections, want 1", n)
	}
	in.failed(true, errTest)
	if n := len(in.idle); n != 0 {
		t.Errorf("%d idle connections after the ejection, want 0", n)
	}
}

func TestFailuresInARow(t *testing.T) {
	s, _ := clockSet(t, 2, Config{}) // the other one works
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
	s, clock := clockSet(t, 2, Config{})
	for range 6 { // far into the growing times
		for _, in := range s.instances {
			in.failed(true, errTest)
			clock.advance(20 * time.Second)
		}
	}
	for _, in := range s.instances {
		in.failed(true, errTest)
	}
	if _, reason := s.pick(nil, true, 1); reason != problem.UpstreamUnreachable {
		t.Fatalf("all ejected: %v, want %v", reason, problem.UpstreamUnreachable)
	}
	clock.advance(ejectionFloor)
	for range 2 {
		if l := must(t, s, nil, false); !l.probe {
			t.Error("picked without being the probe")
		}
	}
	if _, reason := s.pick(nil, true, 1); reason != problem.UpstreamUnreachable {
		t.Errorf("while both are probed: %v, want %v", reason, problem.UpstreamUnreachable)
	}
}
