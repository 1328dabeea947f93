package identity

import (
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
)

func TestDeleteWithGrace(t *testing.T) {
	w := newMailWorld(t)
	u, _ := w.full()
	own, _ := w.sessions.create(t, u.ID, 2)
	other := w.own(u.ID)
	w.expect("one factor of two", w.postAs(other, "/auth/delete", "{}"), 401, problem.AuthStepUp)
	rec := w.postAs(own, "/auth/delete", "{}")
	w.expect("delete", rec, 200, problem.OK)
	due := w.now.time().Add(deleteGrace)
	if !strings.Contains(rec.Body.String(), due.Format(time.RFC3339)) {
		t.Errorf("answer %s, want %v", rec.Body, due)
	}
	for _, token := range []string{own, other} {
		if _, lives := w.sessions.lookup(token); lives {
			t.Error("a session lives")
		}
	}
	if list, _ := w.id.keys.ListKeys(t.Context(), u.ID); len(list) != 0 {
		t.Error("a key lives")
	}
	if l := w.oneLetter("ada@shop.example", "will be deleted"); !strings.Contains(l.Text, "/auth/account") {
		t.Errorf("the letter: %s", l.Text)
	}

	w.now.advance(deleteGrace - time.Second)
	if err := w.id.Sweep(t.Context()); err != nil || w.number("SELECT COUNT(*) FROM users") != 1 {
		t.Fatalf("deleted before its time, or %v", err)
	}
	w.now.advance(time.Second)
	if err := w.id.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"users", "connections", "factors", "recovery_codes", "api_keys", "flows"} {
		if n := w.number("SELECT COUNT(*) FROM " + table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	w.oneLetter("ada@shop.example", "was deleted")
	if err := w.id.Sweep(t.Context()); err != nil || len(w.sent()) != 0 {
		t.Errorf("swept again: %v", err)
	}
}

func TestDeleteTakenBack(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	w.expect("delete", w.postAs(w.own(u.ID), "/auth/delete", "{}"), 200, problem.OK)
	w.sent()
	w.now.advance(24 * time.Hour)
	again := w.own(u.ID)
	rec := w.postAs(again, "/auth/delete", "{}")
	if first := w.now.time().Add(deleteGrace - 24*time.Hour).Format(time.RFC3339); !strings.Contains(rec.Body.String(), first) {
		t.Errorf("asked again: %s, want the first day %s", rec.Body, first)
	}
	b := w.browser()
	if rec := b.post("/auth/login", "email", "ada@shop.example", "password", goodPassword); rec.Header().Get("Location") != "/auth/account" {
		t.Fatalf("login: %d %v", rec.Code, rec.Header())
	}
	if rec := b.get("/auth/account"); !strings.Contains(rec.Body.String(), "/auth/delete/cancel") {
		t.Error("the page does not offer to keep the account")
	}
	w.expect("cancelled by nobody", w.post("/auth/delete/cancel", "{}"), 401, problem.AuthMissing)
	if rec := b.post("/auth/delete/cancel"); rec.Code != 303 {
		t.Errorf("cancel: %d %s", rec.Code, rec.Body)
	}
	w.now.advance(2 * deleteGrace)
	if err := w.id.Sweep(t.Context()); err != nil || w.number("SELECT COUNT(*) FROM users") != 1 {
		t.Errorf("deleted all the same, or %v", err)
	}
}

func TestDeletePage(t *testing.T) {
	w := newWorld(t, openZone()) // without mail too
	w.id.mail = nil
	u := w.addUser("ada@shop.example", goodPassword)
	b := w.browser()
	b.loginAs(u.ID, 1)
	if rec := b.get("/auth/delete"); rec.Code != 200 || !strings.Contains(rec.Body.String(), "14 days") {
		t.Errorf("the page: %d %s", rec.Code, rec.Body)
	}
	if rec := b.post("/auth/delete", "now", "on"); rec.Code != 400 {
		t.Errorf("another field: %d", rec.Code)
	}
	if rec := b.post("/auth/delete"); rec.Code != 303 || b.loggedIn() != "" || b.cookies[CookieName] != "" {
		t.Errorf("delete: %d %v", rec.Code, rec.Header())
	}
	b.loginAs(u.ID, 1)
	w.now.advance(freshFor + time.Second)
	if rec := b.get("/auth/delete"); rec.Code != 303 || !strings.HasPrefix(rec.Header().Get("Location"), "/auth/step-up") {
		t.Errorf("an old login: %d %v", rec.Code, rec.Header())
	}
}

// TestDeleteUserForgets: what an administrator removes leaves nothing either.
func TestDeleteUserForgets(t *testing.T) {
	w := newMailWorld(t)
	u, _ := w.full()
	keep := w.addUser("eve@shop.example", goodPassword)
	if err := w.id.DeleteUser(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"connections", "factors", "recovery_codes", "api_keys"} {
		if n := w.number("SELECT COUNT(*) FROM " + table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	if _, err := w.id.User(t.Context(), keep.ID); err != nil {
		t.Errorf("another account: %v", err)
	}
}
