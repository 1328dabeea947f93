package identity

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// require has the map of the world ask for two factors from now on.
func (w *world) require() {
	w.t.Helper()
	z := *w.id.zone
	z.Identity.MFARequired = true
	next, err := w.id.For(&z, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	next.db, next.keys, next.broker = w.id.db, w.id.keys, w.id.broker
	w.id = next
}

// TestFirstFactorEndsOthers: a session of one factor is less than the account asks for
// once it holds a second: but the one that made it, all end. A further factor ends none.
func TestFirstFactorEndsOthers(t *testing.T) {
	w := newMailWorld(t)
	u, eve := w.addUser("ada@shop.example", goodPassword), w.addUser("eve@shop.example", goodPassword)
	own, other, third := w.own(u.ID), w.own(u.ID), w.own(u.ID)
	eves := w.own(eve.ID)
	lives := func(token string) bool { _, ok := w.sessions.lookup(token); return ok }
	begun := w.want(w.as(own, "/auth/factors/totp/begin", "{}"), 200, "begin")
	w.refused(w.as(own, "/auth/factors/totp", object("flow", begun.Flow, "code", w.wrong(begun.Secret))), "account.factor", "a wrong code")
	if !lives(other) || !lives(third) {
		t.Fatal("a wrong code ended sessions")
	}
	rec := w.as(own, "/auth/factors/totp", object("flow", begun.Flow, "code", w.code(begun.Secret)))
	w.want(rec, 201, "the first factor")
	if !strings.Contains(rec.Body.String(), `"sessions_ended":2`) {
		t.Errorf("answer %s, want it to tell of two sessions", rec.Body)
	}
	if lives(other) || lives(third) || !lives(own) || !lives(eves) {
		t.Errorf("others live %v %v, own %v, another user's %v", lives(other), lives(third), lives(own), lives(eves))
	}
	if l := w.oneLetter(u.Email, "was added"); !strings.Contains(l.Text, "the other sessions have ended: 2.") {
		t.Errorf("the letter does not tell:\n%s", l.Text)
	}
	w.now.advance(60e9)
	strong := w.two(u.Email, goodPassword, begun.Secret)
	w.letters.take()
	w.givePasskey(strong)
	if !lives(own) || !lives(strong) {
		t.Error("a further factor ended sessions")
	}
	if l := w.oneLetter(u.Email, "was added"); strings.Contains(l.Text, "sessions have ended") {
		t.Errorf("the letter tells of sessions:\n%s", l.Text)
	}
}

// TestFirstFactorPage: the page tells it as well.
func TestFirstFactorPage(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	w.own(u.ID)
	b := w.browser()
	b.loginAs(u.ID, 1)
	shown := b.post("/auth/factors/totp/begin").Body.String()
	_, rest, _ := strings.Cut(shown, `<code id="secret">`)
	secret, _, _ := strings.Cut(rest, "<")
	rec := b.post("/auth/factors/totp", "flow", flowIn(shown), "code", w.code(secret))
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), "1 other session has ended") || b.loggedIn() != u.ID {
		t.Errorf("made: %d, logged in %q\n%s", rec.Code, b.loggedIn(), rec.Body)
	}
}

// TestRequiredMeanwhile: a session that began with one factor, before the map asked
// for two, is of use for nothing but the way to the second, and for leaving.
func TestRequiredMeanwhile(t *testing.T) {
	w := newMailWorld(t)
	w.useKeys()
	u := w.addUser("ada@shop.example", goodPassword)
	held := w.addUser("eve@shop.example", goodPassword)
	secret := w.giveApp(held.ID)
	own, weak := w.own(u.ID), w.own(held.ID)
	strong := w.two(held.Email, goodPassword, secret)
	faded := w.want(w.post("/auth/login", object("email", held.Email, "password", goodPassword, "remember", true)), 200, "login")
	w.now.advance(60e9)
	remembered := w.want(w.post("/auth/mfa/totp", object("flow", faded.Flow, "code", w.code(secret))), 200, "code").Token
	paths := []string{"/auth/me", "/auth/account", "/auth/sessions", "/auth/factors", keysPath, "/auth/grants", "/auth/export"}
	for _, path := range paths {
		if path != "/auth/export" {
			w.expect("before: "+path, w.getAs(own, path), 200, problem.OK)
		}
	}
	w.require()
	for _, path := range paths {
		w.expect("one factor: "+path, w.getAs(own, path), 401, problem.AuthStepUp)
		w.expect("one factor of two: "+path, w.getAs(weak, path), 401, problem.AuthStepUp)
		w.expect("two factors: "+path, w.getAs(strong, path), 200, problem.OK)
	}
	for path, body := range map[string]string{
		passwordPath: object("current", goodPassword, "password", "another long password"), keysPath: `{"name":"k","scopes":["orders.read"]}`,
		"/auth/email": `{"email":"new@shop.example"}`, "/auth/delete": "{}", "/auth/factors/totp/begin": "{}", "/auth/factors/passkey/begin": "{}",
		"/auth/profile": `{"name":"Ada"}`, "/auth/grants/app/revoke": "{}",
	} {
		w.expect("one factor: "+path, w.postAs(own, path, body), 401, problem.AuthStepUp)
	}

	// The way: the password again, and a factor is made.
	a := w.want(w.as(own, "/auth/step-up", object("password", goodPassword)), 200, "step-up")
	if a.Step != "enroll" || a.Token != "" {
		t.Fatalf("step-up %+v, want the step enroll", a)
	}
	app := w.want(w.as(own, "/auth/mfa/enroll/begin", object("flow", a.Flow)), 200, "begin")
	w.refused(w.as(own, "/auth/mfa/enroll", object("flow", a.Flow, "code", w.wrong(app.Secret))), "account.factor", "a wrong code")
	w.expect("still", w.getAs(own, "/auth/me"), 401, problem.AuthStepUp)
	done := w.want(w.as(own, "/auth/mfa/enroll", object("flow", a.Flow, "code", w.code(app.Secret))), 200, "enrol")
	w.expect("enrolled", w.getAs(done.Token, "/auth/me"), 200, problem.OK)
	w.expect("the token of before", w.getAs(own, "/auth/me"), 401, problem.AuthMissing)

	// Who holds one shows it.
	w.now.advance(60e9)
	a = w.want(w.as(weak, "/auth/step-up", "{}"), 200, "step-up")
	if a.Step != "mfa" {
		t.Fatalf("step-up %+v, want the step mfa", a)
	}
	done = w.want(w.as(weak, "/auth/mfa/totp", object("flow", a.Flow, "code", w.code(secret))), 200, "code")
	w.expect("raised", w.getAs(done.Token, "/auth/me"), 200, problem.OK)

	// A remembered session began with two: what fades is for step-up.
	w.now.advance(lives.Absolute)
	if s, ok := w.sessions.lookup(remembered); !ok || s.Level != 1 {
		t.Fatalf("remembered %+v (%v), want level 1 by now", s, ok)
	}
	w.expect("remembered", w.getAs(remembered, "/auth/me"), 200, problem.OK)

	lost := w.own(u.ID)
	w.expect("logout", w.postAs(lost, "/auth/logout", "{}"), 204, problem.OK)
	if slices.Contains([]bool{func() bool { _, ok := w.sessions.lookup(lost); return ok }()}, true) {
		t.Error("who lacks a factor cannot log out")
	}
}

// TestRequiredMeanwhilePage: a browser is led to the step, and from there on; who
// came by another provider alone goes there again.
func TestRequiredMeanwhilePage(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	b := w.browser()
	b.loginAs(u.ID, 1)
	w.require()
	to := func(rec *httptest.ResponseRecorder) string { return rec.Header().Get("Location") }
	if rec := b.get("/auth/account"); rec.Code != 303 || to(rec) != "/auth/step-up" { // from which it goes on to the account
		t.Fatalf("account: %d to %q", rec.Code, to(rec))
	}
	if rec := b.get("/auth/login?next=/orders"); rec.Code != 303 || to(rec) != "/auth/step-up?next=%2Forders" {
		t.Errorf("login: %d to %q, want the step", rec.Code, to(rec))
	}
	if rec := b.get("/auth/step-up?next=/orders"); rec.Code != 200 || !strings.Contains(rec.Body.String(), `name="password"`) {
		t.Fatalf("the step: %d", rec.Code)
	}
	rec := b.post("/auth/step-up", "password", goodPassword, "next", "/orders")
	flow := flowIn(rec.Body.String())
	if rec.Code != 200 || !isFlow(flow) {
		t.Fatalf("the password: %d\n%s", rec.Code, rec.Body)
	}
	shown := b.post("/auth/factors/totp/begin", "flow", flow, "next", "/orders").Body.String()
	_, rest, _ := strings.Cut(shown, `<code id="secret">`)
	secret, _, _ := strings.Cut(rest, "<")
	if rec := b.post("/auth/factors/totp", "flow", flow, "code", w.code(secret), "next", "/orders"); rec.Code != 200 {
		t.Fatalf("enrol: %d\n%s", rec.Code, rec.Body)
	}
	if rec := b.get("/auth/account"); rec.Code != 200 {
		t.Errorf("account: %d to %q", rec.Code, to(rec))
	}

	w.exec("UPDATE users SET password = '', password_stands = ''")
	w.exec("DELETE FROM factors")
	w.exec("DELETE FROM recovery_codes")
	w.exec("INSERT INTO connections (provider, issuer, subject, user_id, email, created_at) VALUES ('search', 'https://search.example', 's-1', ?, '', 1000000)", u.ID)
	w.id.broker = &claimsBroker{}
	b = w.browser()
	b.loginAs(u.ID, 1)
	if rec := b.get("/auth/step-up"); rec.Code != 401 || !strings.Contains(rec.Body.String(), "/auth/providers/search") {
		t.Errorf("who came by a provider: %d, want it to be offered\n%s", rec.Code, rec.Body)
	}
	if rec := b.post("/auth/providers/search", "next", "/orders"); rec.Code >= 400 {
		t.Errorf("to the provider: %d %s", rec.Code, reason(rec))
	}
	if rec := b.post("/auth/providers/hub", "next", "/orders"); reason(rec) != "auth.step_up" {
		t.Errorf("to one that is not theirs: %d %s, want auth.step_up", rec.Code, reason(rec))
	}
}

// TestPrincipalStepUp: who must hold a factor and came with one has to step up.
func TestPrincipalStepUp(t *testing.T) {
	required := openZone()
	required.Identity.MFARequired = true
	for _, c := range []struct {
		name    string
		zone    *zone.Zone
		roles   []string
		reached int
		want    bool
	}{
		{"nobody must", openZone(), []string{"admin"}, 1, false},
		{"the zone says so", required, nil, 1, true},
		{"with two", required, nil, 2, false},
		{"an administrator of the zone", openZone(), []string{AdminRole}, 1, true},
		{"with two", openZone(), []string{AdminRole}, 2, false},
	} {
		w := newWorld(t, c.zone)
		u := w.addUser("ada@shop.example", goodPassword, c.roles...)
		if p, err := w.id.Entering(t.Context(), u.ID, c.reached); err != nil || p.StepUp != c.want {
			t.Errorf("%s: entering: %+v %v, want StepUp %v", c.name, p, err, c.want)
		}
		if p, err := w.id.Principal(t.Context(), u.ID, c.reached); (problem.ReasonOf(err) == problem.AuthStepUp) != c.want || c.want != (p.Subject == "") {
			t.Errorf("%s: %+v %v, want it refused: %v", c.name, p, err, c.want)
		}
	}
}
