package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// walkKeys makes an API key, which is shown once and opens what it is for.
func walkKeys(t *testing.T, c *chrome, s *accountSite) {
	kim := s.addUser("kim@shop.example")
	b := c.tab(t, s.url)
	b.enter(kim)
	s.letter(kim.Email, "New login")
	b.leads(200, chromedp.Click(chromedp.CSS(`#keys a[href="/auth/keys"]`)))
	b.at("/auth/keys", "New API key")
	b.says("#scopes", "things.read")
	b.submit(400, "button.main", "name", "Nightly backup") // no scope
	b.at("/auth/keys", "New API key")
	if got := eval[string](b, "document.getElementById('name').value"); got != "Nightly backup" {
		t.Errorf("after a refusal the name is %q", got)
	}
	b.do(chromedp.Click(chromedp.CSS(`input[value="things.read"]`)))
	b.submit(201, "button.main", "expires", "30")
	b.at("/auth/keys", "Your new API key")
	key := b.text("#secret")
	if !strings.HasPrefix(key, "spk_") {
		t.Fatalf("the key is %q", key)
	}
	opens := func(key string) string {
		if got := s.do(call{path: "/things", bearer: key}); got.Status != 200 {
			return got.reason()
		}
		return "ok"
	}
	if got := opens(key); got != "ok" {
		t.Errorf("the key at its route: %s", got)
	}
	if got := s.do(call{path: "/other", bearer: key}); got.reason() != "access.scope" {
		t.Errorf("the key at a route of another scope: %d %s", got.Status, got.reason())
	}
	if got := s.do(call{path: "/auth/account", bearer: key}); got.Status != 403 {
		t.Errorf("the key at the account: %d %s", got.Status, got.reason())
	}
	b.leads(200, chromedp.Click(chromedp.CSS("a.main")))
	b.at("/auth/account#keys", "Your account")
	b.says("#keys", "Nightly backup")
	if strings.Contains(eval[string](b, "document.documentElement.outerHTML"), key) {
		t.Error("the key is shown again")
	}

	b.do(chromedp.Click(chromedp.CSS("#keys summary")))
	b.look()
	b.submit(200, `#keys form[action$="/rotate"] button`)
	b.look()
	renewed := b.text("#secret")
	if got, old := opens(renewed), opens(key); got != "ok" || old != "ok" || renewed == key {
		t.Errorf("after a rotation the new key: %s, the old one: %s, the same: %v", got, old, renewed == key)
	}
	b.open(200, "/auth/account")
	b.do(chromedp.Click(chromedp.CSS("#keys summary")))
	b.submit(201, `#keys form[action$="/signing"]:not(:has(#keys, input[type=text])) button`)
	b.look()
	b.open(200, "/auth/account")
	b.says("#keys", "1 signing key")
	b.do(chromedp.Click(chromedp.CSS("#keys summary")))
	b.submit(200, `#keys form[action$="/revoke"].last, #keys details > form:last-of-type button`)
	b.at("/auth/account?notice=key_revoked", "Your account")
	for _, k := range []string{key, renewed} {
		if got := opens(k); got != "auth.revoked" && got != "auth.invalid" {
			t.Errorf("a key that was revoked: %s", got)
		}
	}
}

// walkExport downloads what is kept about a user.
func walkExport(t *testing.T, c *chrome, s *accountSite) {
	lea := s.addUser("lea@shop.example")
	b := c.tab(t, s.url)
	b.enter(lea)
	s.letter(lea.Email, "New login")
	token := s.login(lea)
	var key struct{ ID, Key string }
	s.json(call{method: "POST", path: "/auth/keys", bearer: token, json: true, body: `{"name":"mine","scopes":["things.read"]}`}, 201, &key)
	folder := t.TempDir()
	done := b.downloads(folder)
	b.do(chromedp.Click(chromedp.CSS(`#data a[href="/auth/export"]`)))
	var file string
	select {
	case file = <-done:
	case <-b.ctx.Done():
		t.Fatal("nothing was downloaded")
	}
	text, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		t.Fatal(err)
	}
	var export struct {
		ID, Email string
		Sessions  []struct{ ID string }
		Keys      []struct{ ID, Name string }
	}
	if err := json.Unmarshal(text, &export); err != nil || export.ID != lea.ID || export.Email != lea.Email || len(export.Sessions) != 2 || len(export.Keys) != 1 || export.Keys[0].Name != "mine" {
		t.Errorf("the export (%v):\n%s", err, text)
	}
	for name, secret := range map[string]string{"password": lea.Password, "hash": "argon2", "session": token, "key": key.Key, "prefix of sessions": "sps_", "prefix of keys": "spk_"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the export holds the %s:\n%s", name, text)
		}
	}
	b.look()
	other := s.do(call{path: "/auth/export"})
	if other.reason() != "auth.missing" {
		t.Errorf("the export for nobody: %d %s", other.Status, other.reason())
	}
}

// walkDelete asks for the end of an account, and takes it back by logging in.
func walkDelete(t *testing.T, c *chrome, s *accountSite) {
	max := s.addUser("max@shop.example")
	b := c.tab(t, s.url)
	b.enter(max)
	s.letter(max.Email, "New login")
	token := s.login(max)
	b.leads(200, chromedp.Click(chromedp.CSS(`#data a[href="/auth/delete"]`)))
	b.at("/auth/delete", "Delete your account?")
	b.says("main", "For 14 days")
	b.submit(200, "button.danger")
	b.at("/auth/login?bye", "Log in")
	s.letter(max.Email, "will be deleted")
	if got := s.do(call{path: "/mine", bearer: token}); got.reason() != "auth.revoked" {
		t.Errorf("a session of an account that is to be deleted: %d %s", got.Status, got.reason())
	}
	b.submit(200, "button.main", "email", max.Email, "password", max.Password)
	b.at("/auth/account", "Your account")
	b.says(".summary", "This account will be deleted on")
	b.submit(200, formTo("/auth/delete/cancel"))
	b.at("/auth/account?notice=deletion_cancelled", "Your account")
	if b.count(".summary") != 0 {
		t.Error("the account is still to be deleted")
	}
	b.open(200, "/auth/account")
	b.look()
	s.login(max)
}
