package identity

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// TestEnroll: who must hold a second factor makes one before there is a session.
func TestEnroll(t *testing.T) {
	required := openZone()
	required.Identity.MFARequired = true
	for _, c := range []struct {
		name  string
		zone  *zone.Zone
		roles []string
		step  string
	}{
		{"nobody must", openZone(), []string{"support"}, ""},
		{"the zone says so", required, nil, "enroll"},
		{"an administrator", openZone(), []string{AdminRole}, "enroll"},
	} {
		w := newWorld(t, c.zone)
		u := w.addUser("ada@shop.example", goodPassword, c.roles...)
		a := w.want(w.post("/auth/login", object("email", u.Email, "password", goodPassword, "remember", true)), 200, c.name)
		if a.Step != c.step {
			t.Errorf("%s: step %q, want %q", c.name, a.Step, c.step)
		}
		if c.step == "" {
			continue
		}
		if a.Token != "" || w.sessions.of(u.ID) != 0 {
			t.Errorf("%s: a session without a second factor", c.name)
		}
		for _, path := range []string{"/auth/mfa/totp", "/auth/mfa/recovery"} {
			w.refused(w.post(path, object("flow", a.Flow, "code", "000000")), "account.flow", "another step")
		}
		w.refused(w.post("/auth/mfa/enroll", object("flow", a.Flow, "code", "000000")), "account.flow", "before an app was begun")
		a = w.want(w.post("/auth/login", credentialsJSON(u.Email, goodPassword)), 200, c.name)
		app := w.want(w.post("/auth/mfa/enroll/begin", object("flow", a.Flow)), 200, "begin")
		if app.Flow != a.Flow || app.Secret == "" || !strings.HasPrefix(app.URI, "otpauth://totp/") || !strings.HasPrefix(app.QR, "<svg") {
			t.Errorf("%s: begun %+v", c.name, app)
		}
		w.refused(w.post("/auth/mfa/enroll", object("flow", a.Flow, "code", w.wrong(app.Secret))), "account.factor", "a wrong code")
		done := w.want(w.post("/auth/mfa/enroll", object("flow", a.Flow, "code", w.code(app.Secret))), 200, "finish")
		s, ok := w.sessions.lookup(done.Token)
		if !ok || s.Level != 2 || s.Method != "password+totp" || s.Remember || len(done.Codes) != 10 {
			t.Errorf("%s: session %+v (%v) with %d codes", c.name, s, ok, len(done.Codes))
		}
		if letters := w.letters.take(); !slices.Contains(letters, "factor-added") {
			t.Errorf("%s: letters %q", c.name, letters)
		}
		w.refused(w.post("/auth/mfa/enroll", object("flow", a.Flow, "code", w.code(app.Secret))), "account.flow", "again")
		w.now.advance(time.Minute)
		b := w.first(u.Email)
		if b.Step != "mfa" {
			t.Errorf("%s: the next login asks for %q, want mfa", c.name, b.Step)
		}
		w.refused(w.post("/auth/mfa/enroll/begin", object("flow", b.Flow)), "account.flow", "a second factor is not bypassed by another")
		w.want(w.post("/auth/mfa/recovery", object("flow", b.Flow, "code", done.Codes[0])), 200, "a code that was shown")

		// The last one stays.
		list := w.want(w.do(ask{method: "GET", path: "/auth/factors", token: done.Token}), 200, "factors")
		if !list.Required || list.CodesLeft != 9 {
			t.Errorf("%s: factors %+v", c.name, list)
		}
	}
}

// TestEnrollPage walks it as a browser does.
func TestEnrollPage(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword, AdminRole)
	post := func(path string, v url.Values, cookies ...*http.Cookie) (string, *http.Cookie, int) {
		rec := w.do(ask{method: "POST", path: path, body: v.Encode(), more: cookies, header: map[string]string{"Content-Type": formType, "Accept": browser}})
		return rec.Body.String(), cookieOf(rec), rec.Code
	}
	rec := w.do(ask{method: "POST", path: "/auth/login", body: url.Values{"email": {u.Email}, "password": {goodPassword}, "remember": {"on"}, "next": {"/orders"}}.Encode(),
		header: map[string]string{"Content-Type": formType, "Accept": browser}})
	flow, bound := flowIn(rec.Body.String()), cookieNamed(rec, FlowCookie)
	if rec.Code != 200 || !isFlow(flow) || bound == nil || cookieOf(rec) != nil {
		t.Fatalf("login: %d\n%s", rec.Code, rec.Body)
	}
	page, _, code := post("/auth/factors/totp/begin", url.Values{"flow": {flow}, "next": {"/orders"}}, bound)
	_, rest, _ := strings.Cut(page, `<code id="secret">`)
	secret, _, _ := strings.Cut(rest, "<")
	if code != 200 || secret == "" || !strings.Contains(page, "<svg") {
		t.Fatalf("begin: %d\n%s", code, page)
	}
	if _, c, status := post("/auth/factors/totp", url.Values{"flow": {flow}, "code": {w.code(secret)}}); c != nil || status != 410 {
		t.Errorf("in another browser: %d, want 410", status)
	}
	page, _, code = post("/auth/factors/totp", url.Values{"flow": {flow}, "code": {w.wrong(secret)}}, bound)
	if code != 401 || !strings.Contains(page, secret) {
		t.Errorf("a wrong code: %d, want the same app again", code)
	}
	page, session, code := post("/auth/factors/totp", url.Values{"flow": {flow}, "code": {w.code(secret)}, "next": {"/orders"}}, bound)
	if code != 200 || session == nil || session.MaxAge != 0 || strings.Count(page, "<li><code>") != 10 || !strings.Contains(page, `href="/orders"`) {
		t.Errorf("a right code: %d, cookie %v\n%s", code, session, page)
	}
}

// TestAgedPassword: where the zone says so, a password that is too old is replaced
// before there is a session, and after the second factor.
func TestAgedPassword(t *testing.T) {
	z := openZone()
	z.Identity.PasswordMax = 90 * 24 * time.Hour
	w := newWorld(t, z)
	u, v := w.addUser("ada@shop.example", goodPassword), w.addUser("eve@shop.example", goodPassword)
	secret := w.giveApp(v.ID)
	w.now.advance(z.Identity.PasswordMax - time.Hour)
	w.login(u.Email, goodPassword)
	w.now.advance(time.Hour)
	w.letters.take()
	a := w.first(u.Email)
	if a.Step != "password" || a.Token != "" {
		t.Fatalf("login = %+v, want the step password", a)
	}
	for password, want := range map[string]string{goodPassword: "account.password", "short": "account.password", "": "account.invalid"} {
		w.refused(w.post("/auth/mfa/password", object("flow", a.Flow, "password", password)), want, "password "+password)
	}
	done := w.want(w.post("/auth/mfa/password", object("flow", a.Flow, "password", "another good one")), 200, "a new one")
	if s, ok := w.sessions.lookup(done.Token); !ok || s.Level != 1 || s.Method != "password" || w.sessions.of(u.ID) != 1 {
		t.Errorf("session %+v (%v), %d of them, want the new one alone", s, ok, w.sessions.of(u.ID))
	}
	if letters := w.letters.take(); !slices.Contains(letters, "password-changed") {
		t.Errorf("letters %q", letters)
	}
	w.refused(w.post("/auth/mfa/password", object("flow", a.Flow, "password", "yet another good one")), "account.flow", "again")
	w.login(u.Email, "another good one")

	// With a second factor that is asked for first, and eight characters do.
	a = w.first(v.Email)
	w.refused(w.post("/auth/mfa/password", object("flow", a.Flow, "password", "another good one")), "account.flow", "before the second factor")
	b := w.want(w.post("/auth/mfa/totp", object("flow", a.Flow, "code", w.code(secret))), 200, "the second factor")
	if b.Step != "password" || b.Flow == a.Flow || b.Token != "" {
		t.Fatalf("after the second factor: %+v, want the step password", b)
	}
	done = w.want(w.post("/auth/mfa/password", object("flow", b.Flow, "password", "zw4 kQ9p")), 200, "eight characters")
	if s, _ := w.sessions.lookup(done.Token); s.Level != 2 || s.Method != "password+totp" {
		t.Errorf("session %+v", s)
	}

	// As a page.
	w.now.advance(z.Identity.PasswordMax)
	rec := w.postForm("/auth/login", url.Values{"email": {u.Email}, "password": {"another good one"}}.Encode())
	if rec.Code != 200 || !isFlow(flowIn(rec.Body.String())) || !strings.Contains(rec.Body.String(), `action="/auth/mfa/password"`) {
		t.Fatalf("page: %d\n%s", rec.Code, rec.Body)
	}
	form := ask{method: "POST", path: "/auth/mfa/password", more: []*http.Cookie{cookieNamed(rec, FlowCookie)},
		header: map[string]string{"Content-Type": formType, "Accept": browser}}
	form.body = url.Values{"flow": {flowIn(rec.Body.String())}, "password": {"password1234567"}}.Encode()
	if rec := w.do(form); rec.Code != 422 || !isFlow(flowIn(rec.Body.String())) || cookieOf(rec) != nil {
		t.Errorf("a common one: %d, want the page again", rec.Code)
	}
	form.body = url.Values{"flow": {flowIn(rec.Body.String())}, "password": {"a third good one"}}.Encode()
	if rec := w.do(form); rec.Code != 303 || cookieOf(rec) == nil {
		t.Errorf("a good one: %d %v", rec.Code, rec.Header())
	}
}

// TestAdministrators: who becomes one logs in anew, and is never remembered.
func TestAdministrators(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword, "support")
	secret := w.giveApp(u.ID)
	enter := func() string {
		t.Helper()
		a := w.want(w.post("/auth/login", object("email", u.Email, "password", goodPassword, "remember", true)), 200, "login")
		done := w.want(w.post("/auth/mfa/totp", object("flow", a.Flow, "code", w.code(secret))), 200, "code")
		w.now.advance(time.Minute)
		return done.Token
	}
	token := enter()
	if s, _ := w.sessions.lookup(token); !s.Remember {
		t.Errorf("positive control: a user who is no administrator is remembered: %+v", s)
	}
	if err := w.id.GrantRoles(t.Context(), u.ID, []string{"x"}); err != nil || w.sessions.of(u.ID) != 1 {
		t.Errorf("another role: %v with %d sessions, want it kept", err, w.sessions.of(u.ID))
	}
	if err := w.id.GrantRoles(t.Context(), u.ID, []string{AdminRole}); err != nil || w.sessions.of(u.ID) != 0 {
		t.Errorf("administrator: %v with %d sessions, want none", err, w.sessions.of(u.ID))
	}
	token = enter()
	if s, _ := w.sessions.lookup(token); s.Remember || s.Level != 2 {
		t.Errorf("an administrator is remembered: %+v", s)
	}
	if err := w.id.GrantRoles(t.Context(), u.ID, []string{"y"}); err != nil || w.sessions.of(u.ID) != 1 {
		t.Errorf("a role more of an administrator: %v with %d sessions, want it kept", err, w.sessions.of(u.ID))
	}
}

// TestBootstrap: the first administrator is made once, with a token, and with a
// second factor.
func TestBootstrap(t *testing.T) {
	w := newWorld(t, openZone())
	w.addUser("eve@shop.example", goodPassword, "superadmin", "administrator")
	old, _, err := w.id.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	token, expires, err := w.id.Bootstrap(t.Context())
	if err != nil || !isFlow(token) || !expires.Equal(w.now.time().Add(time.Hour)) {
		t.Fatalf("Bootstrap = %q until %v, %v", token, expires, err)
	}
	body := func(token, email, password string) string {
		return object("token", token, "email", email, "password", password)
	}
	page := w.do(ask{method: "GET", path: "/auth/bootstrap?token=" + token, header: map[string]string{"Accept": browser}})
	if page.Code != 200 || !strings.Contains(page.Body.String(), token) {
		t.Errorf("page: %d\n%s", page.Code, page.Body)
	}
	for _, c := range []struct{ name, body, want string }{
		{"the one before", body(old, "ada@shop.example", goodPassword), "account.flow"},
		{"made up", body(strings.Repeat("A", 43), "ada@shop.example", goodPassword), "account.flow"},
		{"none", body("", "ada@shop.example", goodPassword), "account.flow"},
		{"a flow of another kind", body(w.otherFlow(), "ada@shop.example", goodPassword), "account.flow"},
		{"weak", body(token, "ada@shop.example", "password1234567"), "account.password"},
		{"no address", body(token, "ada", goodPassword), "account.invalid"},
		{"taken", body(token, "eve@shop.example", goodPassword), "account.exists"},
		{"roles", object("token", token, "email", "a@b.example", "password", goodPassword, "roles", "x"), "account.invalid"},
	} {
		w.refused(w.post("/auth/bootstrap", c.body), c.want, c.name)
	}
	a := w.want(w.post("/auth/bootstrap", body(token, "ada@shop.example", goodPassword)), 200, "bootstrap")
	u, err := w.id.User(t.Context(), "ada@shop.example")
	if err != nil || a.Step != "enroll" || !u.Verified || !slices.Equal(u.Roles, []string{AdminRole}) || w.sessions.of(u.ID) != 0 {
		t.Fatalf("bootstrap = %+v, %+v, %v", a, u, err)
	}
	w.refused(w.post("/auth/bootstrap", body(token, "bob@shop.example", goodPassword)), "account.flow", "again")
	if _, _, err := w.id.Bootstrap(t.Context()); err == nil || !strings.Contains(err.Error(), "admin.conflict") {
		t.Errorf("a token beside an administrator: %v, want admin.conflict", err)
	}
	app := w.want(w.post("/auth/mfa/enroll/begin", object("flow", a.Flow)), 200, "begin")
	done := w.want(w.post("/auth/mfa/enroll", object("flow", a.Flow, "code", w.code(app.Secret))), 200, "finish")
	if s, ok := w.sessions.lookup(done.Token); !ok || s.User != u.ID || s.Level != 2 {
		t.Errorf("session %+v (%v)", s, ok)
	}
	if got := w.id.BootstrapURL("x"); got != "https://shop.example/auth/bootstrap?token=x" {
		t.Errorf("BootstrapURL = %q", got)
	}
}

// TestBootstrapEnds: a token is of use for an hour, and while there is no
// administrator.
func TestBootstrapEnds(t *testing.T) {
	for name, spoil := range map[string]func(w *world){
		"not at all":                func(*world) {},
		"an hour":                   func(w *world) { w.now.advance(time.Hour) },
		"an administrator by hand":  func(w *world) { w.addUser("eve@shop.example", goodPassword, AdminRole) },
		"one among several of them": func(w *world) { w.addUser("eve@shop.example", goodPassword, "a", AdminRole, "z") },
	} {
		w := newWorld(t, openZone())
		token, _, err := w.id.Bootstrap(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		spoil(w)
		rec := w.post("/auth/bootstrap", object("token", token, "email", "ada@shop.example", "password", goodPassword))
		if want := map[bool]int{true: 200, false: 410}[name == "not at all"]; rec.Code != want {
			t.Errorf("%s: %d %s, want %d", name, rec.Code, reason(rec), want)
		}
	}
}

// otherFlow is a live flow of another kind than the one wanted.
func (w *world) otherFlow() string {
	w.t.Helper()
	u := w.addUser("other@shop.example", goodPassword)
	var id string
	err := w.db.Tx(w.t.Context(), func(ctx context.Context, t *store.Tx) (err error) {
		id, err = w.id.flows.Begin(ctx, t, flow.Record{Kind: flowTOTP, User: u.ID, Tries: stepTries, Expires: w.now.time().Add(stepLife)}, &making{})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}
