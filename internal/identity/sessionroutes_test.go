package identity

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

func TestSessions(t *testing.T) {
	w := newWorld(t, openZone())
	ada := w.addUser("ada@shop.example", goodPassword)
	w.addUser("eve@shop.example", goodPassword)
	first, second, third := w.login(ada.Email, goodPassword), w.login(ada.Email, goodPassword), w.login(ada.Email, goodPassword)
	eves := w.login("eve@shop.example", goodPassword)
	list := func(token string) []sessionJSON {
		t.Helper()
		rec := w.do(ask{method: "GET", path: "/auth/sessions", token: token})
		var got sessionsJSON
		if err := json.Unmarshal(rec.Body.Bytes(), &got); rec.Code != 200 || err != nil {
			t.Fatalf("sessions: %d %s", rec.Code, rec.Body)
		}
		return got.Sessions
	}
	got := list(second)
	if len(got) != 3 || !got[0].Current || got[1].Current || got[2].Current || got[0].Client != w.client || got[0].CreatedAt != "2026-03-01T12:00:00Z" {
		t.Fatalf("sessions = %+v, want three with the current one first", got)
	}
	body := w.do(ask{method: "GET", path: "/auth/sessions", token: second}).Body.String()
	for _, token := range []string{first, second, third} {
		if strings.Contains(body, token) {
			t.Error("the list holds a token")
		}
	}

	evesID := list(eves)[0].ID
	for _, c := range []struct {
		name, method, path, token string
		status                    int
		reason                    string
	}{
		{"somebody else's", "POST", "/auth/sessions/" + evesID + "/revoke", first, 404, "account.unknown"},
		{"somebody else's by DELETE", "DELETE", "/auth/sessions/" + evesID, first, 404, "account.unknown"},
		{"one that never was", "POST", "/auth/sessions/nothing/revoke", first, 404, "account.unknown"},
		{"anonymous", "POST", "/auth/sessions/" + got[1].ID + "/revoke", "", 401, "auth.missing"},
		{"anonymous, others", "POST", "/auth/sessions/revoke-others", "", 401, "auth.missing"},
		{"own by POST", "POST", "/auth/sessions/" + got[1].ID + "/revoke", second, 204, ""},
		{"own by POST again", "POST", "/auth/sessions/" + got[1].ID + "/revoke", second, 204, ""},
		{"own by DELETE", "DELETE", "/auth/sessions/" + got[2].ID, second, 204, ""},
	} {
		rec := w.do(ask{method: c.method, path: c.path, token: c.token})
		if rec.Code != c.status || reason(rec) != c.reason {
			t.Errorf("%s: %d %s, want %d %s", c.name, rec.Code, reason(rec), c.status, c.reason)
		}
	}
	if left := list(second); len(left) != 1 || !left[0].Current {
		t.Errorf("left are %+v, want the current one", left)
	}
	if len(list(eves)) != 1 {
		t.Error("somebody else's session ended")
	}

	w.login(ada.Email, goodPassword)
	w.login(ada.Email, goodPassword)
	rec := w.do(ask{method: "POST", path: "/auth/sessions/revoke-others", token: second})
	if rec.Code != 200 || strings.TrimSpace(rec.Body.String()) != `{"revoked":2}` || len(list(second)) != 1 || len(list(eves)) != 1 {
		t.Errorf("revoke-others: %d %s", rec.Code, rec.Body)
	}
	rec = w.do(ask{method: "POST", path: "/auth/sessions/" + list(second)[0].ID + "/revoke", cookie: second, header: map[string]string{"Accept": browser}})
	if c := cookieOf(rec); rec.Code != 303 || rec.Header().Get("Location") != "/auth/login?bye" || c == nil || c.MaxAge >= 0 {
		t.Errorf("revoking the current session on the page: %d %v", rec.Code, rec.Header())
	}
}

// TestKeysHaveNoAccount: an API key is no user.
func TestKeysHaveNoAccount(t *testing.T) {
	w := newWorld(t, openZone())
	for _, a := range []ask{
		{method: "GET", path: "/auth/me"}, {method: "GET", path: "/auth/sessions"}, {method: "POST", path: "/auth/logout"},
		{method: "POST", path: "/auth/sessions/revoke-others"}, {method: "DELETE", path: "/auth/sessions/x"},
	} {
		a.token = apiKey
		if rec := w.do(a); rec.Code != 403 || reason(rec) != "access.kind" {
			t.Errorf("%s %s with a key: %d %s, want 403 access.kind", a.method, a.path, rec.Code, reason(rec))
		}
	}
}

func TestCrossSite(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	for _, c := range []struct {
		name   string
		header map[string]string
		status int
	}{
		{"same origin", map[string]string{"Sec-Fetch-Site": "same-origin"}, 204},
		{"typed in", map[string]string{"Sec-Fetch-Site": "none"}, 204},
		{"no browser", nil, 204},
		{"own origin", map[string]string{"Origin": "https://shop.example"}, 204},
		{"another site", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"another host of the site", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"another origin", map[string]string{"Origin": "https://evil.example"}, 403},
		{"another port", map[string]string{"Origin": "https://shop.example:8444"}, 403},
		{"hidden origin", map[string]string{"Origin": "null"}, 403},
	} {
		token := w.login(u.Email, goodPassword)
		rec := w.do(ask{method: "POST", path: "/auth/logout", cookie: token, header: c.header})
		_, alive := w.sessions.lookup(token)
		if rec.Code != c.status || alive != (c.status == 403) || (c.status == 403 && reason(rec) != "auth.cross_site") {
			t.Errorf("%s: %d %s, session alive %v, want %d", c.name, rec.Code, reason(rec), alive, c.status)
		}
	}
	rec := w.do(ask{method: "POST", path: "/auth/login", body: "email=eve%40shop.example&password=" + "correct+horse+battery",
		header: map[string]string{"Content-Type": formType, "Origin": "https://evil.example", "Accept": browser}})
	if rec.Code != 403 || cookieOf(rec) != nil || !strings.Contains(rec.Body.String(), "another site") {
		t.Errorf("a login from another site: %d %v", rec.Code, rec.Header())
	}
}

// TestAccountGoneMeanwhile: the gateway may remember a principal for a moment
// longer than its account lives.
func TestAccountGoneMeanwhile(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	_, s := w.sessions.create(t, u.ID, 1)
	for _, c := range []struct {
		name    string
		change  func() error
		status  int
		reason  string
		cookies int
	}{
		{"as before", func() error { return nil }, 200, "", 0},
		{"disabled", func() error { return w.id.SetDisabled(t.Context(), u.ID, true) }, 401, "auth.revoked", 1},
		{"deleted", func() error { return w.id.DeleteUser(t.Context(), u.ID) }, 401, "auth.revoked", 1},
	} {
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "https://shop.example/auth/me", nil)
		rec := httptest.NewRecorder()
		p := policy.Principal{Kind: policy.User, Subject: u.ID, Session: s.ID, Method: "cookie"}
		w.id.pages.Handle(w.id.me).ServeHTTP(rec, r.WithContext(policy.WithPrincipal(r.Context(), &p)))
		if rec.Code != c.status || reason(rec) != c.reason || len(rec.Result().Cookies()) != c.cookies {
			t.Errorf("%s: %d %s %v, want %d %s", c.name, rec.Code, reason(rec), rec.Header(), c.status, c.reason)
		}
	}
}

// TestSessionsDown: what cannot be done is said, and no session is claimed ended.
func TestSessionsDown(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	token := w.login(u.Email, goodPassword)
	asks := map[string]ask{
		"login":         {method: "POST", path: "/auth/login", body: credentialsJSON(u.Email, goodPassword), header: map[string]string{"Content-Type": jsonType}},
		"logout":        {method: "POST", path: "/auth/logout", token: token},
		"list":          {method: "GET", path: "/auth/sessions", token: token},
		"revoke":        {method: "POST", path: "/auth/sessions/whatever/revoke", token: token},
		"revoke others": {method: "POST", path: "/auth/sessions/revoke-others", token: token},
	}
	w.sessions.fail = store.ErrUnavailable
	for name, a := range asks {
		if rec := w.do(a); rec.Code != 503 || reason(rec) != "auth.unavailable" || len(rec.Result().Cookies()) != 0 {
			t.Errorf("%s: %d %s, want 503 auth.unavailable", name, rec.Code, reason(rec))
		}
	}
	wantReason(t, "SetDisabled", w.id.SetDisabled(t.Context(), u.ID, true), problem.AuthUnavailable)
	w.sessions.fail = nil
	if err := w.id.SetDisabled(t.Context(), u.ID, true); err != nil || w.sessions.of(u.ID) != 0 {
		t.Errorf("the same again: %v with %d sessions, want it done", err, w.sessions.of(u.ID))
	}
}
