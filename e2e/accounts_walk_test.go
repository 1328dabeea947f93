package e2e

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// What people of the walks choose.
const (
	chosen = "seven kettles on a quiet roof"
	newer  = "eleven lanterns under the ferry"
)

// TestAccounts walks all pages of the account service in one browser, on the real
// binary, with letters by real SMTP.
func TestAccounts(t *testing.T) {
	t.Parallel()
	c := startChrome(t)
	site := startAccountSite(t, accountsMap)
	for _, walk := range []struct {
		name string
		do   func(*testing.T, *chrome, *accountSite)
	}{
		{"main", walkMain}, {"again", walkAgain}, {"password", walkPassword}, {"email", walkEmail}, {"profile", walkProfile},
		{"sessions", walkSessions}, {"totp", walkTOTP}, {"passkey", walkPasskey}, {"keys", walkKeys}, {"export", walkExport}, {"delete", walkDelete},
	} {
		t.Run(walk.name, func(t *testing.T) { walk.do(t, c, site.of(t)) })
	}
	t.Run("bootstrap", func(t *testing.T) { walkBootstrap(t, c) })
	t.Run("aged", func(t *testing.T) { walkAged(t, c) })
	t.Run("closed", func(t *testing.T) { walkClosed(t, c) })
	t.Run("theme", func(t *testing.T) { walkTheme(t, c) })
	t.Run("engines", func(t *testing.T) { // the store and the counters of more than one process
		e := startEngines(t)
		over := newAccountSite(t, accountsMap+storeKey)
		e.into(over.zoned)
		over.serve()
		walkMain(t, c, over)
		walkTOTP(t, c, over)
	})
}

// enter logs in on the login page, and wants to come to the account page.
func (b *tab) enter(a account) {
	b.t.Helper()
	b.open(200, "/auth/login")
	b.submit(200, "button.main", "email", a.Email, "password", a.Password)
	b.at("/auth/account", "Your account")
}

// walkMain is the way of a new user: register, confirm, log in, log out, forget
// the password.
func walkMain(t *testing.T, c *chrome, s *accountSite) {
	ada := account{Email: "ada@shop.example", Password: chosen}
	b := c.tab(t, s.url)

	b.open(200, "/auth/email") // nobody yet: the login page, and the way back
	b.at("/auth/login?next=%2Fauth%2Femail", "Log in")
	b.leads(200, chromedp.Click(chromedp.CSS(".beside a")))
	if where := b.where(); !strings.EqualFold(where, "/auth/register?next=%2fauth%2femail") {
		t.Errorf("the way to register is %s", where)
	}
	b.look()
	b.says(".hint", "At least 15 characters")
	b.submit(422, "button.main", "email", ada.Email, "password", "aaaaaaaaaaaaaaaaaaaa")
	b.at("/auth/register", "Create your account")
	b.says("[role=alert]", "Choose another password")
	if got := eval[string](b, "document.activeElement.id + ' ' + document.getElementById('email').value + document.getElementById('password').value"); got != "password "+ada.Email {
		t.Errorf("after a refusal the focus is on and the fields hold %q", got)
	}
	b.do(chromedp.SendKeys(chromedp.ID("password"), chosen), chromedp.WaitVisible(chromedp.CSS(".strength[data-score='4']")))
	b.submit(202, "button.main")
	b.at("/auth/register", "Check your mail")

	letter := s.letter(ada.Email, "Confirm your address")
	if got := s.do(call{method: "POST", path: "/auth/login", json: true, body: loginBody(ada)}); got.reason() != "auth.login" {
		t.Errorf("a login before the address is confirmed: %d %s", got.Status, got.reason())
	}
	b.open(200, letter.Link(t, "/auth/verify").String())
	b.at("/auth/verify"+queryOf(letter.Link(t, "/auth/verify").String()), "Confirm your address")
	if b.count("input[type=password]") != 0 {
		t.Error("the browser that chose the password is asked for another")
	}
	b.submit(200, "button.main")
	b.at("/auth/login?notice=verified", "Log in")
	b.says("[role=status]", "Your address is confirmed")

	b.submit(401, "button.main", "email", ada.Email, "password", "not the one that was chosen")
	b.at("/auth/login", "Log in")
	b.says("[role=alert]", "E-mail or password is wrong")
	if title := eval[string](b, "document.title"); !strings.HasPrefix(title, "Error: ") {
		t.Errorf("the title of a refusal is %q", title)
	}
	// By the keyboard alone: the password has the focus, as the field to go on with.
	b.leads(200, chromedp.KeyEvent(chosen), chromedp.KeyEvent(kb.Enter))
	b.at("/auth/account", "Your account")
	b.says(".head .email", ada.Email)
	b.says("#sessions", "This session")
	s.letter(ada.Email, "New login")
	b.reaches(200, "/mine")

	b.open(410, letter.Link(t, "/auth/verify").String()) // once
	b.look()

	b.open(200, "/auth/account")
	b.submit(200, "header "+formTo("/auth/logout"))
	b.at("/auth/login?bye", "Log in")
	b.says("[role=status]", "You are logged out")
	b.open(200, "/auth/account")
	b.at("/auth/login", "Log in")

	b.leads(200, chromedp.Click(chromedp.CSS(".under a")))
	b.at("/auth/recover", "Forgot your password?")
	b.submit(202, "button.main", "email", "ADA@shop.example")
	b.at("/auth/recover", "Check your mail")
	link := s.link(ada.Email, "Choose a new password", "/auth/password")
	b.open(200, link)
	b.at("/auth/password"+queryOf(link), "Choose a new password")
	b.unchecked()
	b.submit(422, "button.main", "password", "too short")
	b.at("/auth/password", "Choose a new password")
	elsewhere := s.login(ada)
	b.submit(200, "button.main", "password", newer)
	b.at("/auth/login?notice=password_changed", "Log in")
	b.says("[role=status]", "Your password is changed")
	s.letter(ada.Email, "password")
	if got := s.do(call{path: "/mine", bearer: elsewhere}); got.reason() != "auth.revoked" {
		t.Errorf("a session from before the recovery: %d %s", got.Status, got.reason())
	}
	b.open(410, link)
	b.look()
	b.open(200, "/auth/login")
	b.submit(401, "button.main", "email", ada.Email, "password", chosen) // that was
	b.submit(200, "button.main", "password", newer)
	b.at("/auth/account", "Your account")
}

func queryOf(link string) string { return link[strings.IndexByte(link, '?'):] }

// walkAgain: what does not tell whether there is an account, and a registration
// that is confirmed in another browser than the one that chose the password.
func walkAgain(t *testing.T, c *chrome, s *accountSite) {
	bob := s.addUser("bob@shop.example")
	b := c.tab(t, s.url)
	b.open(200, "/auth/register")
	b.submit(202, "button.main", "email", bob.Email, "password", chosen)
	known := eval[string](b, "document.documentElement.outerHTML")
	b.open(200, "/auth/register")
	b.submit(202, "button.main", "email", "new@shop.example", "password", chosen)
	unknown := eval[string](b, "document.documentElement.outerHTML")
	if strings.ReplaceAll(known, bob.Email, "new@shop.example") != unknown {
		t.Errorf("the page tells that there is an account:\n%s\n%s", known, unknown)
	}
	if m := s.letter(bob.Email, "You already have an account"); strings.Contains(m.Text, "token=") {
		t.Errorf("the letter to the owner of an account holds a token:\n%s", m.Text)
	}
	if got := s.do(call{method: "POST", path: "/auth/login", json: true, body: loginBody(account{Email: bob.Email, Password: chosen})}); got.reason() != "auth.login" {
		t.Errorf("the password of the stranger: %d %s", got.Status, got.reason())
	}

	link := s.link("new@shop.example", "Confirm your address", "/auth/verify")
	other := c.tab(t, s.url)
	other.open(200, link)
	other.at("/auth/verify"+queryOf(link), "Confirm your address")
	if other.count("input[type=password]") != 1 {
		t.Fatal("another browser takes over the password that somebody chose")
	}
	other.submit(200, "button.main", "password", newer)
	other.at("/auth/login?notice=verified", "Log in")
	other.submit(401, "button.main", "email", "new@shop.example", "password", chosen)
	other.submit(200, "button.main", "password", newer)
	other.at("/auth/account", "Your account")
}

// walkPassword changes a password: the other sessions end, this one stays.
func walkPassword(t *testing.T, c *chrome, s *accountSite) {
	eve := s.addUser("eve@shop.example")
	b := c.tab(t, s.url)
	b.enter(eve)
	s.letter(eve.Email, "New login")
	elsewhere := s.login(eve)
	b.leads(200, chromedp.Click(chromedp.CSS(`#password a[href="/auth/password"]`)))
	b.at("/auth/password", "Change your password")
	b.submit(401, "button.main", "current", "not the one", "password", newer)
	b.at("/auth/password", "Change your password")
	b.says("[role=alert]", "The current password is wrong")
	b.submit(422, "button.main", "current", eve.Password, "password", eve.Email+eve.Email)
	b.at("/auth/password", "Change your password")
	b.submit(200, "button.main", "current", eve.Password, "password", newer)
	b.at("/auth/account?notice=password_changed", "Your account")
	b.says("[role=status]", "Your password is changed")
	s.letter(eve.Email, "password")
	if got := s.do(call{path: "/mine", bearer: elsewhere}); got.reason() != "auth.revoked" {
		t.Errorf("the session elsewhere: %d %s", got.Status, got.reason())
	}
	b.reaches(200, "/mine")
	s.login(account{Email: eve.Email, Password: newer})
}

// walkEmail changes an address: by a letter to the new one, with a notice to the
// old one.
func walkEmail(t *testing.T, c *chrome, s *accountSite) {
	old, moved := s.addUser("fay@shop.example"), "fay@new.example"
	b := c.tab(t, s.url)
	b.enter(old)
	s.letter(old.Email, "New login")
	b.leads(200, chromedp.Click(chromedp.CSS(`#profile a[href="/auth/email"]`)))
	b.at("/auth/email", "Change your e-mail address")
	b.unchecked()
	b.submit(400, "button.main", "email", "fay@new.example.")
	b.at("/auth/email", "Change your e-mail address")
	b.submit(202, "button.main", "email", moved)
	b.at("/auth/email", "Check your mail")
	b.open(200, "/auth/account")
	b.says(".head .email", old.Email) // until it is confirmed

	link := s.link(moved, "Confirm your new address", "/auth/verify")
	stranger := c.tab(t, s.url)
	stranger.open(200, link) // a letter is no login
	if where := stranger.where(); !strings.HasPrefix(where, "/auth/login?next=") {
		t.Errorf("a stranger's browser came to %s", where)
	}
	b.open(200, link)
	b.at("/auth/verify"+queryOf(link), "Confirm your new address")
	b.submit(200, "button.main")
	b.at("/auth/account?notice=email_changed", "Your account")
	b.says(".head .email", moved)
	s.letter(old.Email, "has a new address")
	s.login(account{Email: moved, Password: old.Password})
	if got := s.do(call{method: "POST", path: "/auth/login", json: true, body: loginBody(old)}); got.reason() != "auth.login" {
		t.Errorf("the old address: %d %s", got.Status, got.reason())
	}
}

// walkProfile gives a name and another language, in which all pages are then.
func walkProfile(t *testing.T, c *chrome, s *accountSite) {
	gus := s.addUser("gus@shop.example")
	b := c.tab(t, s.url)
	b.enter(gus)
	s.letter(gus.Email, "New login")
	b.do(chromedp.SetValue(chromedp.ID("locale"), "de"))
	b.lang = "de"
	b.submit(200, formTo("/auth/profile"), "name", "Gus <b>Änder</b>")
	b.at("/auth/account?notice=profile_saved", "Ihr Konto")
	b.says("[role=status]", "Gespeichert")
	if got := eval[string](b, "document.getElementById('name').value"); got != "Gus <b>Änder</b>" {
		t.Errorf("the name is %q", got)
	}
	b.open(200, "/auth/password")
	b.look()
	b.says("header", "Gus <b>Änder</b>")
	b.open(200, "/auth/email")
	b.at("/auth/email", "E-Mail-Adresse ändern")
	for _, path := range []string{"/auth/delete", "/auth/keys", "/auth/factors/passkey", "/auth/step-up"} {
		b.open(200, path)
		b.look()
	}
	b.open(200, "/auth/account")
	b.submit(200, formTo("/auth/factors/totp/begin"))
	b.look()
	b.open(200, "/auth/account")
	b.submit(200, "header "+formTo("/auth/logout"))
	b.lang = "en" // the browser's
	b.at("/auth/login?bye", "Log in")
	b.open(200, "/auth/recover")
	b.submit(202, "button.main", "email", gus.Email)
	s.letter(gus.Email, "Wählen Sie ein neues Passwort")
}

// walkSessions lists where a user is logged in, and ends it: one, all others, all.
func walkSessions(t *testing.T, c *chrome, s *accountSite) {
	hal := s.addUser("hal@shop.example")
	b := c.tab(t, s.url)
	b.enter(hal)
	s.letter(hal.Email, "New login")
	one, two, three := s.login(hal), s.login(hal), s.login(hal)
	alive := func(token string, want bool) {
		t.Helper()
		if got := s.do(call{path: "/mine", bearer: token}); (got.Status == 200) != want {
			t.Errorf("a session: %d %s, want it alive %v", got.Status, got.reason(), want)
		}
	}
	b.open(200, "/auth/sessions")
	b.at("/auth/account#sessions", "Your account")
	if n := b.count("#sessions .rows > li"); n != 4 {
		t.Errorf("%d sessions are listed, want 4", n)
	}
	b.says("#sessions .rows > li:first-child", "Chrome, Linux")
	b.says("#sessions .rows > li:first-child", "This session")
	b.says("#sessions .rows > li:last-child", "Go")
	var list struct {
		Sessions []struct {
			ID      string
			Current bool
		}
	}
	s.json(call{path: "/auth/sessions", bearer: two}, 200, &list)
	for _, x := range list.Sessions {
		if x.Current {
			b.submit(200, formTo("/auth/sessions/"+x.ID+"/revoke"))
		}
	}
	b.look()
	if where := b.where(); !strings.HasPrefix(where, "/auth/account") {
		t.Errorf("ended a session and came to %s", where)
	}
	alive(one, true)
	alive(two, false)
	b.submit(200, formTo("/auth/sessions/revoke-others"))
	b.look()
	alive(one, false)
	alive(three, false)
	if n := b.count("#sessions .rows > li"); n != 1 {
		t.Errorf("%d sessions are listed, want 1", n)
	}
	four := s.login(hal)
	b.open(200, "/auth/account")
	b.submit(200, "#sessions "+formTo("/auth/logout"))
	b.at("/auth/login?bye", "Log in")
	alive(four, false)
	b.open(200, "/auth/account")
	b.at("/auth/login", "Log in")
}
