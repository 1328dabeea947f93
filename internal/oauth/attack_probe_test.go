package oauth_test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"sallyport.dev/internal/oauth"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
	"context"
)

func count(t *testing.T, w *world, q string) int {
	var n int
	must(t, w.db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.QueryRow(ctx, q).Scan(&n) }))
	return n
}

func TestProbeReborn(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	v := authorization("spa", "https://spa.example/cb", "openid orders.read offline_access")
	a := w.post("/oauth/token", redeem(b.code(v), "https://spa.example/cb", "client_id", "spa")).want(t, 200, "")
	z := *w.zone
	z.Identity.Clients = slices.DeleteFunc(slices.Clone(z.Identity.Clients), func(c zone.Client) bool { return c.ID == "spa" })
	must(t, w.Reload(&z))
	w.good(a.text("access_token"), false)
	_, err := w.AddClient(t.Context(), oauth.NewClient{Client: zone.Client{ID: "spa", Kind: "public", RedirectURIs: []string{"https://evil.example/cb"}, Scopes: []string{"openid", "orders.read", "offline_access"}, Grants: []string{"authorization_code", "refresh_token"}, Consent: true}})
	must(t, err)
	_, err = w.Resolve(t.Context(), a.text("access_token"))
	t.Logf("old access token under the new client: %v", err)
	r := w.post("/oauth/token", refresh(a.text("refresh_token"), "client_id", "spa"))
	t.Logf("refresh under the new client: %d %s", r.Code, r.Body)
	ans := b.get("/oauth/authorize?" + authorization("spa", "https://evil.example/cb", "openid orders.read").Encode())
	t.Logf("consent asked of new client? %d %s", ans.Code, leads(t, ans))
}

func TestProbeNarrowed(t *testing.T) {
	w := newWorld(t)
	a := w.tokens("openid orders.read orders.write offline_access")
	z := *w.zone
	z.Identity.Clients = slices.Clone(z.Identity.Clients)
	z.Identity.Clients[0].Scopes = []string{"openid", "orders.read", "offline_access"}
	must(t, w.Reload(&z))
	tok, err := w.Resolve(t.Context(), a.text("access_token"))
	t.Logf("resolve after narrowing: %v %v", tok.Scopes, err)
	r := w.post("/oauth/token", refresh(a.text("refresh_token")), basic("web-app", secret))
	t.Logf("refresh: %d %s", r.Code, r.Body)
}

func TestProbeLogoutBeforeRedeem(t *testing.T) {
	w := newWorld(t)
	code := w.browser().code(authorization("web-app", callback, "openid offline_access"))
	must(t, w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return w.RevokeSessionTx(ctx, tx, user, "session1") }))
	w.users.end("session1")
	r := w.post("/oauth/token", redeem(code, callback), basic("web-app", secret))
	t.Logf("redeem after logout: %d %s", r.Code, r.Body)
}

func TestProbeAssertionBurn(t *testing.T) {
	w := newWorld(t)
	good := w.asserts(map[string]any{"jti": "J1"})
	key := w.key
	w.key = newKey(t)
	forged := w.asserts(map[string]any{"jti": "J1"})
	w.key = key
	for _, g := range []url.Values{{"grant_type": {"nonsense"}}, {"grant_type": {"refresh_token"}}, {"grant_type": {"authorization_code"}}, {"grant_type": {"urn:openid:params:grant-type:ciba"}}, {"grant_type": {"urn:ietf:params:oauth:grant-type:pre-authorized_code"}}, {"grant_type":{"urn:ietf:params:oauth:grant-type:jwt-bearer"}}} {
		r := w.post("/oauth/token", with(g, forged), w.proves(w.key, "/oauth/token"))
		t.Logf("%v forged: %d %s rows %d", g, r.Code, r.Body, count(t, w, "SELECT COUNT(*) FROM oauth_assertions"))
	}
	for _, p := range []string{"/oauth/introspect", "/oauth/revoke", "/oauth/par", "/oauth/device_authorization"} {
		r := w.post(p, forged)
		t.Logf("%s forged: %d %s rows %d", p, r.Code, r.Body, count(t, w, "SELECT COUNT(*) FROM oauth_assertions"))
	}
	r := w.post("/oauth/token", with(url.Values{"grant_type": {"client_credentials"}}, good), w.proves(w.key, "/oauth/token"))
	t.Logf("good: %d %s", r.Code, r.Body)
}

func TestProbePushedOther(t *testing.T) {
	w := newWorld(t)
	uri := w.post("/oauth/par", authorization("web-app", callback, "openid"), basic("web-app", secret)).want(t, 201, "").text("request_uri")
	b := w.browser()
	a := b.get("/oauth/authorize?" + url.Values{"client_id": {"spa"}, "request_uri": {uri}}.Encode())
	t.Logf("other client: %d %s", a.Code, leads(t, a))
	b2 := w.browser()
	a = b2.get("/oauth/authorize?" + url.Values{"client_id": {"web-app"}, "request_uri": {uri}}.Encode())
	t.Logf("own client after: %d %s", a.Code, leads(t, a))
	// dpop_jkt
	key, other := newKey(t), newKey(t)
	v := authorization("spa", "https://spa.example/cb", "openid")
	uri = w.post("/oauth/par", v, w.proves(key, "/oauth/par")).want(t, 201, "").text("request_uri")
	b = w.browser()
	a = b.get("/oauth/authorize?" + url.Values{"client_id": {"spa"}, "request_uri": {uri}}.Encode())
	a = b.decide(a, "allow")
	code := leads(t, a).Query().Get("code")
	r := w.post("/oauth/token", redeem(code, "https://spa.example/cb", "client_id", "spa"), w.proves(other, "/oauth/token"))
	t.Logf("pushed with key, redeemed by another: %d %s", r.Code, r.Body)
}

func TestProbeScopes(t *testing.T) {
	w := newWorld(t)
	for _, s := range []string{"", "openid", "orders.read", "admin", "orders.read openid", "orders.read offline_access email", "orders.read orders.read"} {
		r := w.post("/oauth/token", url.Values{"grant_type": {"client_credentials"}, "scope": {s}}, basic("batch", secret))
		t.Logf("client_credentials %q: %d %s", s, r.Code, r.Body)
		r = w.post("/oauth/token", with(url.Values{"grant_type": {"client_credentials"}, "scope": {s}}, w.asserts(nil)), w.proves(w.key, "/oauth/token"))
		t.Logf("bank client_credentials %q: %d %s", s, r.Code, r.Body)
	}
	a := w.tokens("openid email")
	for _, s := range []string{"", "orders.read", "openid", "email"} {
		r := w.post("/oauth/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {a.text("access_token")}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "scope": {s}}, basic("batch", secret))
		t.Logf("exchange %q: %d %s", s, r.Code, r.Body)
	}
	// no scope at authorize and at device
	b := w.browser()
	v := authorization("web-app", callback, "")
	x := b.get("/oauth/authorize?" + v.Encode())
	t.Logf("no scope: %d %s", x.Code, leads(t, x))
	r := w.post("/oauth/device_authorization", url.Values{"client_id": {"cli"}})
	t.Logf("device without scope: %d %s", r.Code, r.Body)
}

func TestProbeHead(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	a := b.do(func() *http.Request { r, _ := http.NewRequest(http.MethodHead, issuer+"/oauth/authorize?"+authorization("web-app", callback, "openid").Encode(), nil); r.RequestURI = "/oauth/authorize"; return r }())
	t.Logf("%d %v", a.Code, a.Header())
}
