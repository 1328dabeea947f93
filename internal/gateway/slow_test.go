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
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
	pipes   *pipes
	stop    context.CancelFunc
	stopped chan error
}

// anEvent is longer than what net/http holds of an answer.
var anEvent = "data: " + strings.Repeat("x", 2*http2Buffer) + "\n\n"

// inBubble runs a test with a slowDoor.
func inBubble(t *testing.T, test func(t *testing.T, d *slowDoor), edit ...func(*Config)) {
	t.Helper()
	theCertificate() // made outside: its dates are real
	synctest.Test(t, func(t *testing.T) {
		d := &slowDoor{door: &door{t: t}, pipes: newPipes()}
		cfg := testConfig(d.door, testZone("inside",
			&zone.Route{Method: "GET", Path: "/stream", Allow: zone.AllowAnonymous, Stream: zone.StreamSSE},
			&zone.Route{Method: "POST", Path: "/upload", Allow: zone.AllowAnonymous}))
		cfg.Zone.Listeners[0].Limits.HeaderTime = 5 * time.Second
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
			if err != nil {
				problem.WriteError(w, err, "")
				return
			}
			_, _ = fmt.Fprint(w, n+10)
		})
		local("POST", "/large", zone.AllowAnonymous, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, localAnswer)) })
		local("POST", "/users", zone.AllowUser, func(http.ResponseWriter, *http.Request) {})
		local("GET", "/large", zone.AllowAnonymous, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, localAnswer)) })
		inner := newPipes()
		cfg.Upstream.Dial = func(ctx context.Context, _ *zone.Service, _ zone.Upstream) (net.Conn, error) {
			return inner.dial(ctx, "", "")
		}
		for _, e := range edit {
			e(&cfg)
		}
		g, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		d.gateway = g
		g.now().listeners[0].tls.SessionTicketsDisabled = true // a pipe holds nothing: tickets would wait for a reader

		up := &http.Server{ReadHeaderTimeout: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "refuse" {
				w.Header().Set("Connection", "close") // else net/http reads the body first
				w.WriteHeader(http.StatusForbidden)
				_, _ = w.Write(bytes.Repeat([]byte("no"), 50<<10))
				return
			}
			if r.Method == http.MethodPost {
				n, _ := io.Copy(io.Discard, r.Body)
				_, _ = fmt.Fprint(w, n)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			for range 3 {
				if r.URL.RawQuery == "small" {
					_, _ = io.WriteString(w, "data: x\n\n")
				} else {
					_, _ = io.WriteString(w, anEvent)
				}
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(100 * time.Second):
				case <-r.Context().Done():
				}
			}
		})}
		go func() { _ = up.Serve(inner) }()

		ctx, stop := context.WithCancel(t.Context())
		d.stop = stop
		d.stopped = make(chan error, 1)
		go func() {
			d.stopped <- g.Serve(ctx, map[string]net.Listener{"public": d.pipes})
			close(d.stopped)
		}()
		test(t, d)
		stop()
		if err := <-d.stopped; err != nil {
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
	_ = raw.SetDeadline(time.Now().Add(24 * time.Hour))                                                                 // a test that hangs says where
	c := tls.Client(raw, &tls.Config{ServerName: "shop.example", NextProtos: []string{alpn}, InsecureSkipVerify: true}) // fake time is before the certificate's
	if err := c.Handshake(); err != nil {
		d.t.Fatal(err)
	}
	return c
}

// emptySink is a request that is served.
const emptySink = "POST /sink HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n"

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

// TestSlowHandshake: a handshake that stands still ends with header_time.
func TestSlowHandshake(t *testing.T) {
	for what, said := range map[string][]byte{"nothing": nil, "a record's header": {22, 3, 1, 2, 0}} {
		inBubble(t, func(t *testing.T, d *slowDoor) {
			raw, err := d.pipes.dial(context.Background(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_ = raw.SetDeadline(began.Add(time.Hour))
			_, _ = raw.Write(said)
			_, err = raw.Read(make([]byte, 1))
			if took := time.Since(began); err == nil || took != 5*time.Second {
				t.Errorf("%s: %v after %v, want the connection closed after 5s", what, err, took)
			}
			_ = raw.Close()

			c := d.dial("http/1.1") // positive control: it has no end when it is done
			for range 2 {
				_, _ = io.WriteString(c, emptySink)
				if status, _, err := oneAnswer(c); status != 200 {
					t.Errorf("%s: a handshake that was made: %d, %v", what, status, err)
				}
				time.Sleep(20 * time.Second)
			}
			_ = c.Close()
		})
	}
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
		{"a tenth of the rate, to a service", "/upload", 100 << 10, 100, 408, "request.timeout", 15 * time.Second},
		{"at the rate, to a service", "/upload", 100 << 10, 1 << 10, 200, "102400", 5 * time.Minute},
		{"refused by the service while it comes", "/upload?refuse", 50 << 10, 2000, 403, strings.Repeat("no", 50<<10), 10 * time.Second},
		{"the handler is slow", "/thinks", 1 << 10, 1 << 10, 200, "1024", 2 * time.Minute},
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
					t.Errorf("%s, %s: got %d %.200q %v after %v; want %d %.200q within %v", c.what, framing, status, body, err, took, c.status, c.body, c.within)
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
		sent   int // negative: that much a second
		within time.Duration
		kept   bool
	}{
		{"sent whole", 100, 100, 0, true},
		{"small and not sent", 100, 10, 2 * time.Second, false},
		{"small and slow, at the rate", 60 << 10, -1 << 10, 2 * time.Second, false},
		{"medium and not sent", 128 << 10, 10, 0, false},
		{"large and not sent", 500 << 10, 10, 0, false},
	} {
		for path, want := range map[string]int{"/users": 401, "/large": 200} {
			inBubble(t, func(t *testing.T, d *slowDoor) {
				conn := d.dial("http/1.1")
				began := time.Now()
				request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n%s", path, c.length, strings.Repeat("x", max(0, c.sent)))
				_, _ = io.WriteString(conn, request)
				status, body, err := oneAnswer(conn)
				if took := time.Since(began); status != want || err != nil || took > c.within {
					t.Errorf("%s to %s: got %d, %d bytes, %v after %v; want %d within %v", c.what, path, status, len(body), err, took, want, c.within)
				}
				if c.kept {
					_, _ = io.WriteString(conn, request)
					if status, _, err := oneAnswer(conn); status != want {
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

// lateReader is a body whose Read comes back with a deadline error when somebody
// has already retired the body.
type lateReader struct{ body *body }

func (r *lateReader) Read([]byte) (int, error) {
	r.body.retired.Store(true) // all that retire can do before this Read is back
	return 0, os.ErrDeadlineExceeded
}

func (*lateReader) Close() error { return nil }

// A body that was too slow stays so when it is retired before its reader has
// come back: net/http ends the request as soon as the time is over.
func TestTooSlowAndRetired(t *testing.T) {
	for _, c := range []struct {
		name string
		left time.Duration // of the client's account
		want problem.Reason
	}{
		{"its time was over", 0, problem.RequestTimeout},
		{"thrown out in time", time.Hour, problem.ClientClosed},
	} {
		b := &body{rate: 1, grace: bodyGrace, account: c.left}
		b.limit.Store(1)
		b.inner = &lateReader{body: b}
		if _, err := b.Read(make([]byte, 1)); err == nil || b.fault() != c.want {
			t.Errorf("%s: read %v, fault %s; want %s", c.name, err, b.fault(), c.want)
		}
	}
}
