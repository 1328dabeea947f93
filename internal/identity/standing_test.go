package identity

import (
	"strings"
	"testing"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

// two logs in with an app beside the password.
func (w *world) two(email, password, secret string) string {
	w.t.Helper()
	a := w.want(w.post("/auth/login", credentialsJSON(email, password)), 200, "login")
	w.now.advance(60e9) // another step of the app
	return w.want(w.post("/auth/mfa/totp", object("flow", a.Flow, "code", w.code(secret))), 200, "code").Token
}

// factorOf returns the id of the only factor of a user.
func (w *world) factorOf(user string) string {
	w.t.Helper()
	list, err := w.id.factors.List(w.t.Context(), user)
	if err != nil || len(list) != 1 {
		w.t.Fatalf("factors %+v %v, want one", list, err)
	}
	return list[0].ID
}

const shortPassword = "kx7!qmzt"

// TestLastFactorKeepsShortPassword: the last factor goes only when the password is
// known to be one that can stand alone, whoever answered for it.
func TestLastFactorKeepsShortPassword(t *testing.T) {
	for _, c := range []struct {
		name     string
		password string
		begin    func(w *world, u User)
		refused  bool
	}{
		{"long", goodPassword, func(*world, User) {}, false},
		{"short, by the word of an administrator", shortPassword, func(*world, User) {}, true},
		{"short, chosen beside the factor", goodPassword, func(w *world, u User) {
			w.expect("choose", w.post(passwordPath, object("token", w.recoverToken(u.Email), "password", shortPassword)), 204, problem.OK)
		}, true},
		{"of an unknown length, which the login shows to be long", goodPassword, func(w *world, _ User) { w.exec("UPDATE users SET password_stands = ''") }, false},
		{"short, though an older program wrote it", shortPassword, func(w *world, _ User) { w.exec("UPDATE users SET password_stands = ''") }, true},
		{"none", goodPassword, func(*world, User) {}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newMailWorld(t)
			u := w.addUser("ada@shop.example", c.password)
			secret := w.giveApp(u.ID)
			c.begin(w, u)
			password := c.password
			if strings.Contains(c.name, "chosen") {
				password = shortPassword
			}
			token := w.two(u.Email, password, secret)
			if c.name == "none" {
				w.exec("UPDATE users SET password = '', password_stands = ''")
			}
			remove := "/auth/factors/" + w.factorOf(u.ID) + "/remove"
			if !c.refused {
				w.expect("remove", w.as(token, remove, "{}"), 204, problem.OK)
				return
			}
			w.expect("remove", w.as(token, remove, "{}"), 422, problem.AccountPassword)
			if held, err := w.id.factors.Has(t.Context(), u.ID); err != nil || !held.Any() {
				t.Fatalf("held %+v %v: the factor is gone", held, err)
			}
			page := w.do(ask{method: "POST", path: remove, cookie: token, header: map[string]string{"Content-Type": formType, "Accept": browser}})
			if page.Code != 422 || !strings.Contains(page.Body.String(), `name="current"`) || !strings.Contains(page.Body.String(), `minlength="15"`) ||
				!strings.Contains(page.Body.String(), "Choose a longer one first") {
				t.Errorf("the page: %d, want the form of a longer password\n%s", page.Code, page.Body)
			}
			w.expect("another short one", w.as(token, passwordPath, object("current", password, "password", "zw4 kQ9p")), 204, problem.OK)
			w.expect("remove with another short one", w.as(token, remove, "{}"), 422, problem.AccountPassword)
			w.expect("a long one", w.as(token, passwordPath, object("current", "zw4 kQ9p", "password", "another long password")), 204, problem.OK)
			w.expect("remove with a long one", w.as(token, remove, "{}"), 204, problem.OK)
		})
	}
}

// TestOneOfTwoFactors: while another factor stays, so may a short password.
func TestOneOfTwoFactors(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", shortPassword)
	secret := w.giveApp(u.ID)
	first := w.factorOf(u.ID)
	w.givePasskey(w.two(u.Email, shortPassword, secret))
	w.now.advance(60e9)
	token := w.two(u.Email, shortPassword, secret)
	w.expect("one of two", w.as(token, "/auth/factors/"+first+"/remove", "{}"), 204, problem.OK)
	w.expect("the last", w.as(token, "/auth/factors/"+w.factorOf(u.ID)+"/remove", "{}"), 422, problem.AccountPassword)
}

// TestShortPasswordAgainstRemoval: a short password that was judged beside a factor
// is not stored once the factor has gone.
func TestShortPasswordAgainstRemoval(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	secret := w.giveApp(u.ID)
	token := w.two(u.Email, goodPassword, secret)
	change := func() { w.count.before = func() { w.exec("DELETE FROM factors") } }
	w.expect("while it is held", w.as(token, passwordPath, object("current", goodPassword, "password", shortPassword)), 204, problem.OK)
	w.expect("long again", w.as(token, passwordPath, object("current", shortPassword, "password", goodPassword)), 204, problem.OK)
	change()
	w.expect("it went meanwhile", w.as(token, passwordPath, object("current", goodPassword, "password", shortPassword)), 422, problem.AccountPassword)
	if !w.logsIn(u.Email, goodPassword) {
		t.Error("the password of before is not in force")
	}
}

// TestResetFactors: after an administrator has removed the factors of a user, the
// next login leads to a password that can stand alone, unless it is one.
func TestResetFactors(t *testing.T) {
	for _, c := range []struct {
		name, password string
		roles          []string
		step           string
	}{
		{"a long password", goodPassword, nil, ""},
		{"a short one, once vouched for", shortPassword, nil, "password"},
		{"an administrator must hold a factor, and may have a short one beside it", shortPassword, []string{AdminRole}, "enroll"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newMailWorld(t)
			u := w.addUser("ada@shop.example", c.password, c.roles...)
			wantReason(t, "none is held", w.id.ResetFactors(t.Context(), u.ID), problem.AdminConflict)
			if len(c.roles) == 0 && !w.logsIn(u.Email, c.password) {
				t.Fatal("positive control: what an administrator answers for does not log in")
			}
			secret := w.giveApp(u.ID)
			token := w.two(u.Email, c.password, secret)
			w.letters.take()
			if err := w.id.ResetFactors(t.Context(), u.ID); err != nil {
				t.Fatal(err)
			}
			if l := w.oneLetter(u.Email, "removed"); !strings.Contains(l.Text, "phone") {
				t.Errorf("the letter does not name the factor:\n%s", l.Text)
			}
			if _, lives := w.sessions.lookup(token); lives {
				t.Error("a session lives on")
			}
			a := w.want(w.post("/auth/login", credentialsJSON(u.Email, c.password)), 200, "login")
			if a.Step != c.step || (a.Token == "") != (c.step != "") {
				t.Fatalf("login %+v, want the step %q", a, c.step)
			}
			if c.step != "password" {
				return
			}
			page := w.postForm("/auth/login", "email=ada%40shop.example&password="+strings.ReplaceAll(shortPassword, "!", "%21"))
			if !strings.Contains(page.Body.String(), "no second factor now") {
				t.Errorf("the page: %d\n%s", page.Code, page.Body)
			}
			for _, password := range []string{c.password, "zw4 kQ9p"} {
				w.refused(w.post("/auth/mfa/password", object("flow", a.Flow, "password", password)), "account.password", password)
			}
			w.want(w.post("/auth/mfa/password", object("flow", a.Flow, "password", "another long password")), 200, "a long one")
			if w.logsIn(u.Email, c.password) || !w.logsIn(u.Email, "another long password") {
				t.Error("the short one is in force")
			}
		})
	}
	w := newMailWorld(t)
	wantReason(t, "nobody", w.id.ResetFactors(t.Context(), "nobody"), problem.AccountUnknown)
}

// TestStandingIsKept: each way to a password says whether it can stand alone.
func TestStandingIsKept(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	stands := func() string {
		t.Helper()
		a, _, err := w.id.accountByID(t.Context(), u.ID)
		if err != nil {
			t.Fatal(err)
		}
		return a.stands
	}
	for _, step := range []struct {
		name string
		do   func() error
		want string
	}{
		{"added with a long one", func() error { return nil }, standsLong},
		{"a short one was set", func() error { return w.id.SetPassword(t.Context(), u.ID, obs.Secret(shortPassword)) }, standsVouched},
		{"a login with a short one", func() error { w.login(u.Email, shortPassword); return nil }, standsVouched},
		{"a long one was set", func() error { return w.id.SetPassword(t.Context(), u.ID, obs.Secret(goodPassword)) }, standsLong},
		{"not known", func() error { w.exec("UPDATE users SET password_stands = ''"); return nil }, ""},
		{"a wrong login", func() error {
			w.post("/auth/login", credentialsJSON(u.Email, "a wrong password, and long"))
			return nil
		}, ""},
		{"a login with a long one", func() error { w.login(u.Email, goodPassword); return nil }, standsLong},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := stands(); got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}
