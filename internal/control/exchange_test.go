package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/internal/token"
	"sallyport.dev/zone"
)

// outside knows the access tokens of these tests by their words.
type outside struct{}

func (outside) AccessToken(_ context.Context, value string) (AccessToken, error) {
	alice := AccessToken{Subject: "alice", Roles: []string{"buyer"}, Scopes: []string{"orders.read", "orders.write"}, Level: 2, Client: "app"}
	switch value {
	case "spa_good":
		return alice, nil
	case "spa_bound":
		alice.Bound = true
		return alice, nil
	case "spa_expired":
		return AccessToken{}, problem.New(problem.AuthExpired, nil)
	case "spa_revoked":
		return AccessToken{}, problem.New(problem.AuthRevoked, nil)
	case "spa_away":
		return AccessToken{}, problem.New(problem.AuthUnavailable, errors.New("the store is away"))
	}
	return AccessToken{}, problem.New(problem.AuthInvalid, nil)
}

// exchangeOf is the form of a good exchange, with changes; an empty value takes a
// parameter out.
func exchangeOf(changes ...string) url.Values {
	form := url.Values{"grant_type": {grantExchange}, "subject_token": {"spa_good"}, "subject_token_type": {kindAccess}, "requested_token_type": {kindTxn}}
	for i := 0; i < len(changes); i += 2 {
		form.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			form.Del(changes[i])
		}
	}
	return form
}

const formType = "application/x-www-form-urlencoded"

func (b *bench) exchange(c *http.Client, form url.Values) answer {
	b.t.Helper()
	return b.do(c, "POST", "/oauth/token", form.Encode(), "Content-Type", formType)
}

// faulty holds an answer and its record against an error of OAuth.
func (b *bench) faulty(what string, got answer, status int, code string, reason problem.Reason) {
	b.t.Helper()
	var said struct{ Error, Access_token string } //nolint:revive,staticcheck // as on the wire
	err := json.Unmarshal(got.body, &said)
	if err != nil || got.status != status || said.Error != code || said.Access_token != "" || got.header.Get("Cache-Control") != "no-store" {
		b.t.Errorf("%s: %d %s %v, want %d %s", what, got.status, got.body, err, status, code)
	}
	if rec := b.journal.last(); rec.Reason != reason.Code() || rec.Status != status || rec.Route != "POST /oauth/token" {
		b.t.Errorf("%s: record %+v, want %s", what, rec, reason.Code())
	}
}

// txn is what a good exchange gave: verified with the keys that control publishes.
func (b *bench) txn(got answer) *token.Claims {
	b.t.Helper()
	var out map[string]any
	if err := json.Unmarshal(got.body, &out); err != nil || got.status != 200 {
		b.t.Fatalf("exchange: %d %s", got.status, got.body)
	}
	life, _ := out["expires_in"].(float64)
	if len(out) != 4 || out["issued_token_type"] != kindTxn || out["token_type"] != "N_A" || life < 1 || life > 60 || got.header.Get("Cache-Control") != "no-store" {
		b.t.Errorf("exchange: %s", got.body)
	}
	keySet, err := token.ParseJWKS(b.do(b.as("orders"), "GET", "/.well-known/jwks.json", nil).body)
	if err != nil {
		b.t.Fatal(err)
	}
	v, err := token.NewVerifier(token.VerifierConfig{Zone: "shop.example", Issuer: "https://shop.example", Keys: keySet})
	if err != nil {
		b.t.Fatal(err)
	}
	value, _ := out["access_token"].(string)
	claims, err := v.Verify(b.t.Context(), value)
	if err != nil {
		b.t.Fatal(err)
	}
	return claims
}

// TestExchange: a service that calls for users gets their inside token, with what
// the outside one has, or less.
func TestExchange(t *testing.T) {
	b := open(t)
	catalog := b.as("catalog")
	for _, c := range []struct {
		what string
		form url.Values
		want string // scopes
	}{
		{"all of it", exchangeOf(), "orders.read orders.write"},
		{"the zone by name", exchangeOf("audience", "shop.example"), "orders.read orders.write"},
		{"less", exchangeOf("scope", "orders.read"), "orders.read"},
		{"in another order, one twice", exchangeOf("scope", "orders.write orders.read orders.write"), "orders.read orders.write"},
		{"what nobody knows", exchangeOf("more", "x"), "orders.read orders.write"},
	} {
		got := b.txn(b.exchange(catalog, c.form))
		if got.Subject != "alice" || !slices.Equal(got.Context.Roles, []string{"buyer"}) || got.Context.Level != 2 || got.Context.Client != "app" ||
			got.Requester != (token.RequesterContext{Listener: "control", Method: "oauth"}) || got.Workload != "spiffe://shop.example/catalog" ||
			strings.Join(got.Scope, " ") != c.want || got.Expires-got.IssuedAt != 60 {
			t.Errorf("%s: %+v", c.what, got)
		}
		rec := b.journal.last()
		if rec.Kind != journal.KindAdmin || rec.Reason != "ok" || rec.Principal != "spiffe://shop.example/catalog" || !slices.Equal(rec.Tags, []string{"subject:alice", "client:app"}) {
			t.Errorf("%s: record %+v", c.what, rec)
		}
	}
	empty := exchangeOf()
	empty.Set("scope", "") // RFC 6749 section 3.2: as if it were not there
	if got := b.txn(b.exchange(catalog, empty)); len(got.Scope) != 2 {
		t.Errorf("an empty scope: %+v", got)
	}
}

// TestExchangeRefused: whatever is not that exchange.
func TestExchangeRefused(t *testing.T) {
	b := open(t)
	inside := func() string { // a good inside token
		var out map[string]any
		_ = json.Unmarshal(b.exchange(b.as("catalog"), exchangeOf()).body, &out)
		value, _ := out["access_token"].(string)
		return value
	}()
	if inside == "" {
		t.Fatal("positive control: no exchange")
	}
	kind := func(name string) string { return "urn:ietf:params:oauth:token-type:" + name }
	for _, c := range []struct {
		what, who string
		form      url.Values
		code      string
		reason    problem.Reason
	}{
		{"no certificate", "", exchangeOf(), "invalid_client", problem.InsidePeer},
		{"a service without calls", "orders", exchangeOf(), "access_denied", problem.InsideCall},
		{"a service without calls, a bad token", "orders", exchangeOf("subject_token", "spa_unknown"), "access_denied", problem.InsideCall},
		{"the gateway", svid.GatewayName, exchangeOf(), "access_denied", problem.InsideCall},
		{"unknown token", "catalog", exchangeOf("subject_token", "spa_unknown"), "invalid_request", problem.AuthInvalid},
		{"expired token", "catalog", exchangeOf("subject_token", "spa_expired"), "invalid_request", problem.AuthExpired},
		{"revoked token", "catalog", exchangeOf("subject_token", "spa_revoked"), "invalid_request", problem.AuthRevoked},
		{"bound token", "catalog", exchangeOf("subject_token", "spa_bound"), "invalid_request", problem.AuthProof},
		{"inside token", "catalog", exchangeOf("subject_token", inside), "invalid_request", problem.AuthInvalid},
		{"inside token by name", "catalog", exchangeOf("subject_token", inside, "subject_token_type", kindTxn), "invalid_request", problem.OAuthRequest},
		{"no token", "catalog", exchangeOf("subject_token", ""), "invalid_request", problem.OAuthRequest},
		{"no type", "catalog", exchangeOf("subject_token_type", ""), "invalid_request", problem.OAuthRequest},
		{"ID token", "catalog", exchangeOf("subject_token_type", kind("id_token")), "invalid_request", problem.OAuthRequest},
		{"refresh token", "catalog", exchangeOf("subject_token_type", kind("refresh_token")), "invalid_request", problem.OAuthRequest},
		{"JWT", "catalog", exchangeOf("subject_token_type", kind("jwt")), "invalid_request", problem.OAuthRequest},
		{"an access token is asked for", "catalog", exchangeOf("requested_token_type", kindAccess), "invalid_request", problem.OAuthRequest},
		{"nothing is asked for", "catalog", exchangeOf("requested_token_type", ""), "invalid_request", problem.OAuthRequest},
		{"no grant type", "catalog", exchangeOf("grant_type", ""), "unsupported_grant_type", problem.OAuthRequest},
		{"another grant type", "catalog", exchangeOf("grant_type", "client_credentials"), "unsupported_grant_type", problem.OAuthRequest},
		{"another zone", "catalog", exchangeOf("audience", "other.example"), "invalid_target", problem.OAuthRequest},
		{"the issuer", "catalog", exchangeOf("audience", "https://shop.example"), "invalid_target", problem.OAuthRequest},
		{"a resource", "catalog", exchangeOf("resource", "https://shop.example"), "invalid_target", problem.OAuthRequest},
		{"more scope", "catalog", exchangeOf("scope", "orders.read admin"), "invalid_scope", problem.OAuthScope},
		{"other scope", "catalog", exchangeOf("scope", "ORDERS.READ"), "invalid_scope", problem.OAuthScope},
		{"malformed scope", "catalog", exchangeOf("scope", "orders.read  orders.write"), "invalid_scope", problem.OAuthScope},
		{"an actor", "catalog", exchangeOf("actor_token", "spa_good", "actor_token_type", kindAccess), "invalid_request", problem.OAuthRequest},
		{"a context", "catalog", exchangeOf("request_context", "{}"), "invalid_request", problem.OAuthRequest},
		{"details", "catalog", exchangeOf("request_details", `{"roles":["admin"]}`), "invalid_request", problem.OAuthRequest},
	} {
		got := b.exchange(b.as(c.who), c.form)
		status := 400
		b.faulty(c.what, got, status, c.code, c.reason)
		if strings.Contains(string(got.body), c.form.Get("subject_token")) && c.form.Get("subject_token") != "" {
			t.Errorf("%s: the answer tells the token", c.what)
		}
	}
	if got := b.exchange(b.as("stranger"), exchangeOf()); got.status != 0 { // a good certificate, and not in the map
		t.Errorf("a service that is not in the map: %d %s", got.status, got.body)
	}
	got := b.exchange(b.as("catalog"), exchangeOf("subject_token", "spa_away"))
	b.faulty("no store", got, 503, "temporarily_unavailable", problem.AuthUnavailable)
	if got.header.Get("Retry-After") == "" {
		t.Error("no store: no Retry-After")
	}
	b.txn(b.exchange(b.as("catalog"), exchangeOf()))
}

// TestExchangeMalformed: what no form of one parameter each is.
func TestExchangeMalformed(t *testing.T) {
	b := open(t)
	catalog, good := b.as("catalog"), exchangeOf("scope", "orders.read").Encode()
	for _, c := range []struct {
		what, path, kind, body string
		status                 int
	}{
		{"twice a token", "", formType, good + "&subject_token=spa_good", 400},
		{"twice a scope", "", formType, good + "&scope=orders.write", 400},
		{"twice an audience", "", formType, good + "&audience=shop.example&audience=shop.example", 400},
		{"twice what nobody knows", "", formType, good + "&x=1&x=2", 400},
		{"a semicolon", "", formType, good + ";scope=x", 400},
		{"a bad escape", "", formType, good + "&scope=%zz", 400},
		{"in the address", "?" + good, formType, "", 400},
		{"a part in the address", "?scope=orders.read", formType, good, 400},
		{"JSON", "", "application/json", `{"grant_type":"` + grantExchange + `"}`, 415},
		{"no type", "", "", good, 415},
		{"huge", "", formType, good + "&x=" + strings.Repeat("A", maxBody), 413},
		{"empty", "", formType, "", 400},
	} {
		got := b.do(catalog, "POST", "/oauth/token"+c.path, c.body, "Content-Type", c.kind)
		code := "invalid_request"
		if c.what == "empty" {
			code = "unsupported_grant_type"
		}
		b.faulty(c.what, got, c.status, code, problem.OAuthRequest)
	}
	b.refused("GET", b.do(catalog, "GET", "/oauth/token?"+good, nil), problem.RouteUnknown)
	b.txn(b.do(catalog, "POST", "/oauth/token", good, "Content-Type", formType+"; charset=UTF-8"))
}

// TestExchangeByTheMap: it is the map in force that says who may.
func TestExchangeByTheMap(t *testing.T) {
	b := open(t)
	orders := func() answer { return b.exchange(b.as("orders"), exchangeOf()) }
	b.faulty("no calls", orders(), 400, "access_denied", problem.InsideCall)
	call := func(c string) string {
		text := strings.Replace(testMap, "GET /products: anonymous}", "GET /products: [anonymous, service]}", 1)
		return text + "    calls: {catalog: [" + c + "]}\n"
	}
	b.reload(call("{call: GET /products, as: service}"))
	b.faulty("calls for itself alone", orders(), 400, "access_denied", problem.InsideCall)
	b.reload(call("GET /products"))
	if got := b.txn(orders()); got.Workload != "spiffe://shop.example/orders" {
		t.Errorf("a call for users: %+v", got)
	}
	b.reload(testMap)
	b.faulty("no calls any more", orders(), 400, "access_denied", problem.InsideCall)
}

// TestExchangeRecorded: without a record nobody gets a token.
func TestExchangeRecorded(t *testing.T) {
	b := open(t)
	catalog := b.as("catalog")
	b.journal.full = problem.New(problem.JournalFull, errors.New("full"))
	b.faulty("a journal that is full", b.exchange(catalog, exchangeOf()), 503, "temporarily_unavailable", problem.JournalFull)
	b.journal.full = nil
	b.txn(b.exchange(catalog, exchangeOf()))
}

// TestExchangeBounded: floods are refused, and have a record a minute.
func TestExchangeBounded(t *testing.T) {
	for _, c := range []struct {
		who, key string
		rate     zone.Rate
		want     problem.Reason
	}{
		{"", "exchange:127.0.0.1", joinRate, problem.LimitAddress},
		{"catalog", "exchange:spiffe://shop.example/catalog", exchangeRate, problem.LimitRate},
	} {
		b := open(t)
		for range c.rate.Count { // as many attempts
			if _, err := b.control.Counters.Take(t.Context(), c.key, c.rate, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		flooding := b.as(c.who)
		got := b.exchange(flooding, exchangeOf())
		b.faulty("a flood of "+c.who, got, 429, "temporarily_unavailable", c.want)
		if got.header.Get("Retry-After") == "" {
			t.Errorf("a flood of %q: %v", c.who, got.header)
		}
		if got := b.exchange(flooding, exchangeOf()); got.status != 429 || len(b.journal.kept) != 1 {
			t.Errorf("a flood of %q goes on: %d, %d records", c.who, got.status, len(b.journal.kept))
		}
		b.reload(testMap + "    calls: {catalog: [GET /products]}\n")
		b.txn(b.exchange(b.as("orders"), exchangeOf())) // the others are not bounded by it
	}
}

func FuzzForm(f *testing.F) {
	for _, seed := range []string{exchangeOf().Encode(), "a=1&a=2", "a", "=", "&&", "%", "a=%00", "a;b", "subject_token=spa_%FF", "a=&b=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(body))
		r.Header.Set("Content-Type", formType)
		form, err := readForm(r)
		if err != nil {
			if fault := faultOf(err); fault.code != "invalid_request" || fault.status < 400 || fault.status > 413 {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		all, err := url.ParseQuery(body)
		if err != nil {
			t.Fatalf("%q was taken: %v", body, err)
		}
		for name, values := range all {
			if len(values) != 1 || form.Get(name) != values[0] || form.Has(name) == (values[0] == "") {
				t.Fatalf("%q: %s is %q of %q", body, name, form[name], values)
			}
		}
	})
}
