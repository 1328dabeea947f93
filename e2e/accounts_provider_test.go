package e2e

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// outside is somebody at the provider.
func outside(sub, email string, verified bool) map[string]any {
	return map[string]any{"sub": sub, "email": email, "email_verified": verified, "name": "Somebody " + sub}
}

// walkProvider chooses a provider on the login page: its word makes an account that
// has nothing else to come in by.
func walkProvider(t *testing.T, c *chrome, s *programsSite) {
	s.set(t, "right", outside("eli", "eli@outside.example", true))
	b := s.tab(t, c)
	b.open(200, "/auth/login?next=/auth/sessions")
	b.at("/auth/login?next=/auth/sessions", "Log in")
	b.says(".others", "Continue with Outside")
	b.says(".others", "Continue with The Lighthouse Keepers & Sons")
	b.arrives(200, "/auth/account", chromedp.Click(chromedp.CSS(formTo("/auth/providers/sso"))))
	b.at("/auth/account#sessions", "Your account")
	b.says(".head .email", "eli@outside.example")
	b.says("#password", "This account has no password.")
	b.says("#providers li:last-child", "eli@outside.example")

	b.submit(409, formTo("/auth/providers/sso/unlink")) // nothing else opens the account
	b.at("/auth/providers/sso/unlink", "This cannot be done now")
	b.says("main", "Choose a password first")

	b.open(200, "/auth/account")
	b.submit(200, "header "+formTo("/auth/logout"))
	b.arrives(200, "/auth/account", chromedp.Click(chromedp.CSS(formTo("/auth/providers/sso"))))
	b.at("/auth/account", "Your account")
}

// walkLink: an account with the address that the provider verified is connected by
// its password, and by nothing less.
func walkLink(t *testing.T, c *chrome, s *programsSite) {
	fin := s.addUser("fin@shop.example")
	s.set(t, "right", outside("fin", fin.Email, true))
	toProvider := chromedp.Click(chromedp.CSS(formTo("/auth/providers/sso")))
	const callback = "/auth/providers/sso/callback"
	b := s.tab(t, c)
	b.open(200, "/auth/login")
	b.arrives(200, callback, toProvider)
	b.at(b.where(), "Connect Outside with your account")
	b.says("main", fin.Email)
	b.submit(401, "button.main", "password", "not the one that was chosen")
	b.at("/auth/providers/sso/link", "Connect Outside with your account")
	b.says("[role=alert]", "The password is wrong")
	b.submit(200, "button.main", "password", fin.Password)
	b.at("/auth/account", "Your account")
	s.letter(fin.Email, "Outside")
	b.says("#providers li:last-child", fin.Email)
	b.submit(200, formTo("/auth/providers/sso/unlink"))
	b.at("/auth/account?notice=provider_unlinked", "Your account")
	b.says("[role=status]", "The provider is disconnected.")
	b.says("#providers li:last-child", "not connected")

	gil := s.addUser("gil@shop.example") // who is asked for the password is not let in by guesses
	s.set(t, "right", outside("gil", gil.Email, true))
	guesses := s.tab(t, c)
	guesses.open(200, "/auth/login")
	guesses.arrives(200, callback, toProvider)
	for range 5 {
		guesses.submit(401, "button.main", "password", "not the one that was chosen")
	}
	guesses.submit(410, "button.main", "password", gil.Password)
	guesses.at("/auth/providers/sso/link", "This step has ended")
	guesses.reaches(401, "/auth/me")

	hana := s.addUser("hana@shop.example")
	s.set(t, "right", outside("hana", hana.Email, true))
	german := s.tab(t, c)
	german.speaks("de")
	german.open(200, "/auth/login")
	german.arrives(200, callback, toProvider)
	german.at(german.where(), "Outside mit Ihrem Konto verbinden")
}

// walkRefusingProvider: a provider says no, cannot be reached, or says too little.
func walkRefusingProvider(t *testing.T, c *chrome, s *programsSite) {
	for _, of := range []struct {
		name, provider, how string
		account             map[string]any
		status              int
		heading, says       string
	}{
		{"denied", "sso", "denied", outside("ian", "ian@outside.example", true), 403, "The other provider did not log you in", "The login was cancelled there"},
		{"wrong", "sso", "nonce", outside("ian", "ian@outside.example", true), 401, "The other provider did not log you in", "Its answer did not fit"},
		{"unverified", "sso", "right", outside("ian", "ian@outside.example", false), 409, "This cannot be done now", "not connected with an account here"},
		{"gone", "gone", "right", outside("ian", "ian@outside.example", true), 503, "The other provider cannot be reached", "Try again later"},
	} {
		s.set(t, of.how, of.account)
		b := s.tab(t, c)
		b.open(200, "/auth/login")
		b.arrives(of.status, "/auth/providers/"+of.provider, chromedp.Click(chromedp.CSS(formTo("/auth/providers/"+of.provider))))
		b.at(b.where(), of.heading)
		b.says("main", of.says)
		b.reaches(401, "/auth/me")
		again := b.where()
		b.leads(200, chromedp.Click(chromedp.CSS(".links a")))
		b.at("/auth/login", "Log in")
		if of.provider == "sso" {
			b.open(410, again) // an answer counts once
			b.look()
		}
	}
	if list := strings.Join(s.emails(), " "); strings.Contains(list, "ian@") {
		t.Errorf("accounts: %s", list)
	}
}

// walkConnect connects a provider to the account of who is logged in, and logs in
// by it then.
func walkConnect(t *testing.T, c *chrome, s *programsSite) {
	joy := s.addUser("joy@shop.example")
	s.set(t, "right", outside("joy", "joy@elsewhere.example", false))
	b := s.tab(t, c)
	b.enter(joy)
	s.letter(joy.Email, "New login")
	b.arrives(200, "/auth/account?notice=provider_linked", chromedp.Click(chromedp.CSS(`#providers `+formTo("/auth/providers/sso"))))
	b.at("/auth/account?notice=provider_linked", "Your account")
	b.says("[role=status]", "The provider is connected.")
	b.says("#providers li:last-child", "joy@elsewhere.example")
	s.letter(joy.Email, "Outside")

	b.arrives(503, "/auth/providers/gone", chromedp.Click(chromedp.CSS(`#providers `+formTo("/auth/providers/gone"))))
	b.at("/auth/providers/gone", "The other provider cannot be reached")
	b.leads(200, chromedp.Click(chromedp.CSS(".links a")))
	b.at("/auth/account", "Your account")

	by := s.tab(t, c)
	by.open(200, "/auth/login")
	by.arrives(200, "/auth/account", chromedp.Click(chromedp.CSS(formTo("/auth/providers/sso"))))
	by.says(".head .email", joy.Email)
	other := s.addUser("kay@shop.example") // the same login opens one account
	mine := s.tab(t, c)
	mine.enter(other)
	mine.arrives(409, "/auth/providers/sso/callback", chromedp.Click(chromedp.CSS(`#providers `+formTo("/auth/providers/sso"))))
	mine.at(mine.where(), "This cannot be done now")
	mine.says("main", "opens another account here")
}
