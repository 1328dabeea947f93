package upstream

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

// Only what is safe is sent again: the service counts.
func TestRetries(t *testing.T) {
	hangUp := func(c *upstreamtest.Conn) { c.Request() } // reads the request and closes
	for _, c := range []struct {
		name   string
		out    *Request
		serve  func(*upstreamtest.Conn)
		budget int64
		want   problem.Reason
		sent   int
	}{
		{"control: answered", someRequest("GET", "/"), upstreamtest.Always(upstreamtest.Sized("ok")), retryCap, problem.OK, 1},
		{"GET", someRequest("GET", "/"), hangUp, retryCap, problem.UpstreamProtocol, 2},
		{"HEAD", someRequest("HEAD", "/"), hangUp, retryCap, problem.UpstreamProtocol, 2},
		{"OPTIONS", someRequest("OPTIONS", "/"), hangUp, retryCap, problem.UpstreamProtocol, 2},
		{"POST", someRequest("POST", "/"), hangUp, retryCap, problem.UpstreamProtocol, 1},
		{"PUT", someRequest("PUT", "/"), hangUp, retryCap, problem.UpstreamProtocol, 1},
		{"DELETE", someRequest("DELETE", "/"), hangUp, retryCap, problem.UpstreamProtocol, 1},
		{"PATCH", someRequest("PATCH", "/"), hangUp, retryCap, problem.UpstreamProtocol, 1},
		{"GET with a small body", someRequest("GET", "/").with(newTestBody("x"), 1), hangUp, retryCap, problem.UpstreamProtocol, 1},
		{"GET with a streamed body", someRequest("GET", "/").with(newTestBody("x"), -1), hangUp, retryCap, problem.UpstreamProtocol, 1},
		{"POST that calls itself idempotent", func() *Request {
			o := someRequest("POST", "/")
			o.Fields = lines("Idempotency-Key: 1\r\nX-Idempotency-Key: 1\r\n")
			return o
		}(), hangUp, retryCap, problem.UpstreamProtocol, 1},
		{"GET, answer begun", someRequest("GET", "/"), func(c *upstreamtest.Conn) { c.Request(); c.Say("H") }, retryCap, problem.UpstreamProtocol, 1},
		{"GET, bad answer", someRequest("GET", "/"), func(c *upstreamtest.Conn) { c.Request(); c.Say("no\r\n") }, retryCap, problem.UpstreamProtocol, 1},
		{"GET, answer cut", someRequest("GET", "/"), func(c *upstreamtest.Conn) { c.Request(); c.Say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab") }, retryCap, problem.UpstreamProtocol, 1},
		{"GET, 503 is an answer", someRequest("GET", "/"), func(c *upstreamtest.Conn) { c.Request(); c.Say("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") }, retryCap, problem.OK, 1},
		{"GET without budget", someRequest("GET", "/"), hangUp, 0, problem.UpstreamProtocol, 1},
		{"GET that works the second time", someRequest("GET", "/"), func(c *upstreamtest.Conn) {
			if c.N == 0 {
				c.Request()
				return
			}
			upstreamtest.Always(upstreamtest.Sized("ok"))(c)
		}, retryCap, problem.OK, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := upstreamtest.Listen(t, "tcp", c.serve)
			set := newTestSet(t, Config{}, s)
			set.retries.tokens.Store(c.budget)
			wantReason(t, c.name, send(set, c.out), c.want)
			wantRequests(t, c.name, s, c.sent)
		})
	}
}

// A request of which nothing has left goes to another instance, whatever its
// method: also one whose body is not read yet.
func TestAnotherInstance(t *testing.T) {
	for _, o := range []*Request{
		someRequest("GET", "/"),
		someRequest("POST", "/"),
		someRequest("POST", "/").with(newTestBody("body"), 4),
		someRequest("POST", "/").with(newTestBody("body"), -1),
		someRequest("DELETE", "/"),
	} {
		s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok")))
		set := newTestSet(t, Config{}, upstreamtest.Dead(t), s)
		set.next.Store(1) // so that the dead one is first
		wantServed(t, o.Method, send(set, o), "ok")
		wantRequests(t, o.Method, s, 1)
		if set.instances[0].ejection() == closedBreaker {
			t.Errorf("%s: the dead instance was not asked first", o.Method)
		}
		if o.Body != nil && !strings.Contains(<-s.Requests, "body") {
			t.Errorf("%s: the body did not arrive", o.Method)
		}
	}
	set := newTestSet(t, Config{}, upstreamtest.Dead(t), upstreamtest.Dead(t))
	wantReason(t, "all dead", send(set, someRequest("GET", "/")), problem.UpstreamUnreachable)
}

// A request passes over every instance that takes no connection, whatever is left
// of the budget: it costs the service nothing. None is asked twice.
func TestEveryInstance(t *testing.T) {
	for _, dead := range []int{1, 2, 5} {
		dials := 0
		cfg := Config{Dial: func(ctx context.Context, svc *zone.Service, to zone.Upstream) (net.Conn, error) {
			dials++
			return dialPlain(ctx, svc, to)
		}}
		s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok")))
		var all []*upstreamtest.Service
		for range dead {
			all = append(all, upstreamtest.Dead(t))
		}
		set := newTestSet(t, cfg, append(all, s)...)
		set.next.Store(uint32(dead)) // so that the living one is last
		set.retries.tokens.Store(0)
		wantServed(t, fmt.Sprint(dead, " dead"), send(set, someRequest("POST", "/")), "ok")
		wantRequests(t, "the living one", s, 1)
		if dials != dead+1 {
			t.Errorf("%d dead: %d dials, want %d", dead, dials, dead+1)
		}
		dials = 0
		set = newTestSet(t, cfg, all...)
		wantReason(t, "all dead", send(set, someRequest("GET", "/")), problem.UpstreamUnreachable)
		if dials != dead {
			t.Errorf("all of %d dead: %d dials", dead, dials)
		}
	}
}

// A connection that ends just as it is used again says nothing about the
// instance: it may have been closed for its age.
func TestStaleConnection(t *testing.T) {
	serve := func(c *upstreamtest.Conn) {
		c.Request()
		c.Say(upstreamtest.Sized("ok"))
		c.Request() // and close
	}
	s := upstreamtest.Listen(t, "tcp", serve)
	set := newTestSet(t, Config{}, s)
	in := set.instances[0]
	wantServed(t, "first", send(set, someRequest("GET", "/")), "ok")
	wantReason(t, "POST", send(set, someRequest("POST", "/")), problem.UpstreamProtocol)
	if n := in.failures.Load(); n != 0 {
		t.Errorf("%d failures after a stale connection, want none", n)
	}
	wantServed(t, "second", send(set, someRequest("GET", "/")), "ok")
	wantServed(t, "GET", send(set, someRequest("GET", "/")), "ok") // the second try, on a new connection
	wantRequests(t, "all", s, 5)

	fresh := newTestSet(t, Config{}, upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) { c.Request() }))
	wantReason(t, "control", send(fresh, someRequest("POST", "/")), problem.UpstreamProtocol)
	if n := fresh.instances[0].failures.Load(); n != 1 {
		t.Errorf("%d failures after a fresh connection broke, want 1", n)
	}
}

// Whether a request had begun to leave is the kernel's word: only when it took
// nothing, a request that is not safe goes out again.
func TestPartOfARequestHasLeft(t *testing.T) {
	for _, c := range []struct {
		name string
		read int // bytes of the request that the service takes before it closes
		sent int32
	}{{"nothing", 0, 2}, {"a part", 10, 1}} {
		s, dial := upstreamtest.Pipe(func(conn *upstreamtest.Conn) {
			if conn.N == 0 {
				_, _ = io.ReadFull(conn.Conn, make([]byte, c.read))
				return
			}
			upstreamtest.Always(upstreamtest.Sized("ok"))(conn)
		})
		set := newTestSet(t, Config{Dial: dial}, s)
		got := send(set, someRequest("POST", "/"))
		if (got.reason == problem.OK) != (c.sent == 2) || s.Conns.Load() != c.sent {
			t.Errorf("%s: got %v (%v) after %d connections, want %d", c.name, got.reason, got.err, s.Conns.Load(), c.sent)
		}
	}
}

// An answer that is cut counts against its instance like one that never came.
func TestCutAnswersEject(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) { c.Request(); c.Say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab") })
	good := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok")))
	set := newTestSet(t, Config{}, s, good)
	for range 2 * failuresLimit { // the two take turns
		if set.instances[0].ejection() != closedBreaker {
			t.Fatal("ejected too early")
		}
		send(set, someRequest("GET", "/"))
	}
	if set.instances[0].ejection() != ejectedNow || set.instances[1].ejection() != closedBreaker {
		t.Error("the instance that cuts its answers was not ejected alone")
	}
	wantReason(t, "beside an ejected one", send(set, someRequest("GET", "/")), problem.OK)
	wantRequests(t, "ejected", s, failuresLimit)
}

// The last instance that takes connections stays, however its exchanges break: a
// client who knows a route that breaks must not close all the others.
func TestTheLastIsNotEjected(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) { c.Request(); c.Say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab") })
	set := newTestSet(t, Config{}, s)
	for range 3 * failuresLimit {
		wantReason(t, "cut", send(set, someRequest("GET", "/")), problem.UpstreamProtocol)
	}
	wantRequests(t, "never ejected", s, 3*failuresLimit)
}

func TestRetryBudget(t *testing.T) {
	s, _ := clockSet(t, 1, Config{})
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
