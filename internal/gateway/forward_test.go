package gateway

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
)

func testRequest(ctx context.Context) *http.Request {
	r, err := http.NewRequestWithContext(ctx, "GET", "https://shop.example/", nil)
	if err != nil {
		panic(err)
	}
	return r
}

// What leaves is what was judged, on the wire and not only in the buffer.
func TestRecordedTarget(t *testing.T) {
	s := newRawService(t, "tcp", always(sized("ok")))
	set := newTestSet(t, upstreamConfig{}, s)
	for _, target := range []string{
		"/", "/?", "/a/b/", "/a%20b?c=%20d", "/a%2Fb", "/%C3%A4", "/a:b@c!$&'()*+,=~", "/a?b=//c/../d", "/a?b;c", "/a?%zz", "/http:x%2f..%2fadmin",
	} {
		o := someOutgoing("GET", target)
		if path, query, found := strings.Cut(target, "?"); found {
			o.path, o.query, o.hasQuery = path, query, true
		}
		wantServed(t, target, o.send(set), "ok")
		if raw := <-s.requests; !strings.HasPrefix(raw, "GET "+target+" HTTP/1.1\r\nHost: shop.example\r\n") {
			t.Errorf("target %q left as %q", target, raw)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections for requests one after another, want 1", n)
	}
}

func TestUnixSocket(t *testing.T) {
	s := newRawService(t, "unix", always(sized("ok")))
	set := newTestSet(t, upstreamConfig{}, s)
	for range 3 {
		wantServed(t, "unix", someOutgoing("GET", "/").send(set), "ok")
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// Each bad answer is refused with its reason, and whatever it left on the wire
// does not reach the next request: that one is served from a new connection.
func TestHostileAnswers(t *testing.T) {
	for _, c := range []struct {
		name, method, answer string
		want                 problem.Reason
	}{
		{"control", "GET", sized("first"), problem.OK},
		{"nothing", "POST", "", problem.UpstreamProtocol},
		{"bad status line", "GET", "HTTP/1.1 OK 200\r\n\r\n", problem.UpstreamProtocol},
		{"another protocol", "GET", "220 mail.example ESMTP\r\n", problem.UpstreamProtocol},
		{"half a head", "GET", "HTTP/1.1 200 OK\r\nContent-Le", problem.UpstreamProtocol},
		{"two lengths", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", problem.UpstreamProtocol},
		{"length and chunks", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", problem.UpstreamProtocol},
		{"length too long", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", problem.UpstreamProtocol},
		{"chunk garbage", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", problem.UpstreamProtocol},
		{"chunks end early", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", problem.UpstreamProtocol},
		{"huge head", "GET", "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 2*headLimit) + "\r\n\r\n", problem.UpstreamProtocol},
		{"storm of interim answers", "GET", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 1000) + sized("x"), problem.UpstreamProtocol},
		{"switching protocols", "GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", problem.UpstreamProtocol},
		{"injected line", "GET", "HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: c=d\r\nContent-Length: 0\r\n\r\n", problem.UpstreamProtocol},
		{"poison behind a sized body", "GET", sized("first") + sized("poison"), problem.OK},
		{"poison behind an empty body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + sized("poison"), problem.OK},
		{"poison behind 204", "GET", "HTTP/1.1 204 No Content\r\n\r\n" + sized("poison"), problem.OK},
		{"poison behind 304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 90\r\n\r\n" + sized("poison"), problem.OK},
		{"poison behind HEAD", "HEAD", sized(sized("poison")), problem.OK},
		{"poison behind chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + sized("poison"), problem.OK},
		{"half a poison", "GET", sized("first") + "HTTP/1.1 200 OK\r\nContent-Length: 60", problem.OK},
		{"one stray byte", "GET", sized("first") + "\n", problem.OK},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newRawService(t, "tcp", func(conn *rawConn) {
				if conn.n > 0 {
					always(sized("clean"))(conn)
					return
				}
				if _, ok := conn.request(); ok {
					conn.say(c.answer)
				}
				if c.want == problem.OK { // a service that closes would hide a connection that is used again
					if _, ok := conn.request(); ok {
						conn.say(sized("reused"))
					}
				}
			})
			set := newTestSet(t, upstreamConfig{}, s)
			wantReason(t, "first", someOutgoing(c.method, "/").send(set), c.want)
			want := "clean"
			if c.name == "control" {
				want = "reused"
			}
			wantServed(t, "second", someOutgoing("GET", "/").send(set), want)
		})
	}
}

// Bytes that arrive between two requests poison nothing either, and a service
// that closes in between costs nobody a request.
func TestIdleConnections(t *testing.T) {
	for _, c := range []struct {
		name string
		act  func(*rawConn) // between the requests
		want string
	}{
		{"control", func(*rawConn) {}, "same"},
		{"poisoned", func(c *rawConn) { c.say(sized("poison")) }, "other"},
		{"closed", func(c *rawConn) { _ = c.Close() }, "other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			go1, went := make(chan bool), make(chan bool)
			s := newRawService(t, "tcp", func(conn *rawConn) {
				if conn.n > 0 {
					always(sized("other"))(conn)
					return
				}
				conn.request()
				conn.say(sized("same"))
				<-go1
				c.act(conn)
				close(went)
				always(sized("same"))(conn)
			})
			set := newTestSet(t, upstreamConfig{}, s)
			wantServed(t, "first", someOutgoing("GET", "/").send(set), "same")
			close(go1)
			<-went // loopback has delivered it
			// POST: it would not be sent again, so it must not meet the end.
			wantServed(t, "second", someOutgoing("POST", "/").send(set), c.want)
		})
	}
}

func TestIdleTimes(t *testing.T) {
	for _, c := range []struct {
		name, field string
		after       time.Duration
		conns       int32
	}{
		{"control", "", 29 * time.Second, 1},
		{"too old", "", 30 * time.Second, 2},
		{"the service keeps it longer", "Keep-Alive: timeout=60, max=9\r\n", 29 * time.Second, 1},
		{"the service keeps it shorter", "Keep-Alive: max=100, timeout=5\r\n", 4 * time.Second, 2},
		{"the service keeps it a little", "Keep-Alive: timeout=5\r\n", 3999 * time.Millisecond, 1},
	} {
		var clock testClock
		s := newRawService(t, "tcp", always("HTTP/1.1 200 OK\r\n"+c.field+"Content-Length: 2\r\n\r\nok"))
		set := newTestSet(t, upstreamConfig{clock: clock.now}, s)
		wantServed(t, c.name, someOutgoing("GET", "/").send(set), "ok")
		clock.advance(c.after)
		wantServed(t, c.name, someOutgoing("GET", "/").send(set), "ok")
		if n := s.conns.Load(); n != c.conns {
			t.Errorf("%s: %d connections, want %d", c.name, n, c.conns)
		}
	}
}

// Only what is safe is sent again: the service counts.
func TestRetries(t *testing.T) {
	hangUp := func(c *rawConn) { c.request() } // reads the request and closes
	for _, c := range []struct {
		name   string
		out    *outgoing
		serve  func(*rawConn)
		budget int64
		want   problem.Reason
		sent   int
	}{
		{"control: answered", someOutgoing("GET", "/"), always(sized("ok")), retryCap, problem.OK, 1},
		{"GET", someOutgoing("GET", "/"), hangUp, retryCap, problem.UpstreamProtocol, 2},
		{"HEAD", someOutgoing("HEAD", "/"), hangUp, retryCap, problem.UpstreamProtocol, 2},
		{"OPTIONS", someOutgoing("OPTIONS", "/"), hangUp, retryCap, problem.UpstreamProtocol, 2},
		{"POST", someOutgoing("POST", "/"), hangUp, retryCap, problem.UpstreamProtocol, 1},
		{"PUT", someOutgoing("PUT", "/"), hangUp, retryCap, problem.UpstreamProtocol, 1},
		{"DELETE", someOutgoing("DELETE", "/"), hangUp, retryCap, problem.UpstreamProtocol, 1},
		{"PATCH", someOutgoing("PATCH", "/"), hangUp, retryCap, problem.UpstreamProtocol, 1},
		{"GET with a small body", someOutgoing("GET", "/").withBody(newTestBody("x"), 1), hangUp, retryCap, problem.UpstreamProtocol, 1},
		{"GET with a streamed body", someOutgoing("GET", "/").withBody(newTestBody("x"), -1), hangUp, retryCap, problem.UpstreamProtocol, 1},
		{"POST that calls itself idempotent", func() *outgoing {
			o := someOutgoing("POST", "/")
			o.received = http.Header{"Idempotency-Key": {"1"}, "X-Idempotency-Key": {"1"}}
			return o
		}(), hangUp, retryCap, problem.UpstreamProtocol, 1},
		{"GET, answer begun", someOutgoing("GET", "/"), func(c *rawConn) { c.request(); c.say("H") }, retryCap, problem.UpstreamProtocol, 1},
		{"GET, bad answer", someOutgoing("GET", "/"), func(c *rawConn) { c.request(); c.say("no\r\n") }, retryCap, problem.UpstreamProtocol, 1},
		{"GET, answer cut", someOutgoing("GET", "/"), func(c *rawConn) { c.request(); c.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab") }, retryCap, problem.UpstreamProtocol, 1},
		{"GET, 503 is an answer", someOutgoing("GET", "/"), func(c *rawConn) { c.request(); c.say("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") }, retryCap, problem.OK, 1},
		{"GET without budget", someOutgoing("GET", "/"), hangUp, 0, problem.UpstreamProtocol, 1},
		{"GET that works the second time", someOutgoing("GET", "/"), func(c *rawConn) {
			if c.n == 0 {
				c.request()
				return
			}
			always(sized("ok"))(c)
		}, retryCap, problem.OK, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newRawService(t, "tcp", c.serve)
			set := newTestSet(t, upstreamConfig{}, s)
			set.retries.tokens.Store(c.budget)
			wantReason(t, c.name, c.out.send(set), c.want)
			wantRequests(t, c.name, s, c.sent)
		})
	}
}

// A request of which nothing has left goes to another instance, whatever its
// method: also one whose body is not read yet.
func TestAnotherInstance(t *testing.T) {
	for _, o := range []*outgoing{
		someOutgoing("GET", "/"),
		someOutgoing("POST", "/"),
		someOutgoing("POST", "/").withBody(newTestBody("body"), 4),
		someOutgoing("POST", "/").withBody(newTestBody("body"), -1),
		someOutgoing("DELETE", "/"),
	} {
		s := newRawService(t, "tcp", always(sized("ok")))
		set := newTestSet(t, upstreamConfig{}, dead(t), s)
		set.next.Store(1) // so that the dead one is first
		wantServed(t, o.method, o.send(set), "ok")
		wantRequests(t, o.method, s, 1)
		if set.instances[0].ejection() == closedBreaker {
			t.Errorf("%s: the dead instance was not asked first", o.method)
		}
		if o.body != nil && !strings.Contains(<-s.requests, "body") {
			t.Errorf("%s: the body did not arrive", o.method)
		}
	}
	set := newTestSet(t, upstreamConfig{}, dead(t), dead(t))
	wantReason(t, "all dead", someOutgoing("GET", "/").send(set), problem.UpstreamUnreachable)
}

// The bounds of time, on a clock that costs none.
func TestSlowServices(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(*rawConn)
		want  problem.Reason
		after time.Duration
	}{
		{"control", always(sized("ok")), problem.OK, 0},
		{"no answer", func(c *rawConn) { c.request(); c.stay() }, problem.UpstreamTimeout, 30 * time.Second},
		{"never reads", func(*rawConn) { time.Sleep(time.Hour) }, problem.UpstreamTimeout, 30 * time.Second},
		{"slow head", func(c *rawConn) {
			c.request()
			c.say("HTTP/1.1 200 OK\r\n")
			for c.say("X-A: b\r\n") {
				time.Sleep(time.Second)
			}
		}, problem.UpstreamTimeout, 30 * time.Second},
		{"interim answers instead of one", func(c *rawConn) {
			c.request()
			for range interimLimit - 1 {
				time.Sleep(3 * time.Second)
				c.say("HTTP/1.1 102 Processing\r\n\r\n")
			}
		}, problem.UpstreamTimeout, 30 * time.Second},
		{"body stops", func(c *rawConn) {
			c.request()
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
			c.stay()
		}, problem.UpstreamTimeout, 30 * time.Second},
		{"body by the drop", func(c *rawConn) {
			c.request()
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n")
			for c.say("x") {
				time.Sleep(20 * time.Second)
			}
		}, problem.UpstreamTimeout, 5 * time.Minute},
		{"slow but whole", func(c *rawConn) {
			c.request()
			time.Sleep(29 * time.Second)
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
			time.Sleep(29 * time.Second)
			c.say("k")
		}, problem.OK, 58 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := newPipeService(c.serve)
				set := newTestSet(t, upstreamConfig{dial: dial}, s)
				defer s.serving.Wait() // no goroutine may outlive the bubble
				defer set.Close()
				start := time.Now()
				wantReason(t, c.name, someOutgoing("GET", "/").send(set), c.want)
				if took := time.Since(start); took != c.after {
					t.Errorf("took %v, want %v", took, c.after)
				}
				if n := s.conns.Load(); n != 1 {
					t.Errorf("%d connections: a slow request was sent again", n)
				}
			})
		})
	}
}

// A client that goes away takes its request along at once, and the instance is
// not blamed for it.
func TestClientGoesAway(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
	for _, c := range []struct {
		name  string
		serve func(*rawConn)
	}{
		{"before the answer", func(c *rawConn) { c.request(); c.stay() }},
		{"in its head", func(c *rawConn) { c.request(); c.say(head[:20]); c.stay() }},
		{"in its body", func(c *rawConn) { c.request(); c.say(head + "part"); c.stay() }},
		{"before the request is read", func(*rawConn) { time.Sleep(time.Minute) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := newPipeService(func(conn *rawConn) {
					if conn.n == 0 {
						c.serve(conn)
						return
					}
					always(sized("ok"))(conn)
				})
				set := newTestSet(t, upstreamConfig{dial: dial}, s)
				defer s.serving.Wait()
				defer set.Close()
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				go func() { time.Sleep(time.Second); cancel() }()
				start := time.Now()
				wantReason(t, c.name, someOutgoing("GET", "/").sendWith(ctx, set), problem.ClientClosed)
				if took := time.Since(start); took != time.Second {
					t.Errorf("took %v, want the second until the client left", took)
				}
				if in := set.instances[0]; in.failures.Load() != 0 || in.outstanding.Load() != 0 || s.conns.Load() != 1 {
					t.Errorf("failures %d, outstanding %d, connections %d", in.failures.Load(), in.outstanding.Load(), s.conns.Load())
				}
				wantServed(t, "control", someOutgoing("GET", "/").send(set), "ok")
			})
		})
	}
}

// A connection that ends just as it is used again says nothing about the
// instance: it may have been closed for its age.
func TestStaleConnection(t *testing.T) {
	serve := func(c *rawConn) {
		c.request()
		c.say(sized("ok"))
		c.request() // and close
	}
	s := newRawService(t, "tcp", serve)
	set := newTestSet(t, upstreamConfig{}, s)
	in := set.instances[0]
	wantServed(t, "first", someOutgoing("GET", "/").send(set), "ok")
	wantReason(t, "POST", someOutgoing("POST", "/").send(set), problem.UpstreamProtocol)
	if n := in.failures.Load(); n != 0 {
		t.Errorf("%d failures after a stale connection, want none", n)
	}
	wantServed(t, "second", someOutgoing("GET", "/").send(set), "ok")
	wantServed(t, "GET", someOutgoing("GET", "/").send(set), "ok") // the second try, on a new connection
	wantRequests(t, "all", s, 5)

	fresh := newTestSet(t, upstreamConfig{}, newRawService(t, "tcp", func(c *rawConn) { c.request() }))
	wantReason(t, "control", someOutgoing("POST", "/").send(fresh), problem.UpstreamProtocol)
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
		s, dial := newPipeService(func(conn *rawConn) {
			if conn.n == 0 {
				_, _ = io.ReadFull(conn.Conn, make([]byte, c.read))
				return
			}
			always(sized("ok"))(conn)
		})
		set := newTestSet(t, upstreamConfig{dial: dial}, s)
		got := someOutgoing("POST", "/").send(set)
		if (got.reason == problem.OK) != (c.sent == 2) || s.conns.Load() != c.sent {
			t.Errorf("%s: got %v (%v) after %d connections, want %d", c.name, got.reason, got.err, s.conns.Load(), c.sent)
		}
	}
}

// A client that leaves at the very end takes its connection along: the hang-up
// may still be under way when the next request would use it.
func TestLeavingAtTheEnd(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		s := newRawService(t, "tcp", always(sized("ok")))
		set := newTestSet(t, upstreamConfig{}, s)
		ctx, cancel := context.WithCancel(context.Background())
		x, err := set.send(ctx, someOutgoing("GET", "/"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.fill(make([]byte, 9)); err != io.EOF {
			t.Fatal(err)
		}
		if leaves {
			cancel()
		}
		x.finish()
		cancel()
		if idle := len(set.instances[0].idle); (idle == 0) != leaves {
			t.Errorf("client leaves %v: %d idle connections", leaves, idle)
		}
	}
}

// An exchange that is left in the middle gives its connection to nobody.
func TestAbandon(t *testing.T) {
	s := newRawService(t, "tcp", always("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsecret"))
	set := newTestSet(t, upstreamConfig{}, s)
	for i := range 3 {
		x, err := set.send(context.Background(), someOutgoing("GET", "/"))
		if err != nil {
			t.Fatal(err)
		}
		x.finish() // the body has not been read
		if n := int(s.conns.Load()); n != i+1 {
			t.Errorf("%d connections after %d abandoned exchanges", n, i+1)
		}
		if n := x.lease.outstanding.Load(); n != 0 {
			t.Errorf("%d requests outstanding, want 0", n)
		}
	}
}

func TestDeadlineErrors(t *testing.T) {
	ctx, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer cancel()
	if got := contextReason(ctx); got != problem.UpstreamTimeout {
		t.Errorf("reason of a passed deadline = %v", got)
	}
}

// An answer that is cut counts against its instance like one that never came.
func TestCutAnswersEject(t *testing.T) {
	s := newRawService(t, "tcp", func(c *rawConn) { c.request(); c.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab") })
	good := newRawService(t, "tcp", always(sized("ok")))
	set := newTestSet(t, upstreamConfig{}, s, good)
	for range 2 * failuresLimit { // the two take turns
		if set.instances[0].ejection() != closedBreaker {
			t.Fatal("ejected too early")
		}
		someOutgoing("GET", "/").send(set)
	}
	if set.instances[0].ejection() != ejectedNow || set.instances[1].ejection() != closedBreaker {
		t.Error("the instance that cuts its answers was not ejected alone")
	}
	wantReason(t, "beside an ejected one", someOutgoing("GET", "/").send(set), problem.OK)
	wantRequests(t, "ejected", s, failuresLimit)
}

// The last instance that takes connections stays, however its exchanges break: a
// client who knows a route that breaks must not close all the others.
func TestTheLastIsNotEjected(t *testing.T) {
	s := newRawService(t, "tcp", func(c *rawConn) { c.request(); c.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab") })
	set := newTestSet(t, upstreamConfig{}, s)
	for range 3 * failuresLimit {
		wantReason(t, "cut", someOutgoing("GET", "/").send(set), problem.UpstreamProtocol)
	}
	wantRequests(t, "never ejected", s, 3*failuresLimit)
}
