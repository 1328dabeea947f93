package identity

import (
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
)

func (w *world) recoverToken(email string) string {
	w.t.Helper()
	w.now.advance(time.Hour)
	w.expect("recover", w.post(recoverPath, `{"email":"`+email+`"}`), 202, problem.OK)
	return w.tokenIn(w.oneLetter(email, "new password"), passwordPath)
}

func TestRecover(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	before := w.own(u.ID)
	token := w.recoverToken("ada@shop.example")
	w.expect("a weak password", w.post(passwordPath, object("token", token, "password", "short")), 422, problem.AccountPassword)
	w.expect("current beside token", w.post(passwordPath, object("token", token, "current", goodPassword, "password", "another long password")), 400, problem.AccountInvalid)
	rec := w.post(passwordPath, object("token", token, "password", "another long password"))
	w.expect("reset", rec, 204, problem.OK)
	if len(rec.Result().Cookies()) != 0 {
		t.Error("a letter opened a session")
	}
	if _, lives := w.sessions.lookup(before); lives {
		t.Error("a session of before lives")
	}
	if v := w.number("SELECT version FROM users"); v != 2 {
		t.Errorf("version %d", v)
	}
	w.oneLetter("ada@shop.example", "was changed")
	if w.logsIn("ada@shop.example", goodPassword) || !w.logsIn("ada@shop.example", "another long password") {
		t.Error("the old password is in force")
	}
	w.expect("twice", w.post(passwordPath, object("token", token, "password", "a third long password")), 410, problem.AccountFlow)
}

// TestRecoverLinks: a link ends by time, by the next one, by a change of the address
// or of the password, and when the account is disabled.
func TestRecoverLinks(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	reset := func(token string) int {
		return w.post(passwordPath, object("token", token, "password", "another long password")).Code
	}
	first, second := w.recoverToken("ada@shop.example"), w.recoverToken("ada@shop.example")
	if got := reset(first); got != 410 {
		t.Errorf("the first of two: %d", got)
	}
	w.now.advance(recoverLife)
	if got := reset(second); got != 410 {
		t.Errorf("expired: %d", got)
	}
	third := w.recoverToken("ada@shop.example")
	w.exec("UPDATE users SET email = 'eve@shop.example', email_key = 'eve@shop.example'")
	if got := reset(third); got != 410 {
		t.Errorf("of another address: %d", got)
	}
	w.exec("UPDATE users SET email = 'ada@shop.example', email_key = 'ada@shop.example'")
	fourth := w.recoverToken("ada@shop.example")
	if err := w.id.SetPassword(t.Context(), u.ID, "set by an administrator"); err != nil {
		t.Fatal(err)
	}
	if got := reset(fourth); got != 410 {
		t.Errorf("after another change of the password: %d", got)
	}
	fifth := w.recoverToken("ada@shop.example")
	if err := w.id.SetDisabled(t.Context(), u.ID, true); err != nil {
		t.Fatal(err)
	}
	if got := reset(fifth); got != 410 {
		t.Errorf("disabled: %d", got)
	}
	w.now.advance(time.Hour)
	w.expect("recover of a disabled account", w.post(recoverPath, `{"email":"ada@shop.example"}`), 202, problem.OK)
	w.post(recoverPath, `{"email":"nobody@shop.example"}`)
	if l := w.sent(); len(l) != 0 {
		t.Errorf("letters %+v, want none", l)
	}
	if !w.logsInAfterEnabling(u.ID, "ada@shop.example", "set by an administrator") {
		t.Error("positive control: the account does not work")
	}
}

func (w *world) logsInAfterEnabling(user, email, password string) bool {
	w.t.Helper()
	if err := w.id.SetDisabled(w.t.Context(), user, false); err != nil {
		w.t.Fatal(err)
	}
	return w.logsIn(email, password)
}

// TestRecoverKeepsFactors: a reset never skips a factor.
func TestRecoverKeepsFactors(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	w.giveApp(u.ID)
	token := w.recoverToken("ada@shop.example")
	w.expect("eight characters beside a factor", w.post(passwordPath, object("token", token, "password", "kx7!qmzt")), 204, problem.OK)
	a := w.want(w.post("/auth/login", credentialsJSON("ada@shop.example", "kx7!qmzt")), 200, "login")
	if a.Step != "mfa" || a.Token != "" {
		t.Errorf("after a reset: %+v, want the factor to be asked for", a)
	}
}

func TestRecoverPages(t *testing.T) {
	w := newMailWorld(t)
	w.addUser("ada@shop.example", goodPassword)
	b := w.browser()
	if rec := b.get(recoverPath); rec.Code != 200 {
		t.Fatalf("the page: %d", rec.Code)
	}
	if rec := b.post(recoverPath, "email", "no address"); rec.Code != 400 {
		t.Errorf("no address: %d", rec.Code)
	}
	if rec := b.post(recoverPath, "email", "ada@shop.example"); rec.Code != 202 {
		t.Errorf("recover: %d", rec.Code)
	}
	token := w.tokenIn(w.oneLetter("ada@shop.example", "new password"), passwordPath)
	b = w.browser() // the link works on another device
	if rec := b.get(passwordPath + "?token=" + token); rec.Code != 200 || !strings.Contains(rec.Body.String(), token) || strings.Contains(rec.Body.String(), `name="current"`) {
		t.Fatalf("the form: %d %s", rec.Code, rec.Body)
	}
	if rec := b.get(passwordPath + "?token=nonsense"); rec.Code != 410 {
		t.Errorf("a link of nothing: %d", rec.Code)
	}
	if rec := b.post(passwordPath, "token", token, "password", "short"); rec.Code != 422 || !strings.Contains(rec.Body.String(), token) {
		t.Errorf("a weak password: %d", rec.Code)
	}
	if rec := b.post(passwordPath, "token", token, "password", "another long password"); rec.Code != 303 || rec.Header().Get("Location") != "/auth/login?notice=password_changed" {
		t.Errorf("reset: %d %v", rec.Code, rec.Header())
	}
}

func TestRecoverWithoutMail(t *testing.T) {
	w := newWorld(t, openZone())
	for _, path := range []string{recoverPath, verifyPath, "/auth/email"} {
		if rec := w.post(path, `{"email":"ada@shop.example"}`); rec.Code != 404 {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
}

func TestChangePassword(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	other := w.own(u.ID)
	own := w.own(u.ID)
	change := func(fields ...any) int { return w.postAs(own, passwordPath, object(fields...)).Code }
	for _, c := range []struct {
		name   string
		fields []any
		want   int
	}{
		{"without the one in force", []any{"password", "another long password"}, 400},
		{"with a wrong one", []any{"current", "not the password", "password", "another long password"}, 401},
		{"to a weak one", []any{"current", goodPassword, "password", "short"}, 422},
		{"to the address", []any{"current", goodPassword, "password", "ada@shop.example"}, 422},
	} {
		if got := change(c.fields...); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	w.expect("nobody", w.post(passwordPath, object("current", goodPassword, "password", "another long password")), 401, problem.AuthMissing)
	if got := change("current", goodPassword, "password", "another long password"); got != 204 {
		t.Fatalf("change: %d", got)
	}
	if _, lives := w.sessions.lookup(other); lives {
		t.Error("the other session lives")
	}
	if _, lives := w.sessions.lookup(own); !lives {
		t.Error("the session that changed it ended")
	}
	w.oneLetter("ada@shop.example", "was changed")
	w.now.advance(freshFor + time.Second)
	w.expect("a login that is old", w.postAs(own, passwordPath, object("current", "another long password", "password", "a third long password")), 401, problem.AuthStepUp)
}

// TestChangePasswordIsNoOracle: who has a session guesses no faster than who logs in.
func TestChangePasswordIsNoOracle(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	own := w.own(u.ID)
	for range 20 {
		rec := w.postAs(own, passwordPath, object("current", "not the password", "password", "another long password"))
		if rec.Code == 429 {
			return
		}
	}
	t.Error("twenty guesses were answered")
}

func TestStrength(t *testing.T) {
	w := newWorld(t, openZone())
	for password, want := range map[string]string{"password": `"score":0`, "a heron walks over nine bridges": `"score":4`} {
		rec := w.post("/auth/password/strength", object("password", password))
		if rec.Code != 200 || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%q: %d %s, want %s", password, rec.Code, rec.Body, want)
		}
	}
	if rec := w.postForm("/auth/password/strength", "password=x"); rec.Code != 415 {
		t.Errorf("a form: %d", rec.Code)
	}
	for range 60 {
		if w.post("/auth/password/strength", object("password", "x")).Code == 429 {
			return
		}
	}
	t.Error("sixty estimates in a minute")
}
