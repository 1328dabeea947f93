package guard

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
)

// TestNothingBesideProtect: net/http answers nothing in the place of the guard.
func TestNothingBesideProtect(t *testing.T) {
	w := newWorld(t, innerShop, time.Now)
	address := w.open(w.guard("orders", nil), http.HandlerFunc(told))
	for _, tt := range []struct{ request, want string }{
		{"OPTIONS * HTTP/1.1\r\nHost: orders\r\n\r\n", "inside.token_missing"},
		{"OPTIONS /mac HTTP/1.1\r\nHost: orders\r\n\r\n", "inside.token_missing"},
		{"CONNECT orders:443 HTTP/1.1\r\nHost: orders:443\r\n\r\n", "inside.token_missing"},
		{"TRACE /mac HTTP/1.1\r\nHost: orders\r\n\r\n", "inside.token_missing"},
		{"GET /healthz HTTP/1.1\r\nHost: orders\r\n\r\n", "200"},
		{"HEAD /healthz HTTP/1.1\r\nHost: orders\r\n\r\n", "inside.token_missing"},
		{"GET /healthz HTTP/1.1\r\nHost: orders\r\nContent-Length: 4\r\n\r\nbody", "inside.token_missing"},
		{"GET /healthz HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", "inside.token_missing"},
	} {
		l := w.dial(address, w.ca.Source(t, "gateway", time.Now))
		if method, _, _ := strings.Cut(tt.request, " "); method == "HEAD" {
			_, _ = io.WriteString(l.conn, tt.request)
			res, err := http.ReadResponse(l.in, &http.Request{Method: "HEAD"})
			if err != nil || res.Header.Get("Sallyport-Reason") != tt.want {
				t.Errorf("%q = %v, %v; want %s", tt.request, res, err, tt.want)
			}
			continue
		}
		if got := l.send([]byte(tt.request)); got != tt.want {
			t.Errorf("%q = %s, want %s", tt.request, got, tt.want)
		}
	}
}

// TestNoTrailers: what comes after the body is not a header of the request, on
// no kind of route.
func TestNoTrailers(t *testing.T) {
	w := newWorld(t, innerShop, time.Now)
	var got http.Header
	address := w.open(w.guard("orders", nil), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got = r.Trailer
	}))
	for _, tt := range []struct {
		target   string
		strength httpsig.Strength
	}{{"/mac", httpsig.MAC}, {"/plain", httpsig.Channel}, {"/live", httpsig.MAC}} {
		l := w.dial(address, w.ca.Source(t, "gateway", time.Now))
		r := message(t, "POST", tt.target, w.token("u1"), "body")
		if tt.target != "/mac" {
			r.Header.Del("Content-Digest")
		}
		l.prove(r, tt.strength)
		r.ContentLength, r.Body, r.Trailer = -1, io.NopCloser(strings.NewReader("body")), http.Header{"X-User-Id": {"root"}}
		if reason := l.send(bytesOf(t, r)); reason != "200" || len(got) != 0 {
			t.Errorf("POST %s = %s, the handler saw trailers %v; want 200 and none", tt.target, reason, got)
		}
	}
}

// TestNoServiceTakesAllPlaces: a service that keeps connections open, one without
// a single right here, shuts out neither the gateway nor other services.
func TestNoServiceTakesAllPlaces(t *testing.T) {
	w := newWorld(t, innerShop, time.Now)
	g := w.guard("orders", nil)
	g.places = places{all: 8, services: 6, service: 4}
	address := w.open(g, http.HandlerFunc(told))
	try := func(name string) bool {
		raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = raw.Close() })
		orders, err := svid.ServiceID("shop.example", "orders")
		if err != nil {
			t.Fatal(err)
		}
		conns := svid.NewConns(nil)
		conns.Patience = patience
		c, err := conns.Client(t.Context(), raw, svid.ClientTLS(w.ca.Source(t, name, time.Now), orders))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: orders\r\n\r\n")
		_, err = http.ReadResponse(bufio.NewReader(c), nil)
		return err == nil
	}
	for i, tt := range []struct {
		name string
		want bool
	}{
		{"nosy", true}, {"nosy", true}, {"nosy", true}, {"nosy", true}, {"nosy", false},
		{"catalog", true}, {"catalog", true}, {"catalog", false},
		{"gateway", true}, {"gateway", true},
	} {
		if got := try(tt.name); got != tt.want {
			t.Errorf("connection %d, of %s: taken %v, want %v", i+1, tt.name, got, tt.want)
		}
	}
}

// TestServeMisused: what a program may get wrong around Serve.
func TestServeMisused(t *testing.T) {
	w := newWorld(t, innerShop, time.Now)
	g := w.guard("orders", nil)
	if err := g.Serve(t.Context(), w.listeners["orders"], nil); err == nil || !strings.Contains(err.Error(), "handler") {
		t.Errorf("Serve without a handler = %v", err)
	}
	w.listeners["orders"] = nil
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.serve(g, l, g.Protect(http.HandlerFunc(told))) // wrapped twice
	line := w.dial(l.Addr().String(), w.ca.Source(t, "gateway", time.Now))
	if got := line.send(bytesOf(t, line.prove(message(t, "GET", "/mac", w.token("u1"), ""), httpsig.MAC))); got != "200" {
		t.Errorf("Serve of a handler that is protected already: %s, want 200", got)
	}
}

// TestServeLeavesNothing: a server that fails leaves no goroutine behind.
func TestServeLeavesNothing(t *testing.T) {
	w := newWorld(t, innerShop, time.Now)
	g := w.guard("orders", nil)
	before := runtime.NumGoroutine()
	for range 20 {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		if err := g.Serve(context.WithoutCancel(t.Context()), l, http.NotFoundHandler()); err == nil {
			t.Fatal("Serve of a closed listener")
		}
	}
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before+2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
	}
}

// TestHeldWhateverBodiesMay: the listener's limit is one of requests, and makes
// no answer too large to be judged.
func TestHeldWhateverBodiesMay(t *testing.T) {
	for _, tt := range []struct {
		limit int64
		hold  int
	}{{0, defaultHold}, {1 << 10, defaultHold}, {8 << 20, 8 << 20}, {1 << 40, maxHold}} {
		w := newWorld(t, innerShop, time.Now)
		s, ok := w.zone.Slice("orders")
		if !ok {
			t.Fatal("no slice")
		}
		sr := s.Routes[0]
		sr.BodyLimit = tt.limit
		if ru := compileRoute(&sr); ru.hold != tt.hold {
			t.Errorf("with a limit of %d bytes %d are held, want %d", tt.limit, ru.hold, tt.hold)
		}
	}
}
