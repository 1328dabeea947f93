package upstream

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
)

// What leaves is what was judged, on the wire and not only in the buffer.
func TestRecordedTarget(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok")))
	set := newTestSet(t, Config{}, s)
	for _, target := range []string{
		"/", "/?", "/a/b/", "/a%20b?c=%20d", "/a%2Fb", "/%C3%A4", "/a:b@c!$&'()*+,=~", "/a?b=//c/../d", "/a?b;c", "/a?%zz", "/http:x%2f..%2fadmin",
	} {
		o := someRequest("GET", target)
		if path, query, found := strings.Cut(target, "?"); found {
			o.Path, o.Query, o.HasQuery = path, query, true
		}
		wantServed(t, target, send(set, o), "ok")
		if raw := <-s.Requests; !strings.HasPrefix(raw, "GET "+target+" HTTP/1.1\r\nHost: shop.example\r\n") {
			t.Errorf("target %q left as %q", target, raw)
		}
	}
	if n := s.Conns.Load(); n != 1 {
		t.Errorf("%d connections for requests one after another, want 1", n)
	}
}

func TestUnixSocket(t *testing.T) {
	s := upstreamtest.Listen(t, "unix", upstreamtest.Always(upstreamtest.Sized("ok")))
	set := newTestSet(t, Config{}, s)
	for range 3 {
		wantServed(t, "unix", send(set, someRequest("GET", "/")), "ok")
	}
	if n := s.Conns.Load(); n != 1 {
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
		{"control", "GET", upstreamtest.Sized("first"), problem.OK},
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
		{"storm of interim answers", "GET", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 1000) + upstreamtest.Sized("x"), problem.UpstreamProtocol},
		{"switching protocols", "GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", problem.UpstreamProtocol},
		{"injected line", "GET", "HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: c=d\r\nContent-Length: 0\r\n\r\n", problem.UpstreamProtocol},
		{"poison behind a sized body", "GET", upstreamtest.Sized("first") + upstreamtest.Sized("poison"), problem.OK},
		{"poison behind an empty body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + upstreamtest.Sized("poison"), problem.OK},
		{"poison behind 204", "GET", "HTTP/1.1 204 No Content\r\n\r\n" + upstreamtest.Sized("poison"), problem.OK},
		{"poison behind 304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 90\r\n\r\n" + upstreamtest.Sized("poison"), problem.OK},
		{"poison behind HEAD", "HEAD", upstreamtest.Sized(upstreamtest.Sized("poison")), problem.OK},
		{"poison behind chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + upstreamtest.Sized("poison"), problem.OK},
		{"half a poison", "GET", upstreamtest.Sized("first") + "HTTP/1.1 200 OK\r\nContent-Length: 60", problem.OK},
		{"one stray byte", "GET", upstreamtest.Sized("first") + "\n", problem.OK},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := upstreamtest.Listen(t, "tcp", func(conn *upstreamtest.Conn) {
				if conn.N > 0 {
					upstreamtest.Always(upstreamtest.Sized("clean"))(conn)
					return
				}
				if _, ok := conn.Request(); ok {
					conn.Say(c.answer)
				}
				if c.want == problem.OK { // a service that closes would hide a connection that is used again
					if _, ok := conn.Request(); ok {
						conn.Say(upstreamtest.Sized("reused"))
					}
				}
			})
			set := newTestSet(t, Config{}, s)
			wantReason(t, "first", send(set, someRequest(c.method, "/")), c.want)
			want := "clean"
			if c.name == "control" {
				want = "reused"
			}
			wantServed(t, "second", send(set, someRequest("GET", "/")), want)
		})
	}
}

// Bytes that arrive between two requests poison nothing either, and a service
// that closes in between costs nobody a request.
func TestIdleConnections(t *testing.T) {
	for _, c := range []struct {
		name string
		act  func(*upstreamtest.Conn) // between the requests
		want string
	}{
		{"control", func(*upstreamtest.Conn) {}, "same"},
		{"poisoned", func(c *upstreamtest.Conn) { c.Say(upstreamtest.Sized("poison")) }, "other"},
		{"closed", func(c *upstreamtest.Conn) { _ = c.Close() }, "other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			go1, went := make(chan bool), make(chan bool)
			s := upstreamtest.Listen(t, "tcp", func(conn *upstreamtest.Conn) {
				if conn.N > 0 {
					upstreamtest.Always(upstreamtest.Sized("other"))(conn)
					return
				}
				conn.Request()
				conn.Say(upstreamtest.Sized("same"))
				<-go1
				c.act(conn)
				close(went)
				upstreamtest.Always(upstreamtest.Sized("same"))(conn)
			})
			set := newTestSet(t, Config{}, s)
			wantServed(t, "first", send(set, someRequest("GET", "/")), "same")
			close(go1)
			<-went // loopback has delivered it
			// POST: it would not be sent again, so it must not meet the end.
			wantServed(t, "second", send(set, someRequest("POST", "/")), c.want)
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
		s := upstreamtest.Listen(t, "tcp", upstreamtest.Always("HTTP/1.1 200 OK\r\n"+c.field+"Content-Length: 2\r\n\r\nok"))
		set := newTestSet(t, Config{Clock: clock.now}, s)
		wantServed(t, c.name, send(set, someRequest("GET", "/")), "ok")
		clock.advance(c.after)
		wantServed(t, c.name, send(set, someRequest("GET", "/")), "ok")
		if n := s.Conns.Load(); n != c.conns {
			t.Errorf("%s: %d connections, want %d", c.name, n, c.conns)
		}
	}
}

// The bounds of time, on a clock that costs none.
func TestSlowServices(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(*upstreamtest.Conn)
		want  problem.Reason
		after time.Duration
	}{
		{"control", upstreamtest.Always(upstreamtest.Sized("ok")), problem.OK, 0},
		{"no answer", func(c *upstreamtest.Conn) { c.Request(); c.Stay() }, problem.UpstreamTimeout, 30 * time.Second},
		{"never reads", func(*upstreamtest.Conn) { time.Sleep(time.Hour) }, problem.UpstreamTimeout, 30 * time.Second},
		{"slow head", func(c *upstreamtest.Conn) {
			c.Request()
			c.Say("HTTP/1.1 200 OK\r\n")
			for c.Say("X-A: b\r\n") {
				time.Sleep(time.Second)
			}
		}, problem.UpstreamTimeout, 30 * time.Second},
		{"interim answers instead of one", func(c *upstreamtest.Conn) {
			c.Request()
			for range interimLimit - 1 {
				time.Sleep(3 * time.Second)
				c.Say("HTTP/1.1 102 Processing\r\n\r\n")
			}
		}, problem.UpstreamTimeout, 30 * time.Second},
		{"body stops", func(c *upstreamtest.Conn) {
			c.Request()
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
			c.Stay()
		}, problem.UpstreamTimeout, 30 * time.Second},
		{"body by the drop", func(c *upstreamtest.Conn) {
			c.Request()
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n")
			for c.Say("x") {
				time.Sleep(20 * time.Second)
			}
		}, problem.UpstreamTimeout, 5 * time.Minute},
		{"slow but whole", func(c *upstreamtest.Conn) {
			c.Request()
			time.Sleep(29 * time.Second)
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
			time.Sleep(29 * time.Second)
			c.Say("k")
		}, problem.OK, 58 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := upstreamtest.Pipe(c.serve)
				set := newTestSet(t, Config{Dial: dial}, s)
				defer s.Serving.Wait() // no goroutine may outlive the bubble
				defer set.Close()
				start := time.Now()
				wantReason(t, c.name, send(set, someRequest("GET", "/")), c.want)
				if took := time.Since(start); took != c.after {
					t.Errorf("took %v, want %v", took, c.after)
				}
				if n := s.Conns.Load(); n != 1 {
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
		serve func(*upstreamtest.Conn)
	}{
		{"before the answer", func(c *upstreamtest.Conn) { c.Request(); c.Stay() }},
		{"in its head", func(c *upstreamtest.Conn) { c.Request(); c.Say(head[:20]); c.Stay() }},
		{"in its body", func(c *upstreamtest.Conn) { c.Request(); c.Say(head + "part"); c.Stay() }},
		{"before the request is read", func(*upstreamtest.Conn) { time.Sleep(time.Minute) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := upstreamtest.Pipe(func(conn *upstreamtest.Conn) {
					if conn.N == 0 {
						c.serve(conn)
						return
					}
					upstreamtest.Always(upstreamtest.Sized("ok"))(conn)
				})
				set := newTestSet(t, Config{Dial: dial}, s)
				defer s.Serving.Wait()
				defer set.Close()
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				go func() { time.Sleep(time.Second); cancel() }()
				start := time.Now()
				wantReason(t, c.name, sendWith(ctx, set, someRequest("GET", "/")), problem.ClientClosed)
				if took := time.Since(start); took != time.Second {
					t.Errorf("took %v, want the second until the client left", took)
				}
				if in := set.instances[0]; in.failures.Load() != 0 || in.outstanding.Load() != 0 || s.Conns.Load() != 1 {
					t.Errorf("failures %d, outstanding %d, connections %d", in.failures.Load(), in.outstanding.Load(), s.Conns.Load())
				}
				wantServed(t, "control", send(set, someRequest("GET", "/")), "ok")
			})
		})
	}
}

// A client that leaves at the very end takes its connection along: the hang-up
// may still be under way when the next request would use it.
func TestLeavingAtTheEnd(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok")))
		set := newTestSet(t, Config{}, s)
		ctx, cancel := context.WithCancel(context.Background())
		x, err := set.Send(ctx, someRequest("GET", "/"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(x); err != nil {
			t.Fatal(err)
		}
		if leaves {
			cancel()
		}
		x.Close()
		cancel()
		if idle := len(set.instances[0].idle); (idle == 0) != leaves {
			t.Errorf("client leaves %v: %d idle connections", leaves, idle)
		}
	}
}

// An exchange that is left in the middle gives its connection to nobody.
func TestAbandon(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", upstreamtest.Always("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsecret"))
	set := newTestSet(t, Config{}, s)
	for i := range 3 {
		x, err := set.Send(context.Background(), someRequest("GET", "/"))
		if err != nil {
			t.Fatal(err)
		}
		x.Close() // the body has not been read
		if n := int(s.Conns.Load()); n != i+1 {
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
