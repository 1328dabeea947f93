package oauth_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
		"in the map, after restarts": func(w *world) {
			w.cfg.Zone = w.without("spa")
			w.Provider, w.mux = w.open()
			z := w.without("spa")
			z.Identity.Clients = append(z.Identity.Clients, again)
			w.cfg.Zone = z
			w.Provider, w.mux = w.open()
		},
		"in the map, after a restart without it that could end nothing": func(w *world) {
			// As the first of two starts leaves it when the store fails in between.
			w.exec("UPDATE oauth_map_clients SET gone_at = ? WHERE id = 'spa'", store.Micros(time.Now()))
			z := w.without("spa")
			z.Identity.Clients = append(z.Identity.Clients, again)
			w.cfg.Zone = z
			w.Provider, w.mux = w.open()
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

// TestMapClients: a map that comes into force ends what clients were granted that it
// does not name any more, however many grants those are, and nothing else: neither that
// of clients which it names, nor of those of the command line.
func TestMapClients(t *testing.T) {
	w := newWorld(t)
	added, err := w.AddClient(t.Context(), oauth.NewClient{Client: zone.Client{ID: "added", Kind: "confidential", Scopes: []string{"openid", "orders.read", "offline_access"}, RedirectURIs: []string{callback}, Grants: []string{"authorization_code", "refresh_token"}, Consent: true}})
	must(t, err)
	clients := map[string][]request{"spa": nil, "web-app": {basic("web-app", secret)}, "added": {basic("added", added)}}
	to := map[string]string{"spa": "https://spa.example/cb", "web-app": callback, "added": callback}
	granted := map[string]answer{}
	const scope = "openid orders.read offline_access"
	for id, shows := range clients {
		granted[id] = w.post("/oauth/token", redeem(w.browser().code(authorization(id, to[id], scope)), to[id], "client_id", id), shows...).want(t, 200, "")
	}
	must(t, w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { // more than one transaction ends
		for n := range 1100 {
			if _, err := tx.Exec(ctx, `INSERT INTO oauth_grants (id, kind, sub, client_id, session_id, sid, offline, scopes, refresh_wanted, jkt, x5t, level, authenticated_at, version, created_at, used_at, expires_at, data)
				VALUES (?, 'user', ?, 'spa', '', '', 1, 'openid', 0, '', '', 1, 0, 1, 1, 1, ?, '{}')`, "many-"+strconv.Itoa(n), user, store.Micros(time.Now().Add(time.Hour))); err != nil {
				return err
			}
		}
		return nil
	}))
	live := func(id string) (n int) {
		t.Helper()
		must(t, w.db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			return tx.QueryRow(ctx, "SELECT (SELECT COUNT(*) FROM oauth_grants WHERE client_id = ? AND revoked_at = 0) + (SELECT COUNT(*) FROM oauth_consents WHERE client_id = ?)", id, id).Scan(&n)
		}))
		return n
	}
	check := func(step string, want map[string]int) {
		t.Helper()
		for id, n := range want {
			if got := live(id); got != n {
				t.Errorf("%s: %s has %d grants and consents, want %d", step, id, got, n)
			}
		}
	}
	check("at first", map[string]int{"spa": 1102, "web-app": 1, "added": 2})
	var log bytes.Buffer
	w.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	w.cfg.Zone = w.without("spa")
	w.Provider, w.mux = w.open()
	check("a start without spa", map[string]int{"spa": 0, "web-app": 1, "added": 2})
	if !strings.Contains(log.String(), "client=spa grants=1101") || strings.Count(log.String(), "does not name a client any more") != 1 {
		t.Errorf("log: %s", &log)
	}
	w.cfg.Zone = w.zone
	w.Provider, w.mux = w.open()
	w.good(granted["spa"].text("access_token"), false)
	for id, shows := range clients {
		if id == "spa" {
			w.post("/oauth/token", refresh(granted[id].text("refresh_token"), "client_id", id)).want(t, 400, "invalid_grant")
			continue
		}
		w.good(granted[id].text("access_token"), true)
		w.post("/oauth/token", refresh(granted[id].text("refresh_token"), "client_id", id), shows...).want(t, 200, "")
	}
	// A reload does the same, and what is granted after a client came back is its own.
	again := w.post("/oauth/token", redeem(w.browser().code(authorization("spa", to["spa"], scope)), to["spa"], "client_id", "spa")).want(t, 200, "")
	must(t, w.Reload(w.zone))
	w.good(again.text("access_token"), true)
	must(t, w.Reload(w.without("spa")))
	must(t, w.Reload(w.zone))
	w.good(again.text("access_token"), false)
	check("a reload without spa", map[string]int{"spa": 0, "web-app": 1, "added": 2})
	// The map takes the id of a client of the command line, and gives it back.
	z := *w.zone
	z.Identity.Clients = append(slices.Clone(z.Identity.Clients), zone.Client{ID: "added", Kind: "public", RedirectURIs: []string{callback}, Scopes: []string{"openid"}})
	must(t, w.Reload(&z))
	must(t, w.Reload(w.zone))
	check("an id of the command line", map[string]int{"added": 2})
}

// exec writes past the provider.
func (w *world) exec(statement string, args ...any) {
	w.t.Helper()
	must(w.t, w.db.Tx(w.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, statement, args...)
		return err
	}))
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
