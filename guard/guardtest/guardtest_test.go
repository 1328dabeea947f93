package guardtest_test

import (
	"io"
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
