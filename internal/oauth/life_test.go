package oauth_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/oauth"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// TestLifetimes holds the ends of what is given out, by a clock that stands still
// while anything runs. The library has no clock of its own to inject.
func TestLifetimes(t *testing.T) {
	life := oauth.DefaultLifetimes
	for name, test := range map[string]func(*testing.T, *world){
		"code": func(t *testing.T, w *world) {
			young, old := w.browser().code(authorization("web-app", callback, "openid")), w.browser().code(authorization("web-app", callback, "openid"))
			time.Sleep(life.Code - 2*time.Second)
			w.post("/oauth/token", redeem(young, callback), basic("web-app", secret)).want(t, 200, "")
			time.Sleep(2 * time.Second)
			w.post("/oauth/token", redeem(old, callback), basic("web-app", secret)).want(t, 400, "invalid_grant")
		},
		"pushed request": func(t *testing.T, w *world) {
			uri := w.post("/oauth/par", authorization("web-app", callback, "openid"), basic("web-app", secret)).want(t, 201, "").text("request_uri")
			time.Sleep(life.Pushed)
			if a := w.browser().get("/oauth/authorize?" + url.Values{"client_id": {"web-app"}, "request_uri": {uri}}.Encode()); a.Code < 400 {
				t.Errorf("%d %s", a.Code, leads(t, a))
			}
		},
		"request": func(t *testing.T, w *world) {
			b := w.browser()
			b.who = nil
			next := leads(t, b.get("/oauth/authorize?"+authorization("web-app", callback, "openid").Encode())).Query().Get("next")
			time.Sleep(life.Request + time.Second)
			b.who = w.browser().who
			if a := b.get(next); a.Code != http.StatusGone {
				t.Errorf("%d %s", a.Code, leads(t, a))
			}
		},
		"access token": func(t *testing.T, w *world) {
			a := w.tokens("openid")
			time.Sleep(life.Access - 2*time.Second)
			w.good(a.text("access_token"), true)
			time.Sleep(2 * time.Second)
			if _, err := w.Resolve(t.Context(), a.text("access_token")); problem.ReasonOf(err) != problem.AuthExpired {
				t.Errorf("%v", err)
			}
		},
		"refresh token at rest": func(t *testing.T, w *world) {
			a := w.tokens("openid offline_access")
			time.Sleep(life.RefreshIdle + time.Second)
			w.post("/oauth/token", refresh(a.text("refresh_token")), basic("web-app", secret)).want(t, 400, "invalid_grant")
		},
		"refresh token in use": func(t *testing.T, w *world) {
			a := w.tokens("openid offline_access")
			begun := time.Now()
			for time.Since(begun) < life.Refresh-10*24*time.Hour {
				time.Sleep(10 * 24 * time.Hour)
				a = w.post("/oauth/token", refresh(a.text("refresh_token")), basic("web-app", secret)).want(t, 200, "")
			}
			time.Sleep(life.Refresh - time.Since(begun) + time.Second)
			w.post("/oauth/token", refresh(a.text("refresh_token")), basic("web-app", secret)).want(t, 400, "invalid_grant")
		},
		"overlap": func(t *testing.T, w *world) {
			a := w.tokens("openid")
			next := w.post("/oauth/token", refresh(a.text("refresh_token")), basic("web-app", secret)).want(t, 200, "")
			time.Sleep(life.Overlap)
			same := w.post("/oauth/token", refresh(a.text("refresh_token")), basic("web-app", secret)).want(t, 200, "")
			if same.text("refresh_token") != next.text("refresh_token") {
				t.Error("another successor")
			}
			time.Sleep(time.Second)
			w.post("/oauth/token", refresh(a.text("refresh_token")), basic("web-app", secret)).want(t, 400, "invalid_grant")
			w.good(next.text("access_token"), false)
		},
		"device code": func(t *testing.T, w *world) {
			form := url.Values{"client_id": {"cli"}, "scope": {"openid"}}
			a := w.post("/oauth/device_authorization", form).want(t, 200, "")
			poll := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {a.text("device_code")}, "client_id": {"cli"}}
			for range 3 {
				w.post("/oauth/token", poll).want(t, 400, "authorization_pending")
				time.Sleep(5 * time.Second)
			}
			time.Sleep(life.Device)
			w.post("/oauth/token", poll).want(t, 400, "expired_token")
			if b := w.browser().post("/oauth/device", url.Values{"user_code": {a.text("user_code")}}); b.Code != 400 {
				t.Errorf("its user code: %d", b.Code)
			}
		},
		"exchanged token": func(t *testing.T, w *world) {
			a := w.tokens("orders.read")
			time.Sleep(life.Access - time.Minute)
			b := w.post("/oauth/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {a.text("access_token")},
				"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}}, basic("batch", secret)).want(t, 200, "")
			time.Sleep(time.Minute)
			w.good(b.text("access_token"), false)
		},
		"an old hint": func(t *testing.T, w *world) {
			id := w.tokens("openid").text("id_token")
			time.Sleep(life.ID + time.Hour)
			if q := leads(t, w.browser().get("/oauth/authorize?"+authorization("web-app", callback, "openid", "prompt", "none", "id_token_hint", id).Encode())).Query(); q.Get("code") == "" {
				t.Errorf("%v", q)
			}
			if a := w.browser().get("/oauth/logout?" + url.Values{"id_token_hint": {id}}.Encode()); a.Code != 200 || len(w.users.ended) != 1 { // T9
				t.Errorf("logout: %d %v", a.Code, w.users.ended)
			}
		},
		"purge": func(t *testing.T, w *world) {
			w.tokens("openid offline_access")
			w.post("/oauth/par", with(authorization("bank", "https://bank.example/cb", "openid"), w.asserts(nil))).want(t, 201, "")
			time.Sleep(life.Refresh + 2*time.Hour)
			n, err := w.Purge(t.Context())
			must(t, err)
			var left int
			must(t, w.db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
				return tx.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM oauth_requests) + (SELECT COUNT(*) FROM oauth_grants) + (SELECT COUNT(*) FROM oauth_tokens)
					+ (SELECT COUNT(*) FROM oauth_refresh) + (SELECT COUNT(*) FROM oauth_assertions)`).Scan(&left)
			}))
			if n < 4 || left != 0 {
				t.Errorf("removed %d, left %d", n, left)
			}
		},
		"logouts in time": func(t *testing.T, w *world) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- w.Run(ctx) }()
			w.tokens("openid")
			must(t, w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return w.RevokeUserTx(ctx, tx, user) }))
			time.Sleep(7 * time.Minute)
			if w.counted(oauth.EventLogoutFailed) != 1 {
				t.Errorf("given up %d times", w.counted(oauth.EventLogoutFailed))
			}
			cancel()
			must(t, <-done)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test(t, newWorld(t, func(c *oauth.Config) { c.Client = &http.Client{Transport: unreachable{}} }))
			})
		})
	}
}

type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, problem.New(problem.UpstreamUnreachable, nil)
}
