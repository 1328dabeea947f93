package guard

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
)

// pipes is a network of one listener in memory, for bubbles of synctest.
type pipes struct {
	queue chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{queue: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.queue:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.queue <- theirs
	return ours
}

// inPipes serves orders over pipes within a bubble.
func inPipes(t *testing.T, w *world, h http.Handler) (*Guard, *pipes) {
	t.Helper()
	g := w.guard("orders", nil)
	p := newPipes()
	w.serve(g, p, h)
	return g, p
}

const pipeShop = `
zone: shop.example
services:
  orders:
    upstream: https://127.0.0.1:9002
    embedded: true
    routes:
      GET /inner: service
      GET /other: service
      GET /live: {allow: service, stream: sse}
      GET /mac: user
  catalog:
    upstream: https://127.0.0.1:9003
    embedded: true
    routes:
      GET /x: user
    calls:
      orders: [GET /inner, GET /live]
  nosy:
    upstream: https://127.0.0.1:9004
    embedded: true
    routes:
      GET /y: user
    calls:
      orders: [GET /other]
`

// TestConnectionEndsWithCertificate: whatever is open ends with the peer's
// certificate, and before that the peer is told to come anew.
func TestConnectionEndsWithCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pipeShop, time.Now)
		_, p := inPipes(t, w, http.HandlerFunc(told))
		short := svid.NewSource(nil)
		short.Set(w.ca.Identity(t, "catalog", time.Now().Add(-time.Minute), time.Now().Add(time.Hour)))
		long := w.over(p.dial(), w.ca.Source(t, "catalog", time.Now))
		ask := func(l *line) string {
			r := message(t, "GET", "/inner", w.token("u1"), "")
			return l.send(bytesOf(t, l.prove(r, httpsig.MAC)))
		}
		for range 59 { // an idle connection would end earlier
			if got := ask(long); got != "200" {
				t.Fatalf("with a long life: %s", got)
			}
			time.Sleep(time.Minute)
		}
		l := w.over(p.dial(), short) // made in the last minute
		if got := ask(l); got != "200" {
			t.Errorf("in the last minute: %s, want 200", got)
		}
		if got := ask(long); got != "200" {
			t.Errorf("with a long life: %s", got)
		}
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if got := ask(l); got != "gone" {
			t.Errorf("after the end of the certificate: %s, want gone", got)
		}
		if got := ask(long); got != "200" {
			t.Errorf("with a long life, later: %s", got)
		}
	})
}

// TestRightTakenAway: a caller that loses a right loses its connections, with
// what is under way on them, and gets nothing on a new one; others keep theirs.
func TestRightTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pipeShop, time.Now)
		live := make(chan struct{}, 1)
		_, p := inPipes(t, w, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/live" {
				return
			}
			live <- struct{}{}
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done() // a stream that the service would never end
			live <- struct{}{}
		}))
		catalog, nosy, gateway := w.ca.Source(t, "catalog", time.Now), w.ca.Source(t, "nosy", time.Now), w.ca.Source(t, "gateway", time.Now)
		ask := func(l *line, target string) string {
			r := message(t, "GET", target, w.token("u1"), "")
			if target == "/live" {
				r.Header.Del("Content-Digest")
			}
			return l.send(bytesOf(t, l.prove(r, httpsig.MAC)))
		}
		a, b, c := w.over(p.dial(), catalog), w.over(p.dial(), nosy), w.over(p.dial(), gateway)
		if x, y, z := ask(a, "/inner"), ask(b, "/other"), ask(c, "/mac"); x != "200" || y != "200" || z != "200" {
			t.Fatalf("before: %s, %s, %s", x, y, z)
		}
		stream := w.over(p.dial(), catalog)
		ended := make(chan string)
		go func() { ended <- ask(stream, "/live") }()
		<-live
		less := w.parse(strings.Replace(pipeShop, "      orders: [GET /inner, GET /live]\n", "      orders: [GET /live]\n", 1))
		w.controls["orders"].set(func(c *fakeControl) { c.slice = w.slice(less, "orders") })
		<-live
		if got := <-ended; got != "gone" {
			t.Errorf("the stream ends with %s, want gone", got)
		}
		synctest.Wait()
		if x, y, z := ask(a, "/inner"), ask(b, "/other"), ask(c, "/mac"); x != "gone" || y != "200" || z != "200" {
			t.Errorf("after: catalog %s, nosy %s, gateway %s; want gone, 200, 200", x, y, z)
		}
		if got := ask(w.over(p.dial(), catalog), "/inner"); got != "inside.call" {
			t.Errorf("on a new connection: %s, want inside.call", got)
		}
	})
}

// TestNoResumption: a client that would resume its session never does, so that a
// right that was taken away is taken away.
func TestNoResumption(t *testing.T) {
	w := newWorld(t, innerShop, time.Now)
	address := w.open(w.guard("orders", nil), http.HandlerFunc(told))
	orders, err := svid.ServiceID("shop.example", "orders")
	if err != nil {
		t.Fatal(err)
	}
	cfg := svid.ClientTLS(w.ca.Source(t, "gateway", time.Now), orders)
	kept := &sessions{ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	cfg.ClientSessionCache, cfg.SessionTicketsDisabled = kept, false
	for range 3 {
		conn, err := (&tls.Dialer{Config: cfg}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn) // a ticket would come by now
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
			t.Errorf("answer %q, %v", answer, err)
		}
		if conn.(*tls.Conn).ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
	}
	if kept.puts != 0 {
		t.Errorf("the guard gave %d session tickets", kept.puts)
	}
}

type sessions struct {
	tls.ClientSessionCache
	puts int
}

func (s *sessions) Put(key string, cs *tls.ClientSessionState) {
	s.puts++
	s.ClientSessionCache.Put(key, cs)
}

// TestStaleOverTheWire: control cut off, the guard closes after the bound.
func TestStaleOverTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pipeShop, time.Now)
		_, p := inPipes(t, w, http.HandlerFunc(told))
		gateway := w.ca.Source(t, "gateway", time.Now)
		ask := func() string {
			l := w.over(p.dial(), gateway)
			defer l.conn.Close()
			return l.send(bytesOf(t, l.prove(message(t, "GET", "/mac", w.token("u1"), ""), httpsig.MAC)))
		}
		w.controls["orders"].set(func(c *fakeControl) { c.down = true })
		for _, tt := range []struct {
			after time.Duration
			want  string
		}{{4 * time.Minute, "200"}, {2 * time.Minute, "inside.stale"}} {
			time.Sleep(tt.after)
			if got := ask(); got != tt.want {
				t.Errorf("%s later: %s, want %s", tt.after, got, tt.want)
			}
		}
		w.controls["orders"].set(func(c *fakeControl) { c.down = false })
		time.Sleep(2 * retryMost)
		if got := ask(); got != "200" {
			t.Errorf("after control came back: %s", got)
		}
	})
}

// TestDrain: the end lets requests under way finish, ends streams, and takes
// nothing new.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pipeShop, time.Now)
		g := w.guard("orders", nil)
		p := newPipes()
		ctx, stop := context.WithCancel(t.Context())
		arrived, release := make(chan struct{}, 2), make(chan struct{})
		served := make(chan error, 1)
		go func() {
			served <- g.Serve(ctx, p, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				if r.URL.Path == "/live" {
					<-r.Context().Done()
					return
				}
				<-release
			}))
		}()
		catalog := w.ca.Source(t, "catalog", time.Now)
		slow, live := w.over(p.dial(), catalog), w.over(p.dial(), catalog)
		got := make(chan string, 2)
		go func() {
			got <- slow.send(bytesOf(t, slow.prove(message(t, "GET", "/inner", w.token("u1"), ""), httpsig.MAC)))
		}()
		<-arrived
		r := message(t, "GET", "/live", w.token("u1"), "")
		r.Header.Del("Content-Digest")
		go func() { got <- live.send(bytesOf(t, live.prove(r, httpsig.MAC))) }()
		<-arrived
		stop()
		first := <-got
		// Somebody has to take the farewell of TLS: a pipe has no buffer, and Shutdown
		// holds its lock while it says it.
		go func() { _, _ = io.Copy(io.Discard, live.conn) }()
		if first != "200" { // the stream ends by itself
			t.Errorf("the stream ends with %s", first)
		}
		close(release)
		if second := <-got; second != "200" {
			t.Errorf("the request under way ends with %s, want 200", second)
		}
		go func() { _, _ = io.Copy(io.Discard, slow.conn) }()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
}

// TestServeEndsWithoutIdentity: what waiting does not mend ends the program.
func TestServeEndsWithoutIdentity(t *testing.T) {
	dir := t.TempDir()
	g, err := New(t.Context(), Config{Service: "orders", JoinFile: dir + "/gone", Data: dir + "/data", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "sallyport join") {
		t.Errorf("Wait = %v, want what to do", err)
	}
	if err := g.ListenAndServe(t.Context(), "127.0.0.1:0", http.NotFoundHandler()); err == nil || !strings.Contains(err.Error(), "sallyport join") {
		t.Errorf("ListenAndServe = %v, want what to do", err)
	}
	if err := g.Serve(t.Context(), newPipes(), http.NotFoundHandler()); err == nil || !strings.Contains(err.Error(), "sallyport join") {
		t.Errorf("Serve = %v, want what to do", err)
	}
}
