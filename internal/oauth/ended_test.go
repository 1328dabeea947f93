package oauth_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/internal/oauth"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// without is the map of a world with one client less.
func (w *world) without(id string) *zone.Zone {
	z := *w.zone
	z.Identity.Clients = slices.DeleteFunc(slices.Clone(z.Identity.Clients), func(c zone.Client) bool { return c.ID == id })
	return &z
}

// TestIDComesAgain: who gets the id of a client that was removed from the map gets
// neither its tokens nor what users said yes to.
func TestIDComesAgain(t *testing.T) {
	const elsewhere = "https://elsewhere.example/cb"
	again := zone.Client{ID: "spa", Kind: "public", RedirectURIs: []string{elsewhere}, Scopes: []string{"openid", "orders.read", "offline_access"}, Grants: []string{"authorization_code", "refresh_token"}, Consent: true}
	for name, comes := range map[string]func(*world){
		"in the map": func(w *world) {
			z := w.without("spa")
			z.Identity.Clients = append(z.Identity.Clients, again)
			must(t, w.Reload(z))
		},
		"by the command line": func(w *world) {
			_, err := w.AddClient(t.Context(), oauth.NewClient{Client: again})
			must(t, err)
		},
		"by the command line, after a restart": func(w *world) {
			w.cfg.Zone = w.without("spa")
			w.Provider, w.mux = w.open()
			_, err := w.AddClient(t.Context(), oauth.NewClient{Client: again})
			must(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			scope := "openid orders.read offline_access"
			a := w.post("/oauth/token", redeem(w.browser().code(authorization("spa", "https://spa.example/cb", scope)), "https://spa.example/cb", "client_id", "spa")).want(t, 200, "")
			if w.browser().get("/oauth/authorize?"+authorization("spa", "https://spa.example/cb", scope).Encode()).Code != http.StatusSeeOther {
				t.Error("the user is asked twice: the test shows nothing")
			}
			if !strings.Contains(name, "restart") {
				must(t, w.Reload(w.without("spa")))
			}
			comes(w)
			w.good(a.text("access_token"), false)
			w.post("/oauth/token", refresh(a.text("refresh_token"), "client_id", "spa")).want(t, 400, "invalid_grant")
			b := w.browser()
			b.mux = w.mux
			if got := b.get("/oauth/authorize?" + authorization("spa", elsewhere, scope).Encode()); got.Code != http.StatusOK || !flowField.MatchString(got.Body.String()) {
				t.Errorf("the user is not asked: %d %s", got.Code, leads(t, got))
			}
		})
	}
}

// TestScopeTakenFromClient: a scope that the map takes from a client is in none of its
// tokens any more, and comes back by no refresh.
func TestScopeTakenFromClient(t *testing.T) {
	w := newWorld(t)
	a := w.tokens("openid orders.read orders.write offline_access")
	code := w.browser().code(authorization("web-app", callback, "openid orders.write"))
	only := w.tokens("orders.write offline_access") // nothing is left of it
	z := *w.zone
	z.Identity.Clients = slices.Clone(z.Identity.Clients)
	z.Identity.Clients[0].Scopes = []string{"openid", "orders.read"}
	must(t, w.Reload(&z))
	got, err := w.Resolve(t.Context(), a.text("access_token"))
	if err != nil || strings.Join(got.Scopes, " ") != "openid orders.read" {
		t.Errorf("access token: %v %v", got.Scopes, err)
	}
	next := w.post("/oauth/token", refresh(a.text("refresh_token")), basic("web-app", secret)).want(t, 200, "")
	if next.text("scope") != "openid orders.read" {
		t.Errorf("refreshed to %q", next.text("scope"))
	}
	w.post("/oauth/token", refresh(next.text("refresh_token"), "scope", "orders.write"), basic("web-app", secret)).want(t, 400, "invalid_scope")
	if first := w.post("/oauth/token", redeem(code, callback), basic("web-app", secret)).want(t, 200, ""); first.text("scope") != "openid" {
		t.Errorf("redeemed to %q", first.text("scope"))
	}
	w.post("/oauth/token", refresh(only.text("refresh_token"), "scope", "orders.read"), basic("web-app", secret)).want(t, 400, "invalid_grant")
	must(t, w.Reload(w.zone)) // what the user gave is not forgotten
	if again := w.post("/oauth/token", refresh(next.text("refresh_token")), basic("web-app", secret)).want(t, 200, ""); !strings.Contains(again.text("scope"), "orders.write") {
		t.Errorf("given back: %q", again.text("scope"))
	}
}

// TestCodeOfEndedSession: a code is of no use after the logout, also when what it
// stands for would have outlived the session.
func TestCodeOfEndedSession(t *testing.T) {
	w := newWorld(t)
	used := w.tokens("openid offline_access")
	code := w.browser().code(authorization("web-app", callback, "openid offline_access"))
	must(t, w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return w.RevokeSessionTx(ctx, tx, user, "session1") }))
	w.users.end("session1")
	w.post("/oauth/token", redeem(code, callback), basic("web-app", secret)).want(t, 400, "invalid_grant")
	w.post("/oauth/token", refresh(used.text("refresh_token")), basic("web-app", secret)).want(t, 200, "")
}

// TestSparedSession: with one session spared, as after a new password, that goes on
// with its clients; all that was given for longer ends.
func TestSparedSession(t *testing.T) {
	w := newWorld(t)
	here, longer := w.tokens("openid"), w.tokens("openid offline_access")
	b := w.browser()
	b.who.Session = "session2"
	there := w.post("/oauth/token", redeem(b.code(authorization("web-app", callback, "openid")), callback), basic("web-app", secret)).want(t, 200, "")
	must(t, w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return w.RevokeOthersTx(ctx, tx, user, "session1") }))
	w.good(here.text("access_token"), true)
	w.good(longer.text("access_token"), false)
	w.good(there.text("access_token"), false)
	w.post("/oauth/token", refresh(longer.text("refresh_token")), basic("web-app", secret)).want(t, 400, "invalid_grant")
	w.post("/oauth/token", refresh(here.text("refresh_token")), basic("web-app", secret)).want(t, 200, "")
	must(t, w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return w.RevokeOthersTx(ctx, tx, user, "") }))
	w.good(here.text("access_token"), false)
}

// TestAssertionOfNobody: who cannot sign for a client cannot use the ids of its
// assertions up either, nor fill the table of them.
func TestAssertionOfNobody(t *testing.T) {
	w := newWorld(t)
	id := map[string]any{"jti": "one"}
	good, own := w.asserts(id), w.key
	w.key = newKey(t)
	forged := w.asserts(id)
	w.key = own
	for _, kind := range []string{"nonsense", "password", "authorization_code", "client_credentials"} {
		if a := w.post("/oauth/token", with(url.Values{"grant_type": {kind}}, forged), w.proves(own, "/oauth/token")); a.Code < 400 {
			t.Errorf("%s: %d", kind, a.Code)
		}
	}
	form := with(url.Values{"grant_type": {"client_credentials"}}, good)
	w.post("/oauth/token", form, w.proves(own, "/oauth/token")).want(t, 200, "")
	w.post("/oauth/token", form, w.proves(own, "/oauth/token")).want(t, 401, "invalid_client")
}

// exchangeFunc is an http.RoundTripper.
type exchangeFunc func(*http.Request) (*http.Response, error)

func (f exchangeFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestLogoutsSideBySide: a client that does not answer keeps no other from being told.
func TestLogoutsSideBySide(t *testing.T) {
	told := make(chan struct{})
	w := newWorld(t, func(c *oauth.Config) {
		c.Zone.Identity.Clients[0].BackchannelLogoutURI = "https://slow.example/logout"
		c.Zone.Identity.Clients[6].BackchannelLogoutURI = "https://fast.example/logout"
		c.Client = &http.Client{Transport: exchangeFunc(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "fast.example" {
				close(told)
			}
			select {
			case <-told:
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})}
	})
	w.tokens("openid")
	b := w.browser()
	b.who.Session = "session2"
	w.post("/oauth/token", redeem(b.code(authorization("report", "https://report.example/cb", "openid")), "https://report.example/cb"), basic("report", secret)).want(t, 200, "")
	for _, s := range []string{"session1", "session2"} { // the slow one is due first
		must(t, w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return w.RevokeSessionTx(ctx, tx, user, s) }))
	}
	n, err := w.SendLogouts(t.Context())
	if n != 2 || err != nil || w.counted(oauth.EventLogoutSent) != 2 {
		t.Errorf("%d sent of %d: %v", w.counted(oauth.EventLogoutSent), n, err)
	}
}
