package identity

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/store"
)

func TestMethodsOfThePages(t *testing.T) {
	w := newWorld(t, openZone())
	for _, path := range []string{"/auth/login", "/auth/register"} {
		for _, accept := range []string{"", "*/*", jsonType} {
			rec := w.do(ask{method: "GET", path: path, header: map[string]string{"Accept": accept}})
			if rec.Code != 405 || rec.Header().Get("Allow") != "POST" || reason(rec) != "route.method" {
				t.Errorf("GET %s with Accept %q: %d %s, want 405", path, accept, rec.Code, reason(rec))
			}
		}
		rec := w.do(ask{method: "GET", path: path, header: map[string]string{"Accept": browser}})
		if rec.Code != 200 || !strings.HasPrefix(rec.Header().Get("Content-Type"), "text/html") {
			t.Errorf("GET %s for a browser: %d %v", path, rec.Code, rec.Header())
		}
	}
}

// cookieOf returns the session cookie that an answer sets.
func cookieOf(rec *httptest.ResponseRecorder) *http.Cookie {
	for _, c := range rec.Result().Cookies() {
		if c.Name == CookieName {
			return c
		}
	}
	return nil
}

func TestLoginForm(t *testing.T) {
	w := newWorld(t, openZone())
	w.addUser("ada@shop.example", goodPassword)
	const fields = "email=+ada%40shop.example+&password=correct+horse+battery"
	for _, c := range []struct{ name, body, to string }{
		{"plain", fields, "/auth/account"},
		{"with a way back", fields + "&next=%2Forders%2F7%3Fx%3Dy", "/orders/7?x=y"},
		{"led away", fields + "&next=https%3A%2F%2Fevil.example%2F", "/auth/account"},
		{"led away without scheme", fields + "&next=%2F%2Fevil.example%2F", "/auth/account"},
		{"split header", fields + "&next=%2Fx%0d%0aSet-Cookie:+a=b", "/auth/account"},
	} {
		rec := w.postForm("/auth/login", c.body)
		cookie := cookieOf(rec)
		if rec.Code != 303 || rec.Header().Get("Location") != c.to || cookie == nil {
			t.Fatalf("%s: %d to %q, cookie %v, want 303 to %q", c.name, rec.Code, rec.Header().Get("Location"), cookie, c.to)
		}
		if !cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Domain != "" || cookie.MaxAge != 0 || !cookie.Expires.IsZero() {
			t.Errorf("%s: cookie %v", c.name, cookie.Raw)
		}
		if _, ok := w.sessions.lookup(cookie.Value); !ok || rec.Body.Len() != 0 {
			t.Errorf("%s: the cookie opens nothing, or the token is in the body %q", c.name, rec.Body)
		}
	}
	if c := cookieOf(w.postForm("/auth/login", fields+"&remember=on")); c == nil || c.MaxAge != int(30*24*time.Hour/time.Second) {
		t.Errorf("remembered: %v, want Max-Age of 30 days", c)
	}
	rec := w.postForm("/auth/login", "email=ada%40shop.example&password=wrong&remember=on&next=%2Forders")
	page := rec.Body.String()
	if rec.Code != 401 || reason(rec) != "auth.login" || cookieOf(rec) != nil {
		t.Fatalf("a wrong password: %d %s %v", rec.Code, reason(rec), rec.Header())
	}
	for _, want := range []string{`role="alert"`, `value="ada@shop.example"`, `value="/orders"`, " checked", "<title>Error: "} {
		if !strings.Contains(page, want) {
			t.Errorf("the page shown again has no %s:\n%s", want, page)
		}
	}
	if strings.Contains(page, "wrong\"") || strings.Contains(page, `value="wrong`) {
		t.Error("the page shown again holds the password")
	}
}

func TestLoginPage(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	get := func(path, cookie string) *httptest.ResponseRecorder {
		return w.do(ask{method: "GET", path: path, cookie: cookie, header: map[string]string{"Accept": browser}})
	}
	if page := get("/auth/login?next=/orders", "").Body.String(); !strings.Contains(page, `name="next" value="/orders"`) {
		t.Errorf("the way back is lost:\n%s", page)
	}
	if page := get("/auth/login?next=//evil.example", "").Body.String(); strings.Contains(page, "evil") {
		t.Errorf("a way out was taken:\n%s", page)
	}
	if page := get(`/auth/login?next=/"><script>`, "").Body.String(); strings.Contains(page, "><script>") {
		t.Errorf("next is written unescaped:\n%s", page)
	}
	token := w.login(u.Email, goodPassword)
	if rec := get("/auth/login?next=/orders", token); rec.Code != 303 || rec.Header().Get("Location") != "/orders" {
		t.Errorf("logged in already: %d to %q", rec.Code, rec.Header().Get("Location"))
	}
	if rec := get("/auth/login?next=/auth/login", token); rec.Header().Get("Location") != "/auth/account" {
		t.Errorf("a way back into itself: %q", rec.Header().Get("Location"))
	}
	for path, want := range map[string]string{"/auth/account": "/auth/login", "/auth/step-up": "/auth/login"} {
		if rec := get(path, ""); rec.Code != 303 || rec.Header().Get("Location") != want || reason(rec) != "auth.missing" {
			t.Errorf("%s without a session: %d to %q, want 303 to %q", path, rec.Code, rec.Header().Get("Location"), want)
		}
		if rec := get(path, token); path == "/auth/account" && rec.Code != 200 || !strings.Contains(rec.Body.String(), "ada@shop.example") {
			t.Errorf("%s: %d\n%s", path, rec.Code, rec.Body)
		}
	}
	if err := w.id.SetDisabled(t.Context(), u.ID, true); err != nil {
		t.Fatal(err)
	}
	if rec := get("/auth/account", token); rec.Code != 303 {
		t.Errorf("disabled: %d, want 303", rec.Code)
	}
}

func TestRegisterForm(t *testing.T) {
	w := newWorld(t, openZone())
	rec := w.postForm("/auth/register", "email=ada%40shop.example&password=correct+horse+battery&next=%2Forders")
	if rec.Code != 303 || rec.Header().Get("Location") != "/orders" || cookieOf(rec) == nil || cookieOf(rec).MaxAge != 0 {
		t.Fatalf("register: %d %v", rec.Code, rec.Header())
	}
	for body, want := range map[string]string{
		"email=ada%40shop.example&password=correct+horse+battery": "There is an account with this address",
		"email=ada&password=correct+horse+battery":                "Check the e-mail address",
		"email=eve%40shop.example&password=password1234567":       "Choose another",
	} {
		rec := w.postForm("/auth/register", body)
		if rec.Code < 400 || !strings.Contains(rec.Body.String(), want) || !strings.Contains(rec.Body.String(), `aria-invalid="true"`) {
			t.Errorf("register %s: %d, no %q in\n%s", body, rec.Code, want, rec.Body)
		}
		if strings.Contains(rec.Body.String(), "correct horse") || strings.Contains(rec.Body.String(), `value="password1`) {
			t.Error("the page shown again holds the password")
		}
	}
}

func TestLogoutPage(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	token := w.login(u.Email, goodPassword)
	for _, c := range []struct{ name, cookie string }{{"with a session", token}, {"with one that ended", token}, {"without", ""}} {
		rec := w.do(ask{method: "POST", path: "/auth/logout", cookie: c.cookie, header: map[string]string{"Accept": browser, "Content-Type": formType}})
		cookie := cookieOf(rec)
		if rec.Code != 303 || rec.Header().Get("Location") != "/auth/login?bye" || rec.Header().Get("Clear-Site-Data") != `"storage", "cache"` {
			t.Errorf("%s: %d %v", c.name, rec.Code, rec.Header())
		}
		if cookie == nil || cookie.MaxAge >= 0 || cookie.Value != "" || !cookie.Secure || cookie.Path != "/" {
			t.Errorf("%s: the cookie is not cleared: %v", c.name, cookie)
		}
		if _, ok := w.sessions.lookup(token); ok {
			t.Errorf("%s: the session is alive", c.name)
		}
	}
	token = w.login(u.Email, goodPassword)
	rec := w.do(ask{method: "POST", path: "/auth/logout", cookie: token})
	if c := cookieOf(rec); rec.Code != 204 || c == nil || c.MaxAge >= 0 || rec.Header().Get("Clear-Site-Data") == "" {
		t.Errorf("a script that logs out with the cookie: %d %v", rec.Code, rec.Header())
	}
}

// TestEveryAnswerIsGuarded checks the headers of every page, allowed or refused.
func TestEveryAnswerIsGuarded(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	token := w.login(u.Email, goodPassword)
	html := map[string]string{"Accept": browser}
	form := map[string]string{"Accept": browser, "Content-Type": formType}
	for name, a := range map[string]ask{
		"login":        {method: "GET", path: "/auth/login", header: html},
		"register":     {method: "GET", path: "/auth/register", header: html},
		"account":      {method: "GET", path: "/auth/account", header: html, cookie: token},
		"wrong login":  {method: "POST", path: "/auth/login", header: form, body: "email=a&password=b"},
		"broken form":  {method: "POST", path: "/auth/login", header: form, body: "email=%zz"},
		"wrong type":   {method: "POST", path: "/auth/login", header: html, body: "x"},
		"foreign site": {method: "POST", path: "/auth/login", header: map[string]string{"Accept": browser, "Origin": "null"}},
	} {
		rec := w.do(a)
		h := rec.Header()
		for k, want := range map[string]string{
			"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "same-origin", "X-Frame-Options": "DENY", "Vary": "Accept, Accept-Language",
		} {
			if h.Get(k) != want {
				t.Errorf("%s (%d): %s is %q, want %q", name, rec.Code, k, h.Get(k), want)
			}
		}
		if policy := h.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", name, policy)
		}
		if (rec.Code >= 400) != (reason(rec) != "") {
			t.Errorf("%s: status %d with reason %q", name, rec.Code, reason(rec))
		}
		for _, word := range []string{" style=", "onclick", "http://", "https://"} {
			if strings.Contains(rec.Body.String(), word) {
				t.Errorf("%s: the page holds %q", name, word)
			}
		}
	}
	if rec := w.do(ask{method: "GET", path: "/auth/style.css"}); rec.Code != 200 || rec.Header().Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("style: %d %v", rec.Code, rec.Header())
	}
}

// TestHostileAgent: what a browser says of itself is text.
func TestHostileAgent(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	w.do(ask{method: "POST", path: "/auth/login", body: credentialsJSON(u.Email, goodPassword),
		header: map[string]string{"Content-Type": jsonType, "User-Agent": "<b>\x01" + strings.Repeat("é", 500)}})
	agent := w.sessions.asked()[0].Agent
	if len(agent) > agentMax || strings.ContainsRune(agent, 1) || !strings.HasPrefix(agent, "<b>é") {
		t.Errorf("kept of the agent: %q", agent)
	}
	page := w.do(ask{method: "GET", path: "/auth/account", token: w.login(u.Email, goodPassword), header: map[string]string{"Accept": browser}})
	if page.Code != 200 || strings.Contains(page.Body.String(), "<b>") {
		t.Errorf("page: %d\n%s", page.Code, page.Body)
	}
	if got := slices.Collect(strings.Lines(page.Body.String())); len(got) < 10 {
		t.Errorf("page of %d lines", len(got))
	}
}

// TestLogoutEverywhere ends all sessions, what was granted without one, and what
// the browser is known by.
func TestLogoutEverywhere(t *testing.T) {
	w := newWorld(t, openZone())
	var ended []string
	w.id.config.Ended = func(_ context.Context, _ *store.Tx, user, session string) error {
		ended = append(ended, user+" "+session)
		return nil
	}
	u, other := w.addUser("ada@shop.example", goodPassword), w.addUser("eve@shop.example", goodPassword)
	w.sessions.create(t, other.ID, 1)
	html := map[string]string{"Content-Type": formType, "Accept": browser}
	for _, c := range []struct {
		name     string
		ask      ask
		sessions int
		clear    string
		status   int
	}{
		{"here, JSON", ask{body: "{}", header: map[string]string{"Content-Type": jsonType}}, 1, `"storage", "cache"`, 204},
		{"not everywhere, JSON", ask{body: `{"everywhere":false}`, header: map[string]string{"Content-Type": jsonType}}, 1, `"storage", "cache"`, 204},
		{"everywhere, JSON", ask{body: `{"everywhere":true}`, header: map[string]string{"Content-Type": jsonType}}, 0, `"cookies", "storage", "cache"`, 204},
		{"here, a page", ask{header: html}, 1, `"storage", "cache"`, 303},
		{"everywhere, a page", ask{body: "everywhere=on", header: html}, 0, `"cookies", "storage", "cache"`, 303},
		{"nonsense", ask{body: `{"everywhere":"yes"}`, header: map[string]string{"Content-Type": jsonType}}, 2, "", 400},
	} {
		ended = nil
		if err := w.id.SetDisabled(t.Context(), u.ID, true); err != nil { // ends what is left
			t.Fatal(err)
		}
		if err := w.id.SetDisabled(t.Context(), u.ID, false); err != nil {
			t.Fatal(err)
		}
		ended = nil
		w.sessions.create(t, u.ID, 1)
		c.ask.method, c.ask.path = "POST", "/auth/logout"
		c.ask.cookie, _ = w.sessions.create(t, u.ID, 1)
		rec := w.do(c.ask)
		device := cookieNamed(rec, DeviceCookie)
		if rec.Code != c.status || w.sessions.of(u.ID) != c.sessions || rec.Header().Get("Clear-Site-Data") != c.clear || (device != nil) != (c.sessions == 0) {
			t.Errorf("%s: %d with %d sessions, %v", c.name, rec.Code, w.sessions.of(u.ID), rec.Header())
		}
		if (len(ended) == 1 && ended[0] == u.ID+" ") != (c.sessions == 0) {
			t.Errorf("%s: told ended %q", c.name, ended)
		}
	}
	if w.sessions.of(other.ID) != 1 {
		t.Error("another user's session ended")
	}
	w.id.config.Ended = func(context.Context, *store.Tx, string, string) error { return store.ErrUnavailable }
	token, _ := w.sessions.create(t, u.ID, 1)
	rec := w.as(token, "/auth/logout", `{"everywhere":true}`)
	if _, alive := w.sessions.lookup(token); rec.Code != 503 || !alive || rec.Header().Get("Clear-Site-Data") != "" {
		t.Errorf("what cannot be ended: %d, alive %v, want 503 and nothing ended", rec.Code, alive)
	}
}

// TestLeaving: who is to be deleted is told at every login.
func TestLeaving(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	if a := w.first(u.Email); a.DeleteAt != "" {
		t.Errorf("who stays is told %q", a.DeleteAt)
	}
	w.exec("UPDATE users SET delete_at = ? WHERE id = ?", store.Micros(w.now.time().Add(24*time.Hour)), u.ID)
	if a := w.first(u.Email); a.DeleteAt != "2026-03-02T12:00:00Z" || a.Token == "" {
		t.Errorf("who leaves is told %+v", a)
	}
	rec := w.postForm("/auth/login", "email=ada%40shop.example&password=correct+horse+battery&next=%2Forders")
	if rec.Code != 303 || rec.Header().Get("Location") != "/auth/account" {
		t.Errorf("page: %d to %q, want the account, where it can be kept", rec.Code, rec.Header().Get("Location"))
	}
	page := w.do(ask{method: "GET", path: "/auth/account", cookie: cookieOf(rec).Value, header: map[string]string{"Accept": browser}})
	if !strings.Contains(page.Body.String(), `action="/auth/delete/cancel"`) {
		t.Error("the account page offers no way to keep it")
	}
}

// TestProgramsHaveNoAccount: a program that acts for a user by OAuth looks after no
// account.
func TestProgramsHaveNoAccount(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	_, s := w.sessions.create(t, u.ID, 2)
	for oauth, want := range map[bool]int{false: 200, true: 403} {
		r := httptest.NewRequest("GET", "https://shop.example/auth/factors", nil)
		p := policy.Principal{Kind: policy.User, Subject: u.ID, OAuth: oauth, Session: s.ID, Level: 2, AuthTime: w.now.time()}
		rec := httptest.NewRecorder()
		w.id.pages.Handle(w.id.listFactors).ServeHTTP(rec, r.WithContext(policy.WithPrincipal(r.Context(), &p)))
		if rec.Code != want {
			t.Errorf("oauth %v: %d, want %d", oauth, rec.Code, want)
		}
	}
}
