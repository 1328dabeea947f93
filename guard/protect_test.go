package guard_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/guard"
	"sallyport.dev/guard/guardtest"
	"sallyport.dev/internal/problem"
)

func TestProtect(t *testing.T) {
	g := newOrders(t)
	foreign := newOrders(t) // the same zone by name, another key
	elsewhere := guardtest.New(t, strings.Replace(shop, "zone: shop.example", "zone: evil.example", 1), "orders")
	h := g.Protect(http.HandlerFunc(echo))
	user := g.Token("u1", guardtest.Roles("support"))
	plain := g.Token("u2")
	anonymous := g.Token("anonymous")
	itself := g.ServiceToken("catalog")
	key := g.Token("key_1", guardtest.Key(), guardtest.Scopes("orders.read"))
	keyOther := g.Token("key_1", guardtest.Key(), guardtest.Scopes("orders.write"))
	catalog, nosy := from(t, "catalog"), from(t, "nosy")

	// Every refusal stands beside the request that differs in one thing and is allowed.
	for _, tt := range []struct {
		name, method, target, token string
		change                      func(*http.Request)
		want                        string
	}{
		{"anonymous", "GET", "/open", anonymous, nil, "200"},
		{"no token", "GET", "/open", "", nil, "inside.token_missing"},
		{"two tokens", "GET", "/open", anonymous, headers("Txn-Token", anonymous), "inside.token_invalid"},
		{"two tokens in one header", "GET", "/open", anonymous + ", " + anonymous, nil, "inside.token_invalid"},
		{"no JWT", "GET", "/open", "token", nil, "inside.token_invalid"},
		{"header tampered", "GET", "/open", tamper(anonymous, 0), nil, "inside.token_invalid"},
		{"claims tampered", "GET", "/open", tamper(anonymous, 1), nil, "inside.token_invalid"},
		{"signature tampered", "GET", "/open", tamper(anonymous, 2), nil, "inside.token_invalid"},
		{"foreign key", "GET", "/open", foreign.Token("anonymous"), nil, "inside.token_invalid"},
		{"foreign zone", "GET", "/open", elsewhere.Token("anonymous"), nil, "inside.token_invalid"},
		{"almost expired", "GET", "/mine", g.Token("u1", guardtest.IssuedAgo(58*time.Second)), nil, "200"},
		{"expired", "GET", "/mine", g.Token("u1", guardtest.IssuedAgo(70*time.Second)), nil, "inside.token_expired"},
		{"from the future", "GET", "/mine", g.Token("u1", guardtest.IssuedAgo(-time.Minute)), nil, "inside.token_expired"},

		{"HEAD follows GET", "HEAD", "/open", anonymous, nil, "200"},
		{"other method", "POST", "/open", anonymous, nil, "inside.route"},
		{"other path", "GET", "/opens", anonymous, nil, "inside.route"},
		{"trailing slash", "GET", "/open/", anonymous, nil, "inside.route"},
		{"double slash", "GET", "//open", anonymous, nil, "inside.route"},
		{"subtree", "GET", "/tree/a/b", anonymous, nil, "200"},
		{"subtree with dot segments", "GET", "/tree/%2e%2e/mine", anonymous, nil, "inside.route"},
		{"encoded slash where declared", "GET", "/raw/a%2Fb", user, nil, "200"},
		{"encoded slash elsewhere", "GET", "/typed/1%2F2", user, nil, "inside.route"},

		{"user", "GET", "/mine", user, nil, "200"},
		{"nobody on a user's route", "GET", "/mine", anonymous, nil, "auth.missing"},
		{"key on a user's route", "GET", "/mine", key, nil, "access.kind"},
		{"role", "GET", "/staff", user, nil, "200"},
		{"no role", "GET", "/staff", plain, nil, "access.role"},
		{"scope", "GET", "/keys", key, nil, "200"},
		{"other scope", "GET", "/keys", keyOther, nil, "access.scope"},
		{"user on a key's route", "GET", "/keys", user, nil, "access.kind"},
		{"OAuth user on a route without scopes", "GET", "/mine", g.Token("u1", guardtest.OAuth("app"), guardtest.Scopes("a")), nil, "access.scope"},

		{"declared caller", "GET", "/inner", anonymous, catalog, "200"},
		{"inside route from outside", "GET", "/inner", user, nil, "inside.route"},
		{"undeclared caller", "GET", "/inner", anonymous, nosy, "inside.call"},
		{"unknown caller", "GET", "/inner", anonymous, from(t, "Catalog"), "inside.call"},
		{"a caller by header only", "GET", "/inner", anonymous, headers("X-Caller", "catalog"), "inside.route"},
		{"another caller by header", "GET", "/inner", anonymous, both(nosy, headers("X-Caller", "catalog")), "inside.call"},
		{"a caller that says it is the gateway", "GET", "/open", user, both(catalog, headers("X-Caller", "")), "inside.call"},
		{"control", "GET", "/open", anonymous, from(t, "control"), "inside.peer"},
		{"no service's name", "GET", "/open", anonymous, from(t, "ns/default/sa/catalog"), "inside.peer"},
		{"another zone's gateway", "GET", "/open", anonymous, fromZone(t, "evil.example", "gateway"), "inside.peer"},
		{"no channel", "GET", "/open", anonymous, func(r *http.Request) { *r = *r.WithContext(context.Background()) }, "inside.peer"},
		{"caller of another route", "GET", "/open", anonymous, catalog, "inside.call"},
		{"caller with role", "GET", "/inner/staff", g.Token("u1", guardtest.Roles("admin")), catalog, "200"},
		{"caller without role", "GET", "/inner/staff", user, catalog, "access.role"},
		{"caller on a user's route", "GET", "/mine", user, nosy, "200"},
		{"caller for nobody on a user's route", "GET", "/mine", anonymous, nosy, "auth.missing"},
		{"caller for nobody on both's route", "GET", "/both", anonymous, catalog, "200"},
		{"nobody on both's route", "GET", "/both", anonymous, nil, "auth.missing"},
		{"caller for a key without scope", "GET", "/keys", keyOther, catalog, "access.scope"},

		{"a service for itself", "GET", "/own", itself, catalog, "200"},
		{"a user's token on a call for itself", "GET", "/own", user, catalog, "inside.call"},
		{"its own token on a call for users", "GET", "/inner", itself, catalog, "inside.call"},
		{"a call for itself that another service declares", "GET", "/own", g.ServiceToken("nosy"), nosy, "inside.call"},
		{"another service's own token", "GET", "/own", itself, nosy, "inside.token_invalid"},
		{"a service's own token from the gateway", "GET", "/both", itself, nil, "inside.token_invalid"},
		{"a service for itself on a user's route", "GET", "/own/user", itself, catalog, "access.kind"},
		{"a service for itself without the role", "GET", "/own/staff", itself, catalog, "access.role"},

		{"typed", "GET", "/typed/7?lang=de&x=1", user, nil, "200"},
		{"path of another type", "GET", "/typed/7a?lang=de", user, nil, "request.param"},
		{"query of another type", "GET", "/typed/7?lang=fr", user, nil, "request.param"},
		{"second query value of another type", "GET", "/typed/7?lang=de&lang=fr", user, nil, "request.param"},
		{"query that does not parse", "GET", "/typed/7?lang=de;x", user, nil, "request.query"},
		{"rights before params", "GET", "/typed/7a", anonymous, nil, "auth.missing"},

		{"not enforced", "DELETE", "/closed", user, nil, "zone.not_enforced"},
		{"not enforced, without rights", "DELETE", "/closed", anonymous, nil, "auth.missing"},
	} {
		r := g.Request(tt.method, tt.target, tt.token)
		if tt.change != nil {
			tt.change(r)
		}
		got, w := send(h, r)
		if got != tt.want {
			t.Errorf("%s: %s %s = %s, want %s", tt.name, tt.method, tt.target, got, tt.want)
			continue
		}
		if got == "200" {
			continue
		}
		var doc problem.Document
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc.CorrelationID != correlationID || doc.Status != w.Code {
			t.Errorf("%s: status %d, document %+v, %v", tt.name, w.Code, doc, err)
		}
		if strings.Contains(w.Body.String(), "u1") || strings.Contains(w.Body.String(), "once") {
			t.Errorf("%s: the refusal tells more than its reason: %s", tt.name, w.Body)
		}
	}
}

func TestWhatTheHandlerSees(t *testing.T) {
	g := newOrders(t)
	var seen *http.Request
	h := g.Protect(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r }))
	r := g.Request("GET", "/mine?a=1", g.Token("u1", guardtest.Roles("support"), guardtest.Level(2)))
	for _, name := range []string{
		"X-User-Id", "X-User-Roles", "x-user-anything", "X_User_Id", "x_user-id", "X-Client-Id", "Sallyport-Client", "sallyport_request", "X-Http-Method-Override",
		"Signature", "Signature-Input", "Sallyport-Certificate", "Content-Digest", "X-Caller",
	} {
		r.Header.Set(name, "root")
	}
	r.Header.Set("Accept", "text/plain")
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	before := r.Header.Clone()
	if got, _ := send(h, r); got != "200" {
		t.Fatalf("GET /mine = %s, want 200", got)
	}
	want := http.Header{
		"Accept": {"text/plain"}, "X-Correlation-Id": {correlationID},
		"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	}
	if len(seen.Header) != len(want) {
		t.Errorf("the handler sees %v, want %v", seen.Header, want)
	}
	for name := range want {
		if seen.Header.Get(name) != want.Get(name) {
			t.Errorf("the handler sees %s: %q, want %q", name, seen.Header.Get(name), want.Get(name))
		}
	}
	if r.Header.Get("Txn-Token") != before.Get("Txn-Token") || len(r.Header) != len(before)+1 {
		t.Errorf("the request itself was changed: %v", r.Header)
	}
	p := guard.PrincipalFrom(seen.Context())
	if p.Kind != guard.User || p.Anonymous() || p.Subject != "u1" || !p.HasRole("support") || p.HasRole("admin") || p.HasScope("a") || p.Level != 2 {
		t.Errorf("principal %+v", p)
	}
	if got := guard.CorrelationID(seen.Context()); got != correlationID {
		t.Errorf("correlation id %q", got)
	}
	if got := guard.TraceID(seen.Context()); got != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("trace id %q", got)
	}
	if guard.Caller(seen.Context()) != "" || guard.OwnerRead(seen.Context()) {
		t.Error("a request of the gateway has a caller or is a read of the guard")
	}
	if !guard.Owns(seen.Context(), "u1") || guard.Owns(seen.Context(), "u2") || guard.Owns(seen.Context(), "") {
		t.Error("Owns is wrong on a route without an owner")
	}
}

func TestHealth(t *testing.T) {
	withHealth := func(path string) string {
		return strings.Replace(shop, "    routes:\n", "    health: GET "+path+"\n    routes:\n", 1)
	}
	for _, tt := range []struct {
		name, zone, method, target string
		change                     func(*http.Request)
		want                       string
	}{
		{"declared", withHealth("/healthz"), "GET", "/healthz", nil, "200"},
		{"not declared", shop, "GET", "/healthz", nil, "inside.token_missing"},
		{"other path", withHealth("/healthz"), "GET", "/mine", nil, "inside.token_missing"},
		{"other method", withHealth("/healthz"), "POST", "/healthz", nil, "inside.token_missing"},
		{"query", withHealth("/healthz"), "GET", "/healthz?x", nil, "inside.token_missing"},
		{"other spelling", withHealth("/healthz"), "GET", "/%68ealthz", nil, "inside.token_missing"},
		{"with a token", withHealth("/healthz"), "GET", "/healthz", headers("Txn-Token", "x"), "inside.token_invalid"},
		{"of a caller", withHealth("/healthz"), "GET", "/healthz", from(t, "catalog"), "inside.token_missing"},
		{"of nobody", withHealth("/healthz"), "GET", "/healthz", func(r *http.Request) { *r = *r.WithContext(context.Background()) }, "inside.peer"},
		{"an anonymous route", withHealth("/open"), "GET", "/open", nil, "200"},
		{"a user's route", withHealth("/mine"), "GET", "/mine", nil, "inside.token_missing"},
	} {
		g := guardtest.New(t, tt.zone, "orders")
		h := g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if p := guard.PrincipalFrom(r.Context()); !p.Anonymous() || r.Header.Get("X-User-Id") != "" {
				t.Errorf("%s: the handler runs for %+v with %v", tt.name, p, r.Header)
			}
			if _, _, err := do(r.Context(), g, "GET", "http://accounts/accounts/7", nil); !errors.Is(err, guard.ErrNoRequest) {
				t.Errorf("%s: a call without a token: %v", tt.name, err)
			}
		}))
		r := g.Request(tt.method, tt.target, "")
		r.Header.Set("X-User-Id", "root")
		if tt.change != nil {
			tt.change(r)
		}
		if got, _ := send(h, r); got != tt.want {
			t.Errorf("%s: %s %s = %s, want %s", tt.name, tt.method, tt.target, got, tt.want)
		}
	}
}

func TestOutsideOfProtect(t *testing.T) {
	ctx := t.Context()
	if p := guard.PrincipalFrom(ctx); p == nil || !p.Anonymous() || p.Subject != "anonymous" {
		t.Errorf("PrincipalFrom = %+v", p)
	}
	if guard.Owns(ctx, "anonymous") || guard.CorrelationID(ctx) != "" || guard.TraceID(ctx) != "" || guard.Caller(ctx) != "" || guard.OwnerRead(ctx) {
		t.Error("a context from elsewhere tells something")
	}
}

func TestConcurrentRequests(t *testing.T) {
	g := newOrders(t)
	h := g.Protect(http.HandlerFunc(echo))
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			sub, target, want := "u1", "/users/u1/orders", "200"
			if i%2 == 1 {
				sub, want = "u2", "owner.denied"
			}
			r := g.Request("GET", target, g.Token(sub))
			r.Header.Set("X-Correlation-Id", correlationID)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := reasonOf(w); got != want {
				t.Errorf("GET %s as %s = %s, want %s", target, sub, got, want)
			}
		})
	}
	wg.Wait()
}

func BenchmarkProtect(b *testing.B) {
	g := newOrders(b)
	h := g.Protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := g.Request("GET", "/typed/7", g.Token("u1"))
	r.Header.Set("X-Correlation-Id", correlationID)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

// TestListener: a wider route of one listener does not lead to a narrower one of
// another (GW-03), though both end at the same handler.
func TestListener(t *testing.T) {
	const twoDoors = `
zone: shop.example
listeners:
  public: {address: "127.0.0.1:8443", hosts: [127.0.0.1]}
  partner: {address: "127.0.0.1:8444", hosts: [127.0.0.1]}
services:
  files:
    upstream: https://127.0.0.1:9002
    embedded: true
    routes:
      GET /files/{name}: [user, service]
      GET /files/export: {allow: [user, service], listener: partner}
  other:
    upstream: https://127.0.0.1:9003
    embedded: true
    routes:
      GET /other: user
    calls:
      files: [GET /files/export]
`
	g := guardtest.New(t, twoDoors, "files")
	h := g.Protect(http.HandlerFunc(echo))
	for _, tt := range []struct{ listener, target, caller, want string }{
		{"public", "/files/a", "", "200"},
		{"partner", "/files/a", "", "inside.route"},
		{"partner", "/files/export", "", "200"},
		{"public", "/files/export", "", "inside.route"},
		{"", "/files/a", "", "inside.route"},
		{"public", "/files/export", "other", "200"}, // a call has no listener of its own
	} {
		r := g.Request("GET", tt.target, g.Token("u1", guardtest.Listener(tt.listener)))
		if tt.caller != "" {
			from(t, tt.caller)(r)
		}
		if got, _ := send(h, r); got != tt.want {
			t.Errorf("GET %s through %q, called by %q = %s, want %s", tt.target, tt.listener, tt.caller, got, tt.want)
		}
	}
}

// TestPrincipalIsTheHandlersOwn: what a handler does to its principal changes
// neither the judgement of this request nor the remembered token of the next.
func TestPrincipalIsTheHandlersOwn(t *testing.T) {
	g := newOrders(t)
	spoil := true
	h := g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := guard.PrincipalFrom(r.Context()); spoil {
			p.Subject = "u2"
			p.Roles = append(p.Roles[:0], p.Roles[1:]...) // the idiom that filters in place
		}
		_, _ = w.Write([]byte(`{"customer":"u2"}`))
	}))
	tok := g.Token("u1", guardtest.Roles("customer", "support", "support"))
	if got, _ := send(h, g.Request("GET", "/orders/1", tok)); got != "owner.denied" {
		t.Errorf("the order of u2 for u1 who calls itself u2 = %s, want owner.denied", got)
	}
	if got, _ := send(h, g.Request("GET", "/staff", tok)); got != "200" {
		t.Errorf("GET /staff = %s, want 200", got)
	}
	spoil = false
	var roles []string
	seen := g.Protect(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { roles = guard.PrincipalFrom(r.Context()).Roles }))
	if got, _ := send(seen, g.Request("GET", "/staff", tok)); got != "200" || strings.Join(roles, " ") != "customer support support" {
		t.Errorf("the next request with the token = %s with roles %q, want those that were minted", got, roles)
	}
}
