package oauth_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/oauth"
	"sallyport.dev/internal/recall"
	"sallyport.dev/zone"
)

// TestBindings: what is bound to a key is of no use with another, or with none,
// however it came to be bound and wherever it is used.
func TestBindings(t *testing.T) {
	w := newWorld(t)
	key := newKey(t)
	const to = "https://spa.example/cb"
	own := func() request { return w.proves(key, "/oauth/token") }
	pushed := func() string {
		uri := w.post("/oauth/par", authorization("spa", to, "openid"), w.proves(key, "/oauth/par")).want(t, 201, "").text("request_uri")
		b := w.browser()
		a := b.get("/oauth/authorize?" + url.Values{"client_id": {"spa"}, "request_uri": {uri}}.Encode())
		if a.Code == http.StatusOK {
			a = b.decide(a, "allow") // asked once
		}
		return leads(t, a).Query().Get("code")
	}
	exchange := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}}
	for name, shows := range map[string]func() request{
		"no key":      nobody,
		"another key": func() request { return w.proves(newKey(t), "/oauth/token") },
	} {
		// A code of a request that was pushed with a proof.
		form := redeem(pushed(), to, "client_id", "spa")
		w.post("/oauth/token", form, shows()).want(t, 400, "invalid_dpop_proof")
		a := w.post("/oauth/token", form, own()).want(t, 200, "")
		// Its refresh token, also when the one before it comes again in the overlap.
		form = refresh(a.text("refresh_token"), "client_id", "spa")
		w.post("/oauth/token", form, shows()).want(t, 400, "invalid_dpop_proof")
		next := w.post("/oauth/token", form, own()).want(t, 200, "")
		if r, err := w.Resolve(t.Context(), next.text("access_token")); err != nil || r.JKT != thumbprint(t, key) || a.text("token_type") != "DPoP" {
			t.Errorf("%s: refreshed: %q %+v %v", name, a.text("token_type"), r, err)
		}
		if again := w.post("/oauth/token", form, shows()); again.Code == 200 {
			t.Errorf("%s: the overlap gave %s", name, again.Body)
		}
		// A token is exchanged with its key alone, and so is what comes of it.
		form = redeem(w.browser().code(authorization("web-app", callback, "openid orders.read")), callback)
		exchange.Set("subject_token", w.post("/oauth/token", form, basic("web-app", secret), own()).want(t, 200, "").text("access_token"))
		w.post("/oauth/token", exchange, basic("batch", secret), shows()).want(t, 400, "invalid_request")
		got := w.post("/oauth/token", exchange, basic("batch", secret), own()).want(t, 200, "")
		if r, err := w.Resolve(t.Context(), got.text("access_token")); err != nil || r.JKT != thumbprint(t, key) {
			t.Errorf("%s: exchanged: %+v %v", name, r, err)
		}
	}
}

// TestBoundFromNowOn: a client whose tokens must be bound by now gets none that are
// not, also of what it was granted before.
func TestBoundFromNowOn(t *testing.T) {
	w := newWorld(t)
	key, other := newKey(t), newKey(t)
	client := basic("web-app", secret)
	a := w.tokens("openid offline_access")
	next := *w.zone
	next.Identity.Clients = append([]zone.Client{}, w.zone.Identity.Clients...)
	next.Identity.Clients[0].DPoP = true
	must(t, w.Reload(&next))
	w.post("/oauth/token", refresh(a.text("refresh_token")), client).want(t, 400, "invalid_dpop_proof")
	b := w.post("/oauth/token", refresh(a.text("refresh_token")), client, w.proves(key, "/oauth/token")).want(t, 200, "")
	if r, err := w.Resolve(t.Context(), b.text("access_token")); err != nil || r.JKT != thumbprint(t, key) || b.text("token_type") != "DPoP" {
		t.Errorf("a token of before, refreshed: %q %+v %v", b.text("token_type"), r, err)
	}
	must(t, w.Reload(w.zone)) // what is bound stays so, whatever becomes of the client
	w.post("/oauth/token", refresh(b.text("refresh_token")), client).want(t, 400, "invalid_dpop_proof")
	w.post("/oauth/token", refresh(b.text("refresh_token")), client, w.proves(other, "/oauth/token")).want(t, 200, "")
}

// TestRecalledIsNotChanged: what is remembered of a token is the same for all that
// are answered by it, whatever the map takes out of one answer.
func TestRecalledIsNotChanged(t *testing.T) {
	memory := recall.New(func(r oauth.Resolved, subject string) bool { return r.Subject == subject }, time.Now, func(time.Time) bool { return true })
	w := newWorld(t, func(c *oauth.Config) { c.Introspected = memory })
	w.db.Subscribe(memory.Forget)
	token := w.tokens("openid email orders.read orders.write").text("access_token")
	scope := func() string {
		return w.post("/oauth/introspect", url.Values{"token": {token}}, basic("web-app", secret)).want(t, 200, "").text("scope")
	}
	next := *w.zone
	next.Identity.Clients = append([]zone.Client{}, w.zone.Identity.Clients...)
	next.Identity.Clients[0].Scopes = []string{"openid", "orders.write"}
	must(t, w.Reload(&next))
	for _, a := range race(16, func(int) answer {
		return w.post("/oauth/introspect", url.Values{"token": {token}}, basic("web-app", secret))
	}) {
		if a.text("scope") != "openid orders.write" {
			t.Errorf("narrowed: %s", a.Body)
		}
	}
	must(t, w.Reload(w.zone))
	if got := scope(); got != "email openid orders.read orders.write" {
		t.Errorf("scopes %q, want all again", got)
	}
	must(t, w.RevokeGrant(t.Context(), user, "web-app"))
	if a := w.post("/oauth/introspect", url.Values{"token": {token}}, basic("web-app", secret)); strings.TrimSpace(a.Body.String()) != `{"active":false}` {
		t.Errorf("revoked: %s", a.Body)
	}
}
