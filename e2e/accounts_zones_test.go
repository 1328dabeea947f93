package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// walkBootstrap makes the first administrator, who must have a second factor.
func walkBootstrap(t *testing.T, c *chrome) {
	s := startAccountSite(t, accountsMap)
	b := c.tab(t, s.url)
	link := s.bootstrap()
	b.open(200, link)
	b.at("/auth/bootstrap"+queryOf(link), "First administrator")
	b.submit(200, "button.main", "email", "root@shop.example", "password", chosen)
	b.at("/auth/bootstrap", "Set up a second factor")
	b.open(200, "/auth/account") // without the factor there is no session
	b.at("/auth/login", "Log in")
	b.submit(200, "button.main", "email", "root@shop.example", "password", chosen)
	b.at("/auth/login", "Set up a second factor")
	b.submit(200, formTo("/auth/mfa/enroll/begin"))
	b.look()
	phone := newApp(t, b.text("#secret"))
	b.submit(401, formTo("/auth/mfa/enroll"), "code", "000000")
	b.look()
	b.codes(phone, formTo("/auth/mfa/enroll"))
	b.look()
	b.says("h1", "Your recovery codes")
	b.leads(200, chromedp.Click(chromedp.CSS("a.main")))
	b.at("/auth/account", "Your account")
	b.says("#profile .tags", "zone-admin")
	b.reaches(200, "/vault")
	b.open(200, "/auth/account")
	b.do(chromedp.Click(chromedp.CSS("#factors summary")))
	b.submit(409, "#factors details form:last-of-type button[type=submit]") // the last factor of an administrator

	stranger := c.tab(t, s.url)
	stranger.open(200, "/auth/bootstrap") // by hand, with a token that is none
	stranger.at("/auth/bootstrap", "First administrator")
	stranger.unchecked()
	stranger.submit(410, "button.main", "token", "guessed", "email", "second@shop.example", "password", chosen)
	stranger.at("/auth/bootstrap", "First administrator")
	stranger.says("[role=alert]", "This step has ended")
	if got := eval[string](stranger, "document.getElementById('token').value"); got != "guessed" {
		t.Errorf("a token that was mistyped cannot be mended: the field holds %q", got)
	}
	stranger.open(200, link)
	stranger.submit(410, "button.main", "email", "second@shop.example", "password", chosen)
	stranger.look()
	if _, errs, code := s.run("user", "bootstrap"); code == 0 {
		t.Errorf("a token for a second first administrator: %s", errs)
	}
}

// walkAged: a password that has reached its age is changed before there is a session.
func walkAged(t *testing.T, c *chrome) {
	s := startAccountSite(t, strings.Replace(accountsMap, "registration: open", "registration: open\n  password: {max_age: 2s}", 1))
	pat := s.addUser("pat@shop.example")
	until(t, "the password is too old", func() bool {
		return strings.Contains(s.do(send("", "/auth/login", loginBody(pat))).Body, `"step":"password"`)
	})
	b := c.tab(t, s.url)
	b.open(200, "/auth/login?next=/auth/sessions")
	b.submit(200, "button.main", "email", pat.Email, "password", pat.Password)
	b.at("/auth/login", "Time for a new password")
	b.submit(422, "button.main", "password", pat.Password)
	b.look()
	b.submit(200, "button.main", "password", newer)
	b.at("/auth/account#sessions", "Your account")
}

// walkClosed: where registration is closed there is none, and nothing leads to it.
func walkClosed(t *testing.T, c *chrome) {
	s := startAccountSite(t, strings.Replace(accountsMap, "registration: open", "registration: closed", 1))
	b := c.tab(t, s.url)
	b.wanted(404)
	b.open(404, "/auth/register")
	if got := s.do(call{method: "POST", path: "/auth/register", json: true, body: loginBody(account{Email: "x@shop.example", Password: chosen})}); got.Status != 404 {
		t.Errorf("a registration in JSON: %d %s", got.Status, got.Body)
	}
	b.open(200, "/auth/login")
	b.at("/auth/login", "Log in")
	if n := b.count(`a[href^="/auth/register"]`); n != 0 {
		t.Errorf("%d links lead to the registration", n)
	}
	b.enter(s.addUser("ann@shop.example"))
}

// walkTheme replaces a template, a part of the style, some texts and a letter; what
// a theme has no place for stops the zone.
func walkTheme(t *testing.T, c *chrome) {
	s := newAccountSite(t, strings.Replace(accountsMap, "registration: open", "registration: open\n  theme: theme", 1))
	for _, folder := range []string{"templates", "messages", "letters"} {
		if err := os.MkdirAll(filepath.Join(s.dir, "theme", folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.write("theme/templates/recover.html", `{{define "content"}}<h1>{{.Title}}</h1>{{template "summary" .}}<p id="own">Ask {{.Zone}} & Sons</p>
<form method="post" action="/auth/recover" data-once>{{template "field" (.Input "email" "login" .Page.Email)}}<button class="main" type="submit">{{.T "recover.submit"}}</button></form>{{end}}`)
	s.write("theme/theme.css", "#own { color: rgb(1, 2, 3); }\n")
	s.write("theme/messages/en.json", `{"title.recover": "Lost your key?"}`)
	s.write("theme/letters/recover.en.txt.tmpl", "Subject: The key of {{.zone}}\n\nHere it is: {{.link}} until {{date .expires}}\n{{template \"footer\" .}}")
	s.serve()
	b := c.tab(t, s.url)
	b.open(200, "/auth/recover")
	b.at("/auth/recover", "Lost your key?")
	b.says("#own", "Ask shop.example & Sons")
	if colour := eval[string](b, "getComputedStyle(document.getElementById('own')).color"); colour != "rgb(1, 2, 3)" {
		t.Errorf("the theme's colour is %s", colour)
	}
	nia := s.addUser("nia@shop.example")
	b.submit(202, "button.main", "email", nia.Email)
	link := s.letter(nia.Email, "The key of shop.example").Link(t, "/auth/password").String()
	b.open(200, link)
	b.look()

	broken := newAccountSite(t, s.text)
	if err := os.MkdirAll(filepath.Join(broken.dir, "theme", "templates"), 0o700); err != nil {
		t.Fatal(err)
	}
	broken.write("theme/templates/logon.html", "x")
	broken.launch()
	if err := broken.wait(); err == nil || !strings.Contains(broken.stderr.String(), "logon.html") {
		t.Errorf("with a template that no page has: %v\n%s", err, broken.stderr)
	}
}
