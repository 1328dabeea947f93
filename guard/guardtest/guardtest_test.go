package guardtest_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sallyport.dev/guard"
	"sallyport.dev/guard/guardtest"
)

const shop = `
zone: shop.example
services:
  orders:
    upstream: https://127.0.0.1:9002
    embedded: true
    routes:
      GET /orders/{id}: user
      GET /all: {allow: user, roles: [support]}
      GET /feed: {allow: [key, client], scopes: [feed]}
    calls:
      accounts: [GET /accounts/{id}]
  accounts:
    upstream: https://127.0.0.1:9003
    embedded: true
    routes:
      GET /accounts/{id}: service
`

func status(h http.Handler, r *http.Request) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func TestTokens(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	g := guardtest.New(t, shop, "orders", guardtest.Clock(func() time.Time { return now }))
	var seen *guard.Principal
	h := g.Protect(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = guard.PrincipalFrom(r.Context()) }))
	for _, tt := range []struct {
		name, target, token string
		want                int
		kind                guard.Kind
	}{
		{"user", "/orders/7", g.Token("u1"), 200, guard.User},
		{"nobody", "/orders/7", g.Token("anonymous"), 401, 0},
		{"no token", "/orders/7", "", 401, 0},
		{"old", "/orders/7", g.Token("u1", guardtest.IssuedAgo(2*time.Minute)), 401, 0},
		{"role", "/all", g.Token("u1", guardtest.Roles("support")), 200, guard.User},
		{"no role", "/all", g.Token("u1"), 403, 0},
		{"key", "/feed", g.Token("key_1", guardtest.Key(), guardtest.Scopes("feed")), 200, guard.Key},
		{"key without scope", "/feed", g.Token("key_1", guardtest.Key()), 403, 0},
		{"client", "/feed", g.Token("app", guardtest.OAuth("app"), guardtest.Scopes("feed")), 200, guard.Client},
		{"user by OAuth", "/feed", g.Token("u1", guardtest.OAuth("app"), guardtest.Scopes("feed")), 403, 0},
	} {
		seen = nil
		if got := status(h, g.Request("GET", tt.target, tt.token)); got != tt.want || (seen != nil) != (tt.want == 200) {
			t.Errorf("%s: GET %s = %d, handler ran %v; want %d", tt.name, tt.target, got, seen != nil, tt.want)
		}
		if seen != nil && seen.Kind != tt.kind {
			t.Errorf("%s: kind %v, want %v", tt.name, seen.Kind, tt.kind)
		}
	}
	other := guardtest.New(t, shop, "orders", guardtest.Clock(func() time.Time { return now }))
	if got := status(h, g.Request("GET", "/orders/7", other.Token("u1"))); got != 401 {
		t.Errorf("token of another test's zone: %d, want 401", got)
	}
}

func TestPeerAndCallee(t *testing.T) {
	var accounts http.Handler
	g := guardtest.New(t, shop, "orders", guardtest.Callee("accounts", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { accounts.ServeHTTP(w, r) })))
	accounts = g.Peer("accounts").Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, guard.Caller(r.Context())+" for "+guard.PrincipalFrom(r.Context()).Subject)
	}))
	h := g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://accounts/accounts/7", http.NoBody)
		if err != nil {
			t.Error(err)
			return
		}
		res, err := g.Client().Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		_, _ = io.Copy(w, res.Body)
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, g.Request("GET", "/orders/7", g.Token("u1")))
	if got := w.Body.String(); got != "orders for u1" {
		t.Errorf("the callee answers %q, want %q", got, "orders for u1")
	}
}

// TestWhoSends: a request counts as whose it says, and one without a channel as
// nobody's.
func TestWhoSends(t *testing.T) {
	const two = `
zone: shop.example
services:
  orders:
    upstream: https://127.0.0.1:9002
    embedded: true
    routes:
      GET /mine: user
      GET /inner: service
      GET /own: service
  catalog:
    upstream: https://127.0.0.1:9003
    embedded: true
    routes:
      GET /x: user
    calls:
      orders: [GET /inner, {call: GET /own, as: service}]
`
	g := guardtest.New(t, two, "orders")
	h := g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, guard.Caller(r.Context())+" for "+guard.PrincipalFrom(r.Context()).Subject)
	}))
	bare := func(target, token string) *http.Request {
		r := httptest.NewRequest("GET", target, http.NoBody)
		r.Header.Set("Txn-Token", token)
		return r
	}
	user, own := g.Token("u1"), g.ServiceToken("catalog")
	for _, tt := range []struct {
		name    string
		request *http.Request
		want    int
		body    string
	}{
		{"the gateway", g.Request("GET", "/mine", user), 200, " for u1"},
		{"nobody", bare("/mine", user), 403, ""},
		{"a service", g.Request("GET", "/inner", user, guardtest.From("catalog")), 200, "catalog for u1"},
		{"a service, undeclared", g.Request("GET", "/mine", user, guardtest.From("catalog")), 403, ""},
		{"a service for itself", g.Request("GET", "/own", own, guardtest.From("catalog")), 200, "catalog for spiffe://shop.example/catalog"},
		{"another service with its token", g.Request("GET", "/own", own, guardtest.From("nosy")), 401, ""},
		{"the gateway on an inner route", g.Request("GET", "/inner", user), 404, ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, tt.request)
		if w.Code != tt.want || tt.want == 200 && w.Body.String() != tt.body {
			t.Errorf("%s: %d %s, want %d %s", tt.name, w.Code, w.Body, tt.want, tt.body)
		}
	}
	srv := httptest.NewServer(g.Assume(h, guardtest.From("catalog")))
	defer srv.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/inner", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Txn-Token", user)
	res, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); string(b) != "catalog for u1" {
		t.Errorf("through a server of the test's: %d %s", res.StatusCode, b)
	}
}

// TestRealConnections: the guards of a test meet over mutual TLS with proof.
func TestRealConnections(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := guardtest.New(t, shop, "orders", guardtest.At("accounts", l.Addr().String()))
	accounts := g.Peer("accounts")
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- accounts.Serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, guard.Caller(r.Context())+" for "+guard.PrincipalFrom(r.Context()).Subject)
		}))
	}()
	h := g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://accounts/accounts/7", http.NoBody)
		if err != nil {
			t.Error(err)
			return
		}
		res, err := g.Client().Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		_, _ = io.Copy(w, res.Body)
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, g.Request("GET", "/orders/7", g.Token("u1")))
	if got := w.Body.String(); got != "orders for u1" {
		t.Errorf("the callee answers %q, want %q", got, "orders for u1")
	}
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
}
