package identity

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestStepUpByPassword: who holds no second factor proves the password again.
func TestStepUpByPassword(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	token := w.login(u.Email, goodPassword)
	begin := func(token string) string { return reason(w.as(token, "/auth/factors/totp/begin", "{}")) }
	w.now.advance(freshFor)
	if got := begin(token); got != "" {
		t.Errorf("ten minutes after the login: %q, want it fresh", got)
	}
	w.now.advance(time.Second)
	if got := begin(token); got != "auth.step_up" {
		t.Errorf("later: %q, want auth.step_up", got)
	}
	if a := w.want(w.do(ask{method: "GET", path: "/auth/step-up", token: token}), 200, "what is asked for"); !a.Password || string(a.Factors) != "[]" {
		t.Errorf("asked for %+v, want the password", a)
	}
	w.refused(w.do(ask{method: "GET", path: "/auth/step-up"}), "auth.missing", "nobody")
	w.refused(w.as("", "/auth/step-up", object("password", goodPassword)), "auth.missing", "nobody")
	w.refused(w.as(token, "/auth/step-up", "{}"), "account.invalid", "nothing")
	w.refused(w.as(token, "/auth/step-up", object("password", "not the password")), "auth.login", "a wrong password")
	before, _ := w.sessions.lookup(token)
	w.now.advance(time.Second)
	done := w.want(w.as(token, "/auth/step-up", object("password", goodPassword)), 200, "the password")
	s, ok := w.sessions.lookup(done.Token)
	if !ok || s.ID == before.ID || s.Level != 1 || !s.AuthTime.Equal(w.now.time()) || !s.Created.Equal(before.Created) || done.Token == token {
		t.Errorf("raised %+v (%v), before %+v", s, ok, before)
	}
	if _, alive := w.sessions.lookup(token); alive || w.sessions.of(u.ID) != 1 {
		t.Error("the session of before is alive")
	}
	if got := begin(done.Token); got != "" {
		t.Errorf("after the step-up: %q, want it fresh", got)
	}
}

// TestStepUpBySecondFactor: who holds a second factor shows it, and the password
// as well when that was long ago.
func TestStepUpBySecondFactor(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	token, _ := w.sessions.create(t, u.ID, 1) // of before there was a factor
	secret := w.giveApp(u.ID)
	w.refused(w.as(token, "/auth/factors/codes", "{}"), "auth.step_up", "level 1")
	if a := w.want(w.do(ask{method: "GET", path: "/auth/step-up", token: token}), 200, "asked"); a.Password || string(a.Factors) != `["totp"]` {
		t.Errorf("asked for %+v, want the app alone", a)
	}
	a := w.want(w.as(token, "/auth/step-up", "{}"), 200, "begin")
	if a.Step != "mfa" || a.Token != "" {
		t.Fatalf("step-up = %+v, want the step mfa", a)
	}
	other, _ := w.sessions.create(t, u.ID, 1)
	eve := w.addUser("eve@shop.example", goodPassword)
	eves, _ := w.sessions.create(t, eve.ID, 1)
	for name, token := range map[string]string{"another session of the user": other, "another user's": eves, "nobody": ""} {
		w.refused(w.as(token, "/auth/mfa/totp", object("flow", a.Flow, "code", w.code(secret))), "account.flow", name)
	}
	w.refused(w.as(token, "/auth/mfa/totp", object("flow", a.Flow, "code", w.wrong(secret))), "account.factor", "a wrong code")
	done := w.want(w.as(token, "/auth/mfa/totp", object("flow", a.Flow, "code", w.code(secret))), 200, "a code")
	if s, _ := w.sessions.lookup(done.Token); s.Level != 2 || s.Method != "totp" || s.User != u.ID {
		t.Errorf("raised %+v", s)
	}
	if len(w.want(w.as(done.Token, "/auth/factors/codes", "{}"), 200, "level 2").Codes) != 10 {
		t.Error("no codes")
	}

	// The proof of the password is too old to stand beside a factor.
	rec := w.want(w.post("/auth/login", object("email", u.Email, "password", goodPassword, "remember", true)), 200, "login")
	w.now.advance(time.Minute)
	token = w.want(w.post("/auth/mfa/totp", object("flow", rec.Flow, "code", w.code(secret))), 200, "code").Token
	w.now.advance(lives.Absolute)
	if s, ok := w.sessions.lookup(token); !ok || s.Level != 1 {
		t.Fatalf("remembered: %+v (%v), want level 1 by now", s, ok)
	}
	if a := w.want(w.do(ask{method: "GET", path: "/auth/step-up", token: token}), 200, "asked"); !a.Password || string(a.Factors) != `["totp","recovery"]` {
		t.Errorf("asked for %+v, want both", a)
	}
	w.refused(w.as(token, "/auth/step-up", "{}"), "account.invalid", "without the password")
	a = w.want(w.as(token, "/auth/step-up", object("password", goodPassword)), 200, "the password")
	if a.Step != "mfa" || a.Token != "" {
		t.Fatalf("after the password: %+v, want the step mfa", a)
	}
	done = w.want(w.as(token, "/auth/mfa/totp", object("flow", a.Flow, "code", w.code(secret))), 200, "both")
	if s, _ := w.sessions.lookup(done.Token); s.Level != 2 || s.Method != "password+totp" || !s.Remember {
		t.Errorf("raised %+v", s)
	}
}

// TestStepUpPage walks it as a browser does: a page is led to the step, and back.
func TestStepUpPage(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	token, _ := w.sessions.create(t, u.ID, 1)
	secret := w.giveApp(u.ID)
	page := func(method, path string, v url.Values, more ...*http.Cookie) ask {
		return ask{method: method, path: path, body: v.Encode(), cookie: token, more: more,
			header: map[string]string{"Content-Type": formType, "Accept": browser, "Referer": "https://shop.example/auth/account"}}
	}
	rec := w.do(page("GET", "/auth/factors/passkey", nil))
	if rec.Code != 303 || rec.Header().Get("Location") != "/auth/step-up?next=%2Fauth%2Ffactors%2Fpasskey" || reason(rec) != "auth.step_up" {
		t.Fatalf("a page that wants more: %d to %q", rec.Code, rec.Header().Get("Location"))
	}
	rec = w.do(page("GET", rec.Header().Get("Location"), nil))
	flow, bound := flowIn(rec.Body.String()), cookieNamed(rec, FlowCookie)
	if rec.Code != 200 || !isFlow(flow) || bound == nil {
		t.Fatalf("the step: %d\n%s", rec.Code, rec.Body)
	}
	rec = w.do(page("POST", "/auth/mfa/totp", url.Values{"flow": {flow}, "code": {w.code(secret)}}, bound))
	raised := cookieOf(rec)
	if rec.Code != 303 || rec.Header().Get("Location") != "/auth/factors/passkey" || raised == nil || raised.Value == token {
		t.Fatalf("the code: %d to %q, %v", rec.Code, rec.Header().Get("Location"), raised)
	}
	token = raised.Value
	if rec := w.do(page("GET", "/auth/factors/passkey", nil)); rec.Code != 200 || !strings.Contains(rec.Body.String(), `data-passkey="create"`) {
		t.Errorf("the page: %d", rec.Code)
	}

	// By the password, where there is no factor; a script with the cookie gets a
	// cookie, and no token to read.
	u = w.addUser("eve@shop.example", goodPassword)
	token, _ = w.sessions.create(t, u.ID, 1)
	w.now.advance(time.Hour)
	token, _ = w.sessions.create(t, u.ID, 1)
	w.now.advance(11 * time.Minute)
	rec = w.do(page("GET", "/auth/step-up?next=/orders", nil))
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), `name="password"`) || !strings.Contains(rec.Body.String(), u.Email) {
		t.Fatalf("the step: %d\n%s", rec.Code, rec.Body)
	}
	rec = w.do(page("POST", "/auth/step-up", url.Values{"password": {"not the password"}, "next": {"/orders"}}))
	if rec.Code != 401 || !strings.Contains(rec.Body.String(), `aria-invalid="true"`) || !strings.Contains(rec.Body.String(), `value="/orders"`) {
		t.Errorf("a wrong password: %d\n%s", rec.Code, rec.Body)
	}
	rec = w.do(page("POST", "/auth/step-up", url.Values{"password": {goodPassword}, "next": {"//evil.example"}}))
	if rec.Code != 303 || rec.Header().Get("Location") != "/auth/account" || cookieOf(rec) == nil {
		t.Errorf("the password: %d to %q", rec.Code, rec.Header().Get("Location"))
	}
	token = cookieOf(rec).Value
	rec = w.do(ask{method: "POST", path: "/auth/step-up", body: object("password", goodPassword), cookie: token, header: map[string]string{"Content-Type": jsonType}})
	if rec.Code != 200 || cookieOf(rec) == nil || strings.Contains(rec.Body.String(), "token") {
		t.Errorf("a script: %d %v %s", rec.Code, cookieOf(rec), rec.Body)
	}
}

// TestFactors manages them as a program does.
func TestFactors(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	eve := w.addUser("eve@shop.example", goodPassword)
	token := w.login(u.Email, goodPassword)
	eves, _ := w.sessions.create(t, eve.ID, 1)
	w.letters.take()
	w.refused(w.as(token, "/auth/factors/codes", "{}"), "account.conflict", "codes without a factor")

	app := w.want(w.as(token, "/auth/factors/totp/begin", "{}"), 200, "begin")
	w.refused(w.as(eves, "/auth/factors/totp", object("flow", app.Flow, "code", w.code(app.Secret))), "account.flow", "another user's app")
	w.refused(w.as("", "/auth/factors/totp", object("flow", app.Flow, "code", w.code(app.Secret))), "account.flow", "nobody's app")
	elsewhere, _ := w.sessions.create(t, u.ID, 1)
	w.refused(w.as(elsewhere, "/auth/factors/totp", object("flow", app.Flow, "code", w.code(app.Secret))), "account.flow", "another session's app")
	w.refused(w.as(token, "/auth/factors/totp", object("flow", app.Flow, "code", w.wrong(app.Secret))), "account.factor", "a wrong code")
	w.refused(w.as(token, "/auth/factors/totp", object("flow", app.Flow, "code", w.code(app.Secret), "name", strings.Repeat("x", 65))), "account.invalid", "a long name")
	made := w.want(w.as(token, "/auth/factors/totp", object("flow", app.Flow, "code", w.code(app.Secret), "name", "phone")), 201, "finish")
	if made.Factor.Kind != "totp" || made.Factor.Name != "phone" || len(made.Codes) != 10 {
		t.Errorf("made %+v", made)
	}
	if got := w.letters.take(); !slices.Equal(got, []string{"factor-added"}) {
		t.Errorf("letters %q", got)
	}
	if p, err := w.id.Principal(t.Context(), u.ID, 2); err != nil || p.Version != 1 {
		t.Errorf("a factor is no change of rights: %+v, %v", p, err)
	}

	// From here on it takes two factors.
	w.refused(w.as(token, "/auth/factors/"+made.Factor.ID+"/remove", "{}"), "auth.step_up", "level 1")
	w.now.advance(time.Minute)
	waiting := w.first(u.Email)
	a := w.want(w.as(token, "/auth/step-up", "{}"), 200, "step-up")
	token = w.want(w.as(token, "/auth/mfa/totp", object("flow", a.Flow, "code", w.code(app.Secret))), 200, "code").Token
	key := w.givePasskey(token)
	w.refused(w.post("/auth/mfa/totp", object("flow", waiting.Flow, "code", w.code(app.Secret))), "account.flow", "a login that waited while the factors changed")
	list := w.do(ask{method: "GET", path: "/auth/factors", token: token})
	if body := list.Body.String(); list.Code != 200 || strings.Count(body, `"id"`) != 2 || !strings.Contains(body, `"passkey"`) || !strings.Contains(body, `"recovery_codes_left":10`) {
		t.Errorf("factors: %d %s", list.Code, list.Body)
	}
	w.refused(w.as(eves, "/auth/factors/"+made.Factor.ID+"/rename", object("name", "mine")), "account.unknown", "another user's")
	w.refused(w.as(eves, "/auth/factors/"+made.Factor.ID+"/remove", "{}"), "account.unknown", "another user's")
	if rec := w.as(token, "/auth/factors/"+made.Factor.ID+"/rename", object("name", "old phone")); rec.Code != 204 {
		t.Errorf("rename: %d %s", rec.Code, rec.Body)
	}
	codes := w.want(w.as(token, "/auth/factors/codes", "{}"), 200, "codes").Codes
	if len(codes) != 10 || slices.Contains(codes, made.Codes[0]) {
		t.Errorf("codes %q", codes)
	}
	w.letters.take()
	if rec := w.as(token, "/auth/factors/"+made.Factor.ID+"/remove", "{}"); rec.Code != 204 {
		t.Errorf("remove: %d %s", rec.Code, rec.Body)
	}
	if got := w.letters.take(); !slices.Equal(got, []string{"factor-removed"}) {
		t.Errorf("letters %q", got)
	}
	w.refused(w.as(token, "/auth/factors/"+made.Factor.ID+"/remove", "{}"), "account.unknown", "again")

	// The passkey is left: it logs in as second factor.
	b := w.first(u.Email)
	if string(b.Factors) != `["passkey","recovery"]` {
		t.Errorf("factors %s", b.Factors)
	}
	w.refused(w.post("/auth/mfa/passkey", object("flow", b.Flow, "response", map[string]any{})), "account.factor", "before it was asked for")
	asked := w.want(w.post("/auth/mfa/passkey/begin", object("flow", b.Flow)), 200, "begin")
	stranger := newPasskey()
	stranger.auth.Options.UserHandle = key.auth.Options.UserHandle
	w.refused(w.post("/auth/mfa/passkey", object("flow", b.Flow, "response", stranger.shown(t, asked.Options))), "account.factor", "another passkey")
	done := w.want(w.post("/auth/mfa/passkey", object("flow", b.Flow, "response", key.shown(t, asked.Options))), 200, "the passkey")
	if s, _ := w.sessions.lookup(done.Token); s.Level != 2 || s.Method != "password+passkey" {
		t.Errorf("session %+v", s)
	}
	// The last one may go here, and the codes go with it.
	var last string
	for _, f := range w.factorsOf(u.ID) {
		last = f
	}
	if rec := w.as(done.Token, "/auth/factors/"+last+"/remove", "{}"); rec.Code != 204 {
		t.Errorf("remove the last: %d %s", rec.Code, rec.Body)
	}
	w.login(u.Email, goodPassword)
	if err := w.id.GrantRoles(t.Context(), u.ID, []string{AdminRole}); err != nil {
		t.Fatal(err)
	}
	secret := w.giveApp(u.ID)
	c := w.first(u.Email)
	token = w.want(w.post("/auth/mfa/totp", object("flow", c.Flow, "code", w.code(secret))), 200, "code").Token
	w.refused(w.as(token, "/auth/factors/"+w.factorsOf(u.ID)[0]+"/remove", "{}"), "account.conflict", "the last of an administrator")
	if len(w.factorsOf(u.ID)) != 1 {
		t.Error("it is gone all the same")
	}
}

func (w *world) factorsOf(user string) (ids []string) {
	w.t.Helper()
	list, err := w.id.factors.List(w.t.Context(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range list {
		ids = append(ids, f.ID)
	}
	return ids
}

// TestPasskeyLogin: a passkey alone says whose it is, and is two factors.
func TestPasskeyLogin(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	key := w.givePasskey(w.login(u.Email, goodPassword))
	begin := func() answer { return w.want(w.post("/auth/passkey/begin", "{}"), 200, "begin") }
	login := func(begun answer, key *passkeyOf) string {
		return object("flow", begun.Flow, "response", key.shown(t, begun.Options))
	}
	body := login(begin(), key)
	done := w.want(w.post("/auth/passkey", body), 200, "login")
	if s, ok := w.sessions.lookup(done.Token); !ok || s.User != u.ID || s.Level != 2 || s.Method != "passkey" {
		t.Errorf("session %+v (%v)", s, ok)
	}
	w.refused(w.post("/auth/passkey", body), "account.factor", "the same answer again")
	stranger := newPasskey()
	stranger.auth.Options.UserHandle = key.auth.Options.UserHandle
	unknown := w.post("/auth/passkey", login(begin(), stranger))
	w.refused(unknown, "account.factor", "an unknown passkey")
	a, b := begin(), begin()
	w.refused(w.post("/auth/passkey", object("flow", a.Flow, "response", key.shown(t, b.Options))), "account.factor", "of another challenge")
	w.refused(w.post("/auth/passkey", object("flow", "AAAA", "response", key.shown(t, b.Options))), "account.flow", "a challenge that was made up")
	w.refused(w.post("/auth/passkey", object("flow", a.Flow)), "account.invalid", "no answer")
	w.refused(w.post("/auth/passkey", object("flow", a.Flow, "response", map[string]any{"id": "x"})), "account.factor", "half an answer")
	late := login(begin(), key)
	w.now.advance(11 * time.Minute)
	w.refused(w.post("/auth/passkey", late), "account.factor", "late")
	if err := w.id.SetDisabled(t.Context(), u.ID, true); err != nil {
		t.Fatal(err)
	}
	disabled := w.post("/auth/passkey", login(begin(), key))
	if disabled.Code != unknown.Code || disabled.Body.String() != unknown.Body.String() {
		t.Errorf("a disabled account answers %d %s, an unknown passkey %d %s", disabled.Code, disabled.Body, unknown.Code, unknown.Body)
	}

	// As a form: the browser's script fills it in.
	if err := w.id.SetDisabled(t.Context(), u.ID, false); err != nil {
		t.Fatal(err)
	}
	page := w.do(ask{method: "GET", path: "/auth/login", header: map[string]string{"Accept": browser}})
	if !strings.Contains(page.Body.String(), `data-begin="/auth/passkey/begin"`) || !strings.Contains(page.Body.String(), `autocomplete="username webauthn"`) {
		t.Error("the login page offers no passkeys")
	}
	begun := begin()
	rec := w.postForm("/auth/passkey", url.Values{"flow": {begun.Flow}, "response": {string(key.shown(t, begun.Options))}, "next": {"/orders"}, "remember": {"on"}}.Encode())
	if c := cookieOf(rec); rec.Code != 303 || rec.Header().Get("Location") != "/orders" || c == nil || c.MaxAge == 0 {
		t.Errorf("form: %d %v", rec.Code, rec.Header())
	}
	rec = w.postForm("/auth/passkey", url.Values{"flow": {begun.Flow}, "response": {string(key.shown(t, begun.Options))}}.Encode())
	if rec.Code != 401 || !strings.Contains(rec.Body.String(), `action="/auth/login"`) {
		t.Errorf("form again: %d, want the login page", rec.Code)
	}
	for range 60 {
		w.post("/auth/passkey", object("flow", "AAAA", "response", map[string]any{}))
	}
	w.refused(w.post("/auth/passkey", login(begin(), key)), "limit.rate", "too many of one network")
}
