package e2e

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// walkLogout: a program asks to log its user out; the user says whether, unless the
// program shows that it is of this session.
func walkLogout(t *testing.T, c *chrome, s *programsSite) {
	lou := s.addUser("lou@shop.example")
	b := s.tab(t, c)
	b.enter(lou)
	s.letter(lou.Email, "New login")
	bye := url.Values{"client_id": {"reports"}, "post_logout_redirect_uri": {s.program + "/bye"}, "state": {"st"}}
	leave := "/oauth/logout?" + bye.Encode()

	b.open(200, leave)
	b.asks("Log out?")
	b.says("main", "Quarterly Reports would like to log you out here as well.")
	b.submit(200, deny)
	b.at("/auth/account", "Your account")
	b.open(200, leave)
	s.press(b, allow)
	if got := b.where(); got != s.program+"/bye?state=st" {
		t.Errorf("after a logout the tab is at %s", got)
	}
	b.open(200, "/auth/account")
	b.at("/auth/login", "Log in")

	b.enter(lou)
	b.open(200, "/oauth/logout") // of nobody: by an address that somebody typed
	b.asks("Log out?")
	b.says("main", "Do you want to log out here?")
	b.submit(200, allow)
	b.asks("Logged out")
	b.leads(200, chromedp.Click(chromedp.CSS(".beside a")))
	b.at("/auth/login", "Log in")
	b.open(200, "/oauth/logout?client_id=reports") // who is logged out already
	b.asks("Logged out")
	b.says("main", "Quarterly Reports")

	// With an ID token of this session nobody is asked.
	b.enter(lou)
	b.open(200, s.request("openid"))
	s.press(b, allow)
	_, id := s.redeem(b)
	bye.Set("id_token_hint", id)
	b.arrives(200, s.program+"/bye", chromedp.Navigate(b.site+"/oauth/logout?"+bye.Encode()))
	b.open(200, "/auth/account")
	b.at("/auth/login", "Log in")

	b.enter(lou)
	b.speaks("de")
	b.open(200, leave)
	b.asks("Abmelden?")
	b.submit(200, deny)
	b.look()
	b.open(200, "/oauth/logout")
	b.submit(200, allow)
	b.asks("Abgemeldet")
}

// walkInvitation: where accounts are for those who are invited, a letter is the way
// to one, once, and brings the roles that it was sent with.
func walkInvitation(t *testing.T, c *chrome) {
	s := startAccountSite(t, strings.Replace(accountsMap, "registration: open", "registration: invited", 1))
	b := c.tab(t, s.url)
	b.open(200, "/auth/login")
	b.at("/auth/login", "Log in")
	if n := b.count(`a[href^="/auth/register"]`); n != 0 {
		t.Errorf("%d links lead to the registration", n)
	}
	b.open(404, "/auth/register")

	s.must("user", "invite", "mia@shop.example", "--role", "support")
	link := s.link("mia@shop.example", "invit", "/auth/verify")
	b.open(200, link)
	b.at("/auth/verify"+queryOf(link), "Welcome")
	b.says("main", "You are invited to shop.example")
	b.unchecked()
	b.submit(422, "button.main", "password", "mia@shop.example")
	b.at("/auth/verify", "Welcome")
	b.says("[role=alert]", "Choose another password")
	b.submit(200, "button.main", "password", chosen)
	b.at("/auth/login?notice=verified", "Log in")
	b.submit(200, "button.main", "email", "mia@shop.example", "password", chosen)
	b.at("/auth/account", "Your account")
	b.says("#profile .tags", "support")

	other := c.tab(t, s.url)
	other.open(410, link)
	other.at("/auth/verify"+queryOf(link), "This step has ended")
	if _, errs, code := s.run("user", "invite", "mia@shop.example"); code != 1 {
		t.Errorf("an invitation for who has an account: %d %s", code, errs)
	}
	s.must("user", "invite", "ned@shop.example")
	first := s.link("ned@shop.example", "invit", "/auth/verify")
	s.must("user", "invite", "ned@shop.example") // the later one counts
	second := s.link("ned@shop.example", "invit", "/auth/verify")
	other.open(410, first)
	other.speaks("de")
	other.open(200, second)
	other.at("/auth/verify"+queryOf(second), "Willkommen")
}
