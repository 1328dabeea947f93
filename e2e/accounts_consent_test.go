package e2e

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// The buttons of the pages that ask for a decision.
const (
	allow = `button[value="allow"]`
	deny  = `button[value="deny"]`
)

// walkConsent is the way of a program's user: the login, the question, yes and no;
// then what was granted stands on the account page, and ends there.
func walkConsent(t *testing.T, c *chrome, s *programsSite) {
	ada := s.addUser("ada@shop.example")
	b := s.tab(t, c)
	b.open(200, s.request("openid email profile offline_access things.read"))
	if where := b.where(); !strings.HasPrefix(where, "/auth/login?next=%2Foauth%2Fauthorize") {
		t.Errorf("nobody yet: the tab came to %s", where)
	}
	b.look()
	b.submit(401, "button.main", "email", ada.Email, "password", "not the one that was chosen")
	b.look()
	b.arrives(200, "/oauth/authorize/", chromedp.SendKeys(chromedp.ID("password"), ada.Password+"\n"))
	b.asks("Allow Quarterly Reports to use your account?")
	b.says("main", ada.Email)
	b.says("main", "127.0.0.1")
	for _, word := range []string{"Know who you are here", "See your e-mail address", "See your name and profile", "Keep access while you are away", "things.read"} {
		b.says(".ticks", word)
	}
	s.press(b, deny)
	if got := s.answer(b); got.Get("error") != "access_denied" || got.Has("code") {
		t.Errorf("after a no the program was told %s", got)
	}
	b.open(200, "/auth/account")
	if b.count("#grants") != 0 {
		t.Error("after a no there is something granted")
	}
	s.letter(ada.Email, "New login")

	// Yes, by the keyboard alone: what is asked for is a click away from nothing else.
	b.open(200, s.request("openid things.read offline_access"))
	b.asks("Allow Quarterly Reports to use your account?")
	b.do(chromedp.Focus(chromedp.CSS(allow)))
	b.arrives(200, s.program, chromedp.KeyEvent("\r"))
	g, _ := s.redeem(b)
	visit := func() string { return s.do(call{path: "/mine", bearer: g.Access}).reason() }
	if got := visit(); got != "" {
		t.Fatalf("the token that was granted: %s", got)
	}
	b.arrives(200, s.program, chromedp.Navigate(b.site+s.request("openid things.read"))) // nothing new: nobody is asked
	if !s.answer(b).Has("code") {
		t.Errorf("asked for again the program was told %s", s.answer(b))
	}
	b.open(200, s.request("openid email"))
	b.asks("Allow Quarterly Reports to use your account?")

	b.speaks("de")
	b.open(200, s.request("openid email profile offline_access things.read"))
	b.asks("Quarterly Reports Zugriff auf Ihr Konto erlauben?")
	b.speaks("en")

	b.open(200, "/auth/grants")
	b.at("/auth/account#grants", "Your account")
	b.says("#grants .name", "Quarterly Reports")
	b.says("#grants .tags", "things.read")
	b.submit(200, formTo("/auth/grants/reports/revoke"))
	b.at("/auth/account?notice=grant_revoked", "Your account")
	b.says("[role=status]", "The app no longer has access.")
	if b.count("#grants") != 0 {
		t.Error("the grant is still there")
	}
	if got := visit(); got != "auth.revoked" {
		t.Errorf("the token of a grant that was taken back: %q", got)
	}
	b.open(200, s.request("openid things.read")) // it has to ask again
	b.asks("Allow Quarterly Reports to use your account?")
}

// asks is at for the pages of a request, whose address nobody knows beforehand.
func (b *tab) asks(heading string) {
	b.t.Helper()
	where := b.where()
	path, _, _ := strings.Cut(where, "?")
	if h1 := b.text("h1"); h1 != heading || !strings.HasPrefix(path, "/oauth/") {
		b.t.Fatalf("at %q under %q, want a request's page under %q; the page says %q", where, h1, heading, b.text("main"))
	}
	b.look()
}

// walkHalfWay: a page that waits for a decision while its session ends, or its
// request is opened elsewhere.
func walkHalfWay(t *testing.T, c *chrome, s *programsSite) {
	bea := s.addUser("bea@shop.example")
	b := s.tab(t, c)
	b.enter(bea)
	s.letter(bea.Email, "New login")
	b.open(200, s.request("openid things.read"))
	b.asks("Allow Quarterly Reports to use your account?")
	flow := eval[string](b, `document.querySelector("input[name=flow]").value`)

	other := s.tab(t, c) // the same request in another browser
	other.enter(bea)
	other.open(410, "/oauth/authorize/"+flow)
	other.look()
	other.says("main", "This step has ended")

	s.must("session", "revoke", bea.Email)
	b.arrives(200, "/auth/login?next=", chromedp.Click(chromedp.CSS(allow)))
	b.look()
	b.arrives(200, "/oauth/authorize/", chromedp.SendKeys(chromedp.ID("email"), bea.Email), chromedp.SendKeys(chromedp.ID("password"), bea.Password+"\n"))
	b.asks("Allow Quarterly Reports to use your account?")
	s.press(b, allow)
	code := s.answer(b).Get("code")
	if code == "" {
		t.Fatalf("the program was told %s", s.answer(b))
	}
	b.open(410, "/oauth/authorize/"+flow) // once
	b.look()

}

// walkOnward: where there is nothing to ask, a form of ours leads on to the program.
// A browser holds all that follows a form to the form-action of its page, so that a
// plain redirect would end there.
func walkOnward(t *testing.T, c *chrome, s *programsSite) {
	max := s.addUser("max@shop.example")
	b := s.tab(t, c)
	b.enter(max)
	b.open(200, s.request("openid things.read"))
	s.press(b, allow)
	b.open(200, "/auth/account")
	b.submit(200, "header "+formTo("/auth/logout"))
	told := func(how string) {
		t.Helper()
		if !s.answer(b).Has("code") {
			t.Errorf("%s: the program was told %s", how, s.answer(b))
		}
	}

	b.open(200, s.request("openid things.read"))
	b.arrives(200, s.program, chromedp.SendKeys(chromedp.ID("email"), max.Email), chromedp.SendKeys(chromedp.ID("password"), max.Password+"\n"))
	told("a login")

	b.open(200, s.request("openid things.read", "prompt", "login"))
	if where := b.where(); !strings.HasPrefix(where, "/auth/step-up?next=") {
		t.Fatalf("prompt=login led to %s", where)
	}
	b.at(b.where(), "Is it you?")
	b.submit(401, "main button.main", "password", "not the one that was chosen")
	b.look()
	b.arrives(200, s.program, chromedp.SendKeys(chromedp.ID("password"), max.Password+"\n"))
	told("a new proof")

	b.arrives(200, s.program, chromedp.Navigate(b.site+s.request("openid email", "prompt", "none"))) // nobody may be asked
	if got := s.answer(b).Get("error"); got != "consent_required" {
		t.Errorf("prompt=none with something new: %s", s.answer(b))
	}
}

// walkWrongRequests: where the program cannot be told, the user is.
func walkWrongRequests(t *testing.T, c *chrome, s *programsSite) {
	b := s.tab(t, c)
	for _, wrong := range []struct {
		name, path string
		status     int
	}{
		{"no such program", s.request("openid", "client_id", "nobody"), 401},
		{"another address", s.request("openid", "redirect_uri", "https://evil.example/cb"), 400},
		{"no such request", "/oauth/authorize/" + strings.Repeat("A", 43), 410},
		{"logout to elsewhere", "/oauth/logout?" + url.Values{"client_id": {"reports"}, "post_logout_redirect_uri": {"https://evil.example/"}}.Encode(), 400},
	} {
		b.open(wrong.status, wrong.path)
		b.look()
		if b.count("main form") != 0 || strings.Contains(b.text("main"), "evil.example") || b.count(`a[href*="evil"]`) != 0 {
			t.Errorf("%s: the page says %q", wrong.name, b.text("main"))
		}
	}
	b.arrives(200, s.program, chromedp.Navigate(b.site+s.request("openid no.such"))) // it can be told, and is
	if got := s.answer(b).Get("error"); got != "invalid_scope" {
		t.Errorf("a scope of nobody: %s", s.answer(b))
	}
}
