package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
)

// someCall is a request over HTTP/2.
func someCall() *Request {
	r := someRequest("POST", "/shop.Shop/Unary")
	r.HTTP2 = true
	return r
}

// answering answers each request of a connection in the same way.
func answering(answer func(h *upstreamtest.HTTP2, stream uint32), settings ...http2.Setting) func(*upstreamtest.Conn) {
	return upstreamtest.SpeakHTTP2(func(h *upstreamtest.HTTP2) {
		for id := range h.Opened {
			answer(h, id)
		}
	}, settings...)
}

func fine(h *upstreamtest.HTTP2, id uint32) {
	h.Fields(id, false, ":status", "200", "content-type", "application/grpc")
	h.Content(id, false, "ok")
	h.Fields(id, true, "grpc-status", "0")
}

// What a service may say over HTTP/2, and what it may not.
func TestCallAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(h *upstreamtest.HTTP2, id uint32)
		status int
		body   string
		want   problem.Reason
	}{
		{"control", fine, 200, "ok", problem.OK},
		{"the head alone", func(h *upstreamtest.HTTP2, id uint32) { h.Fields(id, true, ":status", "200", "grpc-status", "5") }, 200, "", problem.OK},
		{"after interim answers", func(h *upstreamtest.HTTP2, id uint32) {
			h.Fields(id, false, ":status", "103", "link", "</a>")
			fine(h, id)
		}, 200, "ok", problem.OK},
		{"a refusal", func(h *upstreamtest.HTTP2, id uint32) {
			h.Fields(id, false, ":status", "403", "content-length", "2")
			h.Content(id, true, "no")
		}, 403, "no", problem.OK},
		{"interim answers without end", func(h *upstreamtest.HTTP2, id uint32) {
			for range 100 {
				h.Fields(id, false, ":status", "103", "x-a", strings.Repeat("a", 8<<10))
			}
		}, 0, "", problem.UpstreamProtocol},
		{"101", func(h *upstreamtest.HTTP2, id uint32) { h.Fields(id, true, ":status", "101") }, 0, "", problem.UpstreamProtocol},
		{"status 42", func(h *upstreamtest.HTTP2, id uint32) { h.Fields(id, true, ":status", "42") }, 0, "", problem.UpstreamProtocol},
		{"status 999", func(h *upstreamtest.HTTP2, id uint32) { h.Fields(id, true, ":status", "999") }, 0, "", problem.UpstreamProtocol},
		{"no status", func(h *upstreamtest.HTTP2, id uint32) { h.Fields(id, true, "x-a", "b") }, 0, "", problem.UpstreamProtocol},
		{"a head that is too large", func(h *upstreamtest.HTTP2, id uint32) {
			_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.Block(":status", "200")})
			for range 100 {
				_ = h.WriteContinuation(id, false, h.Block("x-a", strings.Repeat("a", 8<<10)))
			}
			_ = h.WriteContinuation(id, true, nil)
		}, 0, "", problem.UpstreamProtocol},
		{"a head without end", func(h *upstreamtest.HTTP2, id uint32) {
			_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.Block(":status", "200")})
			for h.WriteContinuation(id, false, h.Block("x-a", strings.Repeat("a", 8<<10))) == nil {
			}
		}, 0, "", problem.UpstreamProtocol},
		{"trailers without end", func(h *upstreamtest.HTTP2, id uint32) {
			h.Fields(id, false, ":status", "200")
			h.Content(id, false, "ok")
			_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, BlockFragment: h.Block("x-a", "b")})
			for h.WriteContinuation(id, false, h.Block("x-a", strings.Repeat("a", 8<<10))) == nil {
			}
		}, 200, "ok", problem.UpstreamProtocol},
		{"trailers that do not end the answer", func(h *upstreamtest.HTTP2, id uint32) {
			h.Fields(id, false, ":status", "200")
			h.Fields(id, false, "grpc-status", "0")
		}, 200, "", problem.UpstreamProtocol},
		{"a status among the trailers", func(h *upstreamtest.HTTP2, id uint32) {
			h.Fields(id, false, ":status", "200")
			h.Fields(id, true, ":status", "200")
		}, 200, "", problem.UpstreamProtocol},
		{"less than was said", func(h *upstreamtest.HTTP2, id uint32) {
			h.Fields(id, false, ":status", "200", "content-length", "3")
			h.Content(id, true, "ok")
		}, 200, "ok", problem.UpstreamProtocol},
		{"more than was said", func(h *upstreamtest.HTTP2, id uint32) {
			h.Fields(id, false, ":status", "200", "content-length", "1")
			h.Content(id, true, "ok")
		}, 200, "o", problem.UpstreamProtocol},
		{"a reset", func(h *upstreamtest.HTTP2, id uint32) { _ = h.WriteRSTStream(id, http2.ErrCodeInternal) }, 0, "", problem.UpstreamProtocol},
		{"a reset in the answer", func(h *upstreamtest.HTTP2, id uint32) {
			h.Fields(id, false, ":status", "200")
			h.Content(id, false, "ok")
			_ = h.WriteRSTStream(id, http2.ErrCodeInternal)
		}, 200, "ok", problem.UpstreamProtocol},
		{"the end of the connection", func(h *upstreamtest.HTTP2, _ uint32) { _ = h.Close() }, 0, "", problem.UpstreamProtocol},
		{"no frames", func(h *upstreamtest.HTTP2, _ uint32) { h.Say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") }, 0, "", problem.UpstreamProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := upstreamtest.Listen(t, "tcp", answering(c.answer))
			set := newTestSet(t, Config{}, s)
			got := send(set, someCall())
			if got.status != c.status || got.body != c.body || got.reason != c.want {
				t.Errorf("got %d %q %v (%v), want %d %q %v", got.status, got.body, got.reason, got.err, c.status, c.body, c.want)
			}
			if st := set.Status()[0]; st.Outstanding != 0 || (st.Failures != 0) != (c.want != problem.OK) {
				t.Errorf("the instance stands at %+v", st)
			}
		})
	}
}

// Trailers are there at the end and not before.
func TestCallTrailers(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", answering(fine))
	set := newTestSet(t, Config{}, s)
	x, err := set.Send(t.Context(), someCall())
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if x.Trailer() != nil {
		t.Errorf("early: %v", x.Trailer())
	}
	if _, err := io.ReadAll(x); err != nil || x.Trailer().Get("Grpc-Status") != "0" {
		t.Errorf("%v, %v", err, x.Trailer())
	}
}

// A request over HTTP/2 has the target, the fields and the proof that it would
// have over HTTP/1.1, and none of http2's own.
func TestCallHead(t *testing.T) {
	heads := make(chan *http.Request, 1)
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	srv := &http.Server{Protocols: p, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heads <- r })}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	set := newTestSet(t, Config{Prove: counter}, &upstreamtest.Service{Network: "tcp", Address: l.Addr().String()})
	for i, path := range []string{"/a/b", "/a%2Fb", "/%C3%A9"} {
		r := someCall()
		r.Path, r.Query, r.HasQuery = path, "x=%20&y", true
		r.Fields = lines("X-Custom: value\r\nX-Custom: other\r\ncookie: a=b\r\n")
		if got := send(set, r); got.status != 200 {
			t.Fatalf("%+v", got)
		}
		h := <-heads
		if h.RequestURI != path+"?x=%20&y" || h.Host != "shop.example" || h.ProtoMajor != 2 || strings.Join(h.Header["X-Custom"], " ") != "value other" ||
			h.Header.Get("Te") != "trailers" || h.Header["User-Agent"] != nil || h.Header["Accept-Encoding"] != nil || h.Header.Get("Cookie") != "a=b" {
			t.Errorf("arrived %s %s %v", h.RequestURI, h.Host, h.Header)
		}
		if want := string(rune('1'+i)) + " of " + path; !strings.HasPrefix(h.Header.Get("Proof"), want) {
			t.Errorf("proof %q, want %q", h.Header.Get("Proof"), want)
		}
	}
	for name, edit := range map[string]func(*Request){
		"target":      func(r *Request) { r.Path = "/a b" },
		"no path":     func(r *Request) { r.Path = "" },
		"two slashes": func(r *Request) { r.Path = "//evil.example/a" },
		"fields":      func(r *Request) { r.Fields = lines("no field\r\n") },
		"name":        func(r *Request) { r.Fields = lines("a b: c\r\n") },
	} {
		r := someCall()
		edit(r)
		wantReason(t, name, send(set, r), problem.RequestMalformed)
	}
	failing := newTestSet(t, Config{Prove: func([]byte, *Conn, *Request) ([]byte, error) { return nil, errTest }}, &upstreamtest.Service{Network: "tcp", Address: l.Addr().String()})
	wantReason(t, "no proof", send(failing, someCall()), problem.InternalError)
	if st := failing.Status()[0]; st.Outstanding != 0 || st.Idle != 1 {
		t.Errorf("the instance stands at %+v", st)
	}
	if len(heads) != 0 {
		t.Error("a request left all the same")
	}
}

// A connection that the service says goodbye on is not used again; a new one is.
func TestCallAfterGoAway(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", answering(func(h *upstreamtest.HTTP2, id uint32) {
		_ = h.WriteGoAway(id, http2.ErrCodeNo, nil)
		fine(h, id)
	}))
	set := newTestSet(t, Config{}, s)
	for range 3 {
		wantServed(t, "each", send(set, someCall()), "ok")
	}
	if n := s.Conns.Load(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

// The service says how many requests it takes at a time on a connection; there are
// more connections then, and an end of them.
func TestCallsAreBounded(t *testing.T) {
	begun, release := make(chan struct{}, 16), make(chan struct{})
	s := upstreamtest.Listen(t, "tcp", answering(func(h *upstreamtest.HTTP2, id uint32) {
		begun <- struct{}{}
		go func() { <-release; fine(h, id) }()
	}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}))
	set := newTestSet(t, Config{Outstanding: 2 * callsPerConn}, s) // two connections
	done := make(chan outcome, 2)
	for range 2 {
		go func() { done <- send(set, someCall()) }()
		<-begun
	}
	wantReason(t, "the third", send(set, someCall()), problem.UpstreamBusy)
	close(release)
	for range 2 {
		wantServed(t, "the first two", <-done, "ok")
	}
	wantServed(t, "afterwards", send(set, someCall()), "ok")
	if n := s.Conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// A call whose owner leaves is reset, before and after its head; the connection
// stays for others.
func TestCallIsCut(t *testing.T) {
	for headFirst, want := range map[bool]problem.Reason{false: problem.ClientClosed, true: problem.UpstreamProtocol} {
		resets := make(chan uint32, 1)
		opened := make(chan struct{}, 1)
		s := upstreamtest.Listen(t, "tcp", upstreamtest.SpeakHTTP2(func(h *upstreamtest.HTTP2) {
			id := <-h.Opened
			if headFirst {
				h.Fields(id, false, ":status", "200")
			}
			opened <- struct{}{}
			resets <- <-h.Reset
			for id := range h.Opened {
				fine(h, id)
			}
		}))
		set := newTestSet(t, Config{}, s)
		ctx, cancel := context.WithCancel(t.Context())
		pr, pw := io.Pipe() // never says a word
		r := someCall().with(&pipeBody{PipeReader: pr}, -1)
		done := make(chan error, 1)
		go func() {
			x, err := set.Send(ctx, r)
			if err == nil {
				go func() { <-opened; x.Cut() }()
				_, err = io.ReadAll(x)
				x.Close()
			}
			done <- err
		}()
		if !headFirst {
			<-opened
			cancel()
		}
		if err := <-done; problem.ReasonOf(err) != want {
			t.Errorf("head first %v: %v, want %v", headFirst, err, want)
		}
		<-resets
		wantServed(t, "another", send(set, someCall()), "ok")
		if st := set.Status()[0]; st.Failures != 0 || st.Outstanding != 0 || s.Conns.Load() != 1 {
			t.Errorf("the instance stands at %+v, %d connections", st, s.Conns.Load())
		}
		cancel()
		_ = pw.Close()
	}
}

type pipeBody struct{ *io.PipeReader }

func (b *pipeBody) Retire() { _ = b.CloseWithError(problem.New(problem.ClientClosed, errTest)) }

// A fault of the client's body is the client's, and nobody else's.
func TestCallOfAFaultyClient(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", answering(func(*upstreamtest.HTTP2, uint32) {}))
	set := newTestSet(t, Config{}, s)
	pr, pw := io.Pipe()
	go func() {
		_, _ = pw.Write([]byte("x"))
		_ = pw.CloseWithError(problem.New(problem.RequestTimeout, errTest))
	}()
	wantReason(t, "a slow client", send(set, someCall().with(&pipeBody{PipeReader: pr}, -1)), problem.RequestTimeout)
	if st := set.Status()[0]; st.Failures != 0 || st.Outstanding != 0 {
		t.Errorf("the instance stands at %+v", st)
	}
}

// A connection that the service breaks under a request on its way is no fault of
// the client, though its body is thrown out then.
func TestCallIsBroken(t *testing.T) {
	for _, headFirst := range []bool{false, true} {
		s := upstreamtest.Listen(t, "tcp", upstreamtest.SpeakHTTP2(func(h *upstreamtest.HTTP2) {
			id, ok := <-h.Opened
			if ok && headFirst {
				h.Fields(id, false, ":status", "200")
			}
			_ = h.Close()
		}))
		set := newTestSet(t, Config{}, s)
		pr, pw := io.Pipe() // never says a word
		got := send(set, someCall().with(&pipeBody{PipeReader: pr}, -1))
		wantReason(t, map[bool]string{false: "before the head", true: "after the head"}[headFirst], got, problem.UpstreamProtocol)
		if st := set.Status()[0]; st.Failures != 1 || st.Outstanding != 0 {
			t.Errorf("head first %v: the instance stands at %+v, want the failure", headFirst, st)
		}
		_ = pw.Close()
	}
}

// Nothing listens, or does not speak.
func TestCallToNobody(t *testing.T) {
	dead := newTestSet(t, Config{}, upstreamtest.Dead(t))
	wantReason(t, "dead", send(dead, someCall()), problem.UpstreamUnreachable)
	refused := newTestSet(t, Config{DialHTTP2: dialPlain, Dial: nil}, upstreamtest.Dead(t))
	wantReason(t, "dead by another dialler", send(refused, someCall()), problem.UpstreamUnreachable)
	some := newTestSet(t, Config{}, upstreamtest.Dead(t), upstreamtest.Dead(t), upstreamtest.Listen(t, "tcp", answering(fine)))
	some.next.Store(2) // so that the living one is last
	wantServed(t, "two of three dead", send(some, someCall()), "ok")
	for i, st := range some.Status() {
		if !st.Healthy || (st.Failures == 0) != (i == 2) {
			t.Errorf("instance %d stands at %+v", i, st)
		}
	}
}

// A connection without requests is closed when its time is over.
func TestIdleHTTP2(t *testing.T) {
	clock := &testClock{}
	clock.advance(time.Hour)
	s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) {
		if b, err := c.R.Peek(1); err != nil || b[0] != 'P' {
			return // a health check
		}
		answering(fine)(c)
	})
	set := newTestSet(t, Config{Clock: clock.now}, s)
	wantServed(t, "first", send(set, someCall()), "ok")
	set.round(t.Context())
	if n := set.Status()[0].Idle; n != 1 {
		t.Errorf("%d idle connections, want 1", n)
	}
	clock.advance(31 * time.Second)
	set.round(t.Context())
	if n := set.Status()[0].Idle; n != 0 {
		t.Errorf("%d idle connections, want none", n)
	}
	wantServed(t, "after that", send(set, someCall()), "ok")
}

// A tunnel has no bound in time of its own, but a service must take what is sent.
func TestTunnelTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := upstreamtest.Pipe(func(c *upstreamtest.Conn) {
			c.Request()
			c.Say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
			time.Sleep(time.Hour)
			c.Say("late")
			time.Sleep(time.Hour) // takes nothing
		})
		set := newTestSet(t, Config{Dial: dial}, s)
		r := someRequest("GET", "/")
		var err error
		if r.Handshake, err = ReadHandshake(http.Header{
			"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
		}); err != nil {
			t.Fatal(err)
		}
		x, err := set.Send(t.Context(), r)
		if err != nil || !x.Switched() {
			t.Fatalf("%v", err)
		}
		buf := make([]byte, 8)
		if n, err := x.Read(buf); err != nil || string(buf[:n]) != "late" {
			t.Errorf("read %q, %v", buf[:n], err)
		}
		start := time.Now()
		if _, err := x.Write([]byte("x")); err == nil || time.Since(start) != 30*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		x.Close()
		if st := set.Status()[0]; st.Failures != 0 || st.Outstanding != 0 || st.Idle != 0 {
			t.Errorf("the instance stands at %+v", st)
		}
		if _, err := set.Send(t.Context(), func() *Request { r := someRequest("POST", "/"); r.Handshake = new(Handshake); return r }()); !errors.Is(err, errHandshake) {
			t.Errorf("a handshake with POST: %v", err)
		}
		s.Serving.Wait()
	})
}

func FuzzHandshake(f *testing.F) {
	f.Add("websocket", "Upgrade", "13", "dGhlIHNhbXBsZSBub25jZQ==", "a, b", `permessage-deflate; client_max_window_bits="10"`)
	f.Add("h2c", "keep-alive", "8", "", ",", ";")
	f.Fuzz(func(t *testing.T, upgrade, connection, version, key, protocols, extensions string) {
		s, err := ReadHandshake(http.Header{
			"Upgrade": {upgrade}, "Connection": {connection}, "Sec-Websocket-Version": {version}, "Sec-Websocket-Key": {key},
			"Sec-Websocket-Protocol": {protocols}, "Sec-Websocket-Extensions": {extensions},
		})
		if err != nil {
			return
		}
		head, err := s.appendTo(nil)
		if err != nil {
			t.Fatalf("taken and not sent: %v", err)
		}
		if n := strings.Count(string(head), "\r\n"); n != 6 || strings.Contains(string(head), "\r\n\r\n") {
			t.Fatalf("%d lines in %q", n, head)
		}
		if !strings.EqualFold(upgrade, "websocket") || version != "13" || len(key) != 24 {
			t.Fatalf("taken: %q %q %q", upgrade, version, key)
		}
	})
}
