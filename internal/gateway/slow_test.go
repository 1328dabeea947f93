package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// The tests of this file run in a bubble of fake time, over pipes: a slow client
// costs nothing but the time it takes.

// pipes is a listener whose connections are made in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p.conns <- far
	return near, nil
}

// slowDoor is a door in a bubble: POST /sink reads its body, GET /large answers
// with a megabyte, GET /stream is a service's, POST /users is not for everybody.
type slowDoor struct {
	*door
	pipes *pipes
}

func inBubble(t *testing.T, test func(t *testing.T, d *slowDoor)) {
	t.Helper()
	theCertificate() // made outside: its dates are real
	synctest.Test(t, func(t *testing.T) {
		d := &slowDoor{door: &door{t: t}, pipes: newPipes()}
		cfg := testConfig(d.door, testZone("inside", &zone.Route{Method: "GET", Path: "/stream", Allow: zone.AllowAnonymous, Stream: zone.StreamSSE}))
		local := func(method, path string, allow zone.Allow, h http.HandlerFunc) {
			cfg.Locals = append(cfg.Locals, Local{Listener: "public", Service: "test", Method: method, Path: path, Allow: allow, Handler: h})
		}
		local("POST", "/sink", zone.AllowAnonymous, func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if err != nil {
				problem.WriteError(w, err, "")
				return
			}
			_, _ = fmt.Fprint(w, n)
		})
		local("POST", "/thinks", zone.AllowAnonymous, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 10))
			time.Sleep(time.Minute) // it is the handler that is slow
			n, err := io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprint(w, n, err)
		})
		local("POST", "/users", zone.AllowUser, func(http.ResponseWriter, *http.Request) {})
		local("GET", "/large", zone.AllowAnonymous, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, localAnswer)) })
		g, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		d.gateway = g
		g.listeners[0].server.TLSConfig.SessionTicketsDisabled = true // a pipe holds nothing: tickets would wait for a reader

		inner := newPipes()
		up := &http.Server{ReadHeaderTimeout: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
				_ = http.NewResponseController(w).Flush()
				time.Sleep(100 * time.Second)
			}
		})}
		go func() { _ = up.Serve(inner) }()
		g.services["shop"].cfg.dial = inner.dial

		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error)
		go func() { stopped <- g.Serve(ctx, map[string]net.Listener{"public": d.pipes}) }()
		test(t, d)
		stop()
		if err := <-stopped; err != nil {
			t.Errorf("Serve: %v", err)
		}
		_ = up.Close()
	})
}

func (d *slowDoor) dial(alpn string) *tls.Conn {
	d.t.Helper()
	raw, err := d.pipes.dial(context.Background(), "", "")
	if err != nil {
		d.t.Fatal(err)
	}
	c := tls.Client(raw, &tls.Config{ServerName: "shop.example", NextProtos: []string{alpn}, InsecureSkipVerify: true}) // fake time is before the certificate's
	if err := c.Handshake(); err != nil {
		d.t.Fatal(err)
	}
	return c
}

// oneAnswer reads one answer of HTTP/1.
func oneAnswer(c net.Conn) (status int, body string, err error) {
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// drip writes n bytes, some each second, until the other side has had enough.
func drip(c net.Conn, n, perSecond int) {
	for n > 0 {
		time.Sleep(time.Second)
		if _, err := c.Write(bytes.Repeat([]byte("x"), min(n, perSecond))); err != nil {
			return
		}
		n -= perSecond
	}
}

func TestSlowHead(t *testing.T) {
	inBubble(t, func(t *testing.T, d *slowDoor) {
		c := d.dial("http/1.1")
		_, _ = io.WriteString(c, "POST /sink HTTP/1.1\r\nHost: shop.example\r\n")
		time.Sleep(4 * time.Second)
		_, _ = io.WriteString(c, "Content-Length: 0\r\n\r\n")
		if status, body, err := oneAnswer(c); status != 200 {
			t.Errorf("a head in 4 s: got %d %s %v", status, body, err)
		}
		_ = c.Close()

		c = d.dial("http/1.1")
		began := time.Now()
		_, _ = io.WriteString(c, "GET /sink HTTP/1.1\r\nHost: shop.example\r\n")
		var dripping sync.WaitGroup
		dripping.Go(func() {
			for i := range 100 { // a field a second
				if _, err := fmt.Fprintf(c, "X-%d: y\r\n", i); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		_, _, err := oneAnswer(c)
		if took := time.Since(began); err == nil || took > 6*time.Second {
			t.Errorf("a head without end: %v after %v, want the connection closed after 5s", err, took)
		}
		_ = c.Close()
		dripping.Wait()
	})
}

func TestSlowHandshake(t *testing.T) {
	inBubble(t, func(t *testing.T, d *slowDoor) {
		raw, err := d.pipes.dial(context.Background(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = raw.Read(make([]byte, 1))
		if took := time.Since(began); err == nil || took > 6*time.Second {
			t.Errorf("no handshake: %v after %v, want the connection closed after 5s", err, took)
		}
		_ = raw.Close()
	})
}

func TestSlowBody(t *testing.T) {
	for _, c := range []struct {
		what      string
		path      string
		n         int
		perSecond int
		status    int
		body      string
		within    time.Duration
	}{
		{"at the rate, for minutes", "/sink", 200 << 10, 1 << 10, 200, "204800", 5 * time.Minute},
		{"a tenth of the rate, small", "/sink", 400, 100, 200, "400", 10 * time.Second},
		{"a tenth of the rate", "/sink", 100 << 10, 100, 408, "request.timeout", 15 * time.Second},
		{"nothing at all", "/sink", 100, 0, 408, "request.timeout", 7 * time.Second},
		{"the handler is slow", "/thinks", 1 << 10, 1 << 10, 200, "1014 <nil>", 2 * time.Minute},
	} {
		for _, framing := range []string{"length", "chunks"} {
			inBubble(t, func(t *testing.T, d *slowDoor) {
				conn := d.dial("http/1.1")
				began := time.Now()
				head := "POST " + c.path + " HTTP/1.1\r\nHost: shop.example\r\n"
				if framing == "length" {
					_, _ = fmt.Fprintf(conn, "%sContent-Length: %d\r\n\r\n", head, c.n)
				} else {
					_, _ = fmt.Fprintf(conn, "%sTransfer-Encoding: chunked\r\n\r\n%x\r\n", head, c.n)
				}
				var dripping sync.WaitGroup
				dripping.Go(func() {
					if c.perSecond > 0 {
						drip(conn, c.n, c.perSecond)
						if framing == "chunks" {
							_, _ = io.WriteString(conn, "\r\n0\r\n\r\n")
						}
					}
				})
				status, body, err := oneAnswer(conn)
				took := time.Since(began)
				if status != c.status || !strings.Contains(body, c.body) || took > c.within {
					t.Errorf("%s, %s: got %d %q %v after %v; want %d %q within %v", c.what, framing, status, body, err, took, c.status, c.body, c.within)
				}
				if c.status == 408 {
					if rec := d.last(); rec.Reason != "request.timeout" {
						t.Errorf("%s, %s: record %+v", c.what, framing, rec)
					}
				}
				_ = conn.Close()
				dripping.Wait()
			})
		}
	}
}

// TestUnsentBody: a request that is refused before its body has come is answered
// at once, and its connection is not held.
func TestUnsentBody(t *testing.T) {
	for _, c := range []struct {
		what   string
		length int
		sent   int
		within time.Duration
		kept   bool
	}{
		{"sent whole", 100, 100, 0, true},
		{"small and not sent", 100, 10, 2 * time.Second, false},
		{"large and not sent", 500 << 10, 10, 0, false},
	} {
		inBubble(t, func(t *testing.T, d *slowDoor) {
			conn := d.dial("http/1.1")
			began := time.Now()
			request := fmt.Sprintf("POST /users HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n%s", c.length, strings.Repeat("x", c.sent))
			_, _ = io.WriteString(conn, request)
			status, body, err := oneAnswer(conn)
			if took := time.Since(began); status != 401 || took > c.within {
				t.Errorf("%s: got %d %q %v after %v; want 401 within %v", c.what, status, body, err, took, c.within)
			}
			if c.kept {
				_, _ = io.WriteString(conn, request)
				if status, _, err := oneAnswer(conn); status != 401 {
					t.Errorf("%s: the connection was not kept: %d %v", c.what, status, err)
				}
			} else {
				_, err := conn.Read(make([]byte, 1))
				if took := time.Since(began); err == nil || took > 5*time.Second {
					t.Errorf("%s: the connection was held for %v: %v", c.what, took, err)
				}
			}
			_ = conn.Close()
		})
	}
}

// TestSlowReader: a client that takes nothing does not hold the handler for ever.
func TestSlowReader(t *testing.T) {
	inBubble(t, func(t *testing.T, d *slowDoor) {
		conn := d.dial("http/1.1")
		_, _ = io.WriteString(conn, "GET /large HTTP/1.1\r\nHost: shop.example\r\n\r\n")
		time.Sleep(20 * time.Second) // slow, and then all of it: served
		if status, body, err := oneAnswer(conn); status != 200 || len(body) != localAnswer {
			t.Errorf("a pause of 20 s: got %d, %d bytes, %v", status, len(body), err)
		}
		_ = conn.Close()

		conn = d.dial("http/1.1")
		_, _ = io.WriteString(conn, "GET /large HTTP/1.1\r\nHost: shop.example\r\n\r\n")
		time.Sleep(2 * time.Minute)
		status, body, err := oneAnswer(conn)
		if err == nil {
			t.Errorf("a pause of two minutes: got %d, %d bytes whole", status, len(body))
		}
		_ = conn.Close()
	})
}

// frames is a client of HTTP/2 that does only what it is told.
type frames struct {
	t    *testing.T
	conn *tls.Conn
	mu   sync.Mutex // guards the framer's writing half and what follows
	fr   *http2.Framer
	enc  *hpack.Encoder
	buf  bytes.Buffer
	read chan seen // what the door sends; closed at its end
}

// seen is what a test wants to know of a frame.
type seen struct {
	stream uint32
	kind   http2.FrameType
	status string // of HEADERS
	length uint32 // of DATA
	end    bool
}

func (d *slowDoor) frames(t *testing.T, settings ...http2.Setting) *frames {
	t.Helper()
	f := &frames{t: t, conn: d.dial("h2"), read: make(chan seen, 10000)}
	f.fr, f.enc = http2.NewFramer(f.conn, f.conn), hpack.NewEncoder(&f.buf)
	f.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	go f.listen()
	_, _ = io.WriteString(f.conn, http2.ClientPreface)
	f.send(func(fr *http2.Framer) error { return fr.WriteSettings(settings...) })
	return f
}

// listen reads all the time: a pipe holds nothing.
func (f *frames) listen() {
	defer close(f.read)
	for {
		fr, err := f.fr.ReadFrame()
		if err != nil {
			return
		}
		s := seen{stream: fr.Header().StreamID, kind: fr.Header().Type, length: fr.Header().Length}
		switch fr := fr.(type) {
		case *http2.PingFrame:
			if data := fr.Data; !fr.IsAck() {
				go f.send(func(fr *http2.Framer) error { return fr.WritePing(true, data) })
			}
		case *http2.MetaHeadersFrame:
			s.status, s.end = fr.PseudoValue("status"), fr.StreamEnded()
		case *http2.DataFrame:
			s.end = fr.StreamEnded()
		}
		f.read <- s
	}
}

func (f *frames) send(write func(*http2.Framer) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = write(f.fr) // what comes back tells
}

func (f *frames) data(stream uint32, n int, end bool) {
	f.send(func(fr *http2.Framer) error { return fr.WriteData(stream, end, make([]byte, n)) })
}

func (f *frames) head(stream uint32, method, path string, end bool) {
	f.send(func(fr *http2.Framer) error {
		f.buf.Reset()
		for _, h := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "shop.example"}, {":path", path}} {
			_ = f.enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
		}
		return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.buf.Bytes(), EndStream: end, EndHeaders: true})
	})
}

// until returns the next frame of a kind on a stream, or the one that ends it;
// nothing when the connection ends.
func (f *frames) until(stream uint32, kind http2.FrameType) seen {
	for s := range f.read {
		if s.stream == stream && (s.kind == kind || s.kind == http2.FrameRSTStream || s.end) {
			return s
		}
	}
	return seen{}
}

func TestSlowReaderHTTP2(t *testing.T) {
	inBubble(t, func(t *testing.T, d *slowDoor) {
		f := d.frames(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}) // takes no byte of a body
		began := time.Now()
		f.head(1, "GET", "/large", true)
		if got := f.until(1, http2.FrameRSTStream); got.kind != http2.FrameRSTStream {
			t.Errorf("got %+v, want the stream reset", got)
		}
		if took := time.Since(began); took < readerGrace || took > 3*readerGrace {
			t.Errorf("reset after %v", took)
		}
		f.head(3, "POST", "/users", true) // a small answer: its head can leave, its body cannot
		if got := f.until(3, http2.FrameHeaders); got.status != "401" {
			t.Errorf("got %+v, want the connection to serve on", got)
		}
		began = time.Now()
		got := f.until(3, http2.FrameRSTStream)
		if took := time.Since(began); got.kind != http2.FrameRSTStream || took > 2*readerGrace {
			t.Errorf("a small answer: got %+v after %v", got, took)
		}
		_ = f.conn.Close()
	})
}

func TestSlowBodyHTTP2(t *testing.T) {
	inBubble(t, func(t *testing.T, d *slowDoor) {
		f := d.frames(t)
		began := time.Now()
		f.head(1, "POST", "/sink", false)
		if got := f.until(1, http2.FrameHeaders); got.status != "408" || time.Since(began) > 7*time.Second {
			t.Errorf("no body: got %+v after %v, want 408 after 5s", got, time.Since(began))
		}
		// The connection serves on: at the rate, and longer than any one deadline.
		f.head(3, "POST", "/sink", false)
		for range 60 {
			time.Sleep(time.Second)
			f.data(3, 1<<10, false)
		}
		f.data(3, 0, true)
		if got := f.until(3, http2.FrameHeaders); got.status != "200" {
			t.Errorf("at the rate: got %+v, want 200", got)
		}
		// A handler that pauses takes nothing away from the client.
		f.head(5, "POST", "/thinks", false)
		f.data(5, 10, false)
		time.Sleep(2 * time.Second)
		f.data(5, 90, true)
		if got := f.until(5, http2.FrameHeaders); got.status != "200" {
			t.Errorf("a slow handler: got %+v, want 200", got)
		}
		_ = f.conn.Close()
	})
}

// TestQuietStream: minutes between two events are no slowness of the client.
func TestQuietStream(t *testing.T) {
	inBubble(t, func(t *testing.T, d *slowDoor) {
		f := d.frames(t)
		f.head(1, "GET", "/stream", true)
		n := 0
		for {
			got := f.until(1, http2.FrameData)
			if got.kind == http2.FrameData && got.length > 0 {
				n++
			}
			if got.kind != http2.FrameData || got.end {
				if got.kind != http2.FrameData || n != 3 {
					t.Errorf("HTTP/2: %d events, then %+v", n, got)
				}
				break
			}
		}
		_ = f.conn.Close()
	})
	inBubble(t, func(t *testing.T, d *slowDoor) {
		c := d.dial("http/1.1")
		_, _ = io.WriteString(c, "GET /stream HTTP/1.1\r\nHost: shop.example\r\n\r\n")
		status, body, err := oneAnswer(c)
		if status != 200 || err != nil || body != "data: 0\n\ndata: 1\n\ndata: 2\n\n" {
			t.Errorf("HTTP/1.1: got %d %q %v", status, body, err)
		}
		_ = c.Close()
	})
}
