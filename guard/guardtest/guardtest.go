// Package guardtest lets a service's tests run behind a real guard without a
// running zone: the map comes from the test, the inside tokens are signed with a
// key that lives in the test's process, and control is answered in memory.
//
//	func TestOrders(t *testing.T) {
//		g := guardtest.New(t, zoneYAML, "orders")
//		h := g.Protect(newMux())
//		w := httptest.NewRecorder()
//		h.ServeHTTP(w, g.Request("GET", "/orders/7", g.Token("usr_1")))
//		...
//	}
//
// Nothing here is for use outside of tests.
package guardtest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sallyport.dev/guard"
	"sallyport.dev/zone"
)

// Guard is a ready guard with what a test needs around it.
type Guard struct {
	*guard.Guard

	t     testing.TB
	zone  *zone.Zone // nil: made from a slice
	slice *zone.Slice
	key   key
	clock func() time.Time
}

// Option changes what New makes.
type Option func(*Guard)

// Callee serves the calls to another service with h, in place of the upstreams
// that the map names. What may be called stays as the map declares it.
func Callee(service string, h http.Handler) Option {
	return func(g *Guard) {
		srv := httptest.NewServer(h)
		g.t.Cleanup(srv.Close)
		found := false
		for i := range g.slice.Calls {
			if c := &g.slice.Calls[i]; c.Service == service {
				c.Upstreams = []zone.SliceUpstream{{Scheme: "http", Network: "tcp", Address: srv.Listener.Addr().String()}}
				found = true
			}
		}
		if !found {
			g.t.Fatalf("guardtest: the map declares no call of %s to %s", g.slice.Service, service)
		}
	}
}

// Clock sets the time that tokens are minted at and judged by. Default: time.Now.
func Clock(now func() time.Time) Option {
	return func(g *Guard) { g.clock = now }
}

// New returns a ready guard of a service of the map in text (the YAML of a zone
// map). It ends with the test, and a map that is wrong ends the test.
func New(t testing.TB, text, service string, options ...Option) *Guard {
	t.Helper()
	z, err := zone.Parse("zone.yaml", []byte(text))
	if err != nil {
		t.Fatalf("guardtest: %v", err)
	}
	return newGuard(t, z, service, options)
}

// FromSlice is New for a slice that the test made itself.
func FromSlice(t testing.TB, s *zone.Slice, options ...Option) *Guard {
	t.Helper()
	g := &Guard{t: t, slice: s, key: newKey(t), clock: time.Now}
	g.start(options)
	return g
}

func newGuard(t testing.TB, z *zone.Zone, service string, options []Option) *Guard {
	t.Helper()
	s, ok := z.Slice(service)
	if !ok {
		t.Fatalf("guardtest: the map has no service %s", service)
	}
	g := &Guard{t: t, zone: z, slice: s, key: newKey(t), clock: time.Now}
	g.start(options)
	return g
}

func (g *Guard) start(options []Option) {
	g.t.Helper()
	for _, o := range options {
		o(g)
	}
	slice, err := json.Marshal(g.slice)
	if err != nil {
		g.t.Fatalf("guardtest: %v", err)
	}
	g.Guard, err = guard.New(g.t.Context(), guard.Config{
		Service:    g.slice.Service,
		Control:    "https://control.invalid",
		HTTPClient: &http.Client{Transport: control{slice: slice, keys: g.key.public(g.t)}},
		Log:        slog.New(slog.NewTextHandler(g.t.Output(), nil)),
		Clock:      g.clock,
	})
	if err != nil {
		g.t.Fatalf("guardtest: %v", err)
	}
	ctx, cancel := context.WithTimeout(g.t.Context(), 10*time.Second)
	defer cancel()
	if err := g.Wait(ctx); err != nil {
		g.t.Fatalf("guardtest: %v", err)
	}
}

// Peer returns the guard of another service of the same map: it takes the tokens
// of g and tells the same time. It is not for guards made FromSlice.
func (g *Guard) Peer(service string, options ...Option) *Guard {
	g.t.Helper()
	if g.zone == nil {
		g.t.Fatal("guardtest: Peer of a guard that was made from a slice")
	}
	same := func(p *Guard) { p.key, p.clock = g.key, g.clock }
	return newGuard(g.t, g.zone, service, append([]Option{same}, options...))
}

// Request returns a request as the gateway sends it, for http.Handler.ServeHTTP.
// The empty token sends none. For a body, set Body.
func (g *Guard) Request(method, target, token string) *http.Request {
	g.t.Helper()
	r := httptest.NewRequestWithContext(g.t.Context(), method, target, http.NoBody)
	if token != "" {
		r.Header.Set("Txn-Token", token)
	}
	return r
}

// control answers as the zone's control listener does, in memory.
type control struct{ slice, keys []byte }

func (c control) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := http.StatusNotFound, []byte(nil)
	switch {
	case r.URL.Path == "/.well-known/jwks.json":
		status, body = http.StatusOK, c.keys
	case strings.HasPrefix(r.URL.Path, "/v1/services/"):
		status, body = http.StatusOK, c.slice
	}
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}, nil
}
