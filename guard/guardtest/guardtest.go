// Package guardtest lets a service's tests run behind a real guard without a
// running zone: the map comes from the test, the inside tokens and certificates
// are signed with keys that live in the test's process, and control is answered in
// memory. Requests need no connection: those that Request makes count as proved
// ones of the gateway, or of the service that From names. All else is refused as
// it is outside of tests.
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
	"sallyport.dev/guard/internal/channel"
	"sallyport.dev/guard/internal/standin"
	"sallyport.dev/guard/internal/testca"
	"sallyport.dev/internal/svid"
	"sallyport.dev/zone"
)

// Guard is a ready guard with what a test needs around it.
type Guard struct {
	*guard.Guard

	t     testing.TB
	zone  *zone.Zone // nil: made from a slice
	slice *zone.Slice
	key   key
	ca    *testca.CA
	clock func() time.Time
}

// Option changes what New makes.
type Option func(*Guard)

// Callee serves the calls to another service with h, in place of the upstreams
// that the map names. What may be called stays as the map declares it. A guard
// around h takes the calls as proved ones of this service.
func Callee(service string, h http.Handler) Option {
	return func(g *Guard) {
		srv := httptest.NewUnstartedServer(g.Assume(h, From(g.slice.Service)))
		srv.Config.Protocols = new(http.Protocols)
		srv.Config.Protocols.SetHTTP1(true)
		srv.Config.Protocols.SetUnencryptedHTTP2(true) // calls of gRPC
		srv.Start()
		g.t.Cleanup(srv.Close)
		g.dials(service, false, zone.SliceUpstream{Scheme: "http", Network: "tcp", Address: srv.Listener.Addr().String()})
	}
}

// At lets the calls to another service go to its inner door at an address (TCP),
// over mutual TLS with proof, in place of the upstreams that the map names.
func At(service, address string) Option {
	return func(g *Guard) {
		g.dials(service, true, zone.SliceUpstream{Scheme: "https", Network: "tcp", Address: address})
	}
}

func (g *Guard) dials(service string, inner bool, to zone.SliceUpstream) {
	g.t.Helper()
	found := false
	for i := range g.slice.Calls {
		if c := &g.slice.Calls[i]; c.Service == service {
			c.InnerDoor, c.Upstreams, found = inner, []zone.SliceUpstream{to}, true
		}
	}
	if !found {
		g.t.Fatalf("guardtest: the map declares no call of %s to %s", g.slice.Service, service)
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

// patience is against hanging alone: the machine of a test may be slow.
const patience = 2 * time.Minute

func (g *Guard) start(options []Option) {
	g.t.Helper()
	for _, o := range options {
		o(g)
	}
	if g.ca == nil {
		g.ca = testca.New(g.t, g.slice.Zone, g.clock())
	}
	slice, err := json.Marshal(g.slice)
	if err != nil {
		g.t.Fatalf("guardtest: %v", err)
	}
	parts := standin.Parts{
		Source:  g.Identity(g.slice.Service),
		Control: control{slice: slice, keys: g.key.public(g.t), token: func() []byte { return g.ownToken() }},

		Patience: patience,
	}
	g.Guard, err = guard.New(standin.With(g.t.Context(), parts), guard.Config{
		Service: g.slice.Service,
		Control: "https://control.invalid",
		Log:     slog.New(slog.NewTextHandler(g.t.Output(), nil)),
		Clock:   g.clock,
	})
	if err != nil {
		g.t.Fatalf("guardtest: %v", err)
	}
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
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
	same := func(p *Guard) { p.key, p.ca, p.clock = g.key, g.ca, g.clock }
	return newGuard(g.t, g.zone, service, append([]Option{same}, options...))
}

// RequestOption changes what Request makes.
type RequestOption func(*requesting)

type requesting struct{ from string }

// From makes the request one of another service, in place of the gateway.
func From(service string) RequestOption {
	return func(r *requesting) { r.from = service }
}

// Request returns a request as the gateway sends it, for http.Handler.ServeHTTP.
// The empty token sends none. For a body, set Body.
func (g *Guard) Request(method, target, token string, options ...RequestOption) *http.Request {
	g.t.Helper()
	r := httptest.NewRequestWithContext(channel.Assume(g.t.Context(), g.sender(options)), method, target, http.NoBody)
	if token != "" {
		r.Header.Set("Txn-Token", token)
	}
	return r
}

// Assume returns h for a server of the test's own (httptest.NewServer): what it
// takes in counts as what Request makes.
func (g *Guard) Assume(h http.Handler, options ...RequestOption) http.Handler {
	g.t.Helper()
	peer := g.sender(options)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(channel.Assume(r.Context(), peer)))
	})
}

func (g *Guard) sender(options []RequestOption) svid.ID {
	g.t.Helper()
	made := requesting{from: svid.GatewayName}
	for _, o := range options {
		o(&made)
	}
	return g.id(made.from)
}

func (g *Guard) id(name string) svid.ID {
	g.t.Helper()
	id, err := svid.ServiceID(g.slice.Zone, name)
	if err != nil {
		g.t.Fatalf("guardtest: %v", err)
	}
	return id
}

// control answers as the zone's control listener does, in memory.
type control struct {
	slice, keys []byte
	token       func() []byte
}

func (c control) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := http.StatusNotFound, []byte(nil)
	switch {
	case r.URL.Path == "/.well-known/jwks.json":
		status, body = http.StatusOK, c.keys
	case strings.HasPrefix(r.URL.Path, "/v1/services/"):
		status, body = http.StatusOK, c.slice
	case r.Method == http.MethodPost && r.URL.Path == "/v1/token":
		status, body = http.StatusOK, c.token()
	case r.Method == http.MethodPost && r.URL.Path == "/v1/once": // there are no other replicas
		status, body = http.StatusOK, []byte(`{"first":true}`)
	}
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}, nil
}
