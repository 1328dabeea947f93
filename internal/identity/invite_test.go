package identity

import (
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// TestWithdraw: an invitation that is withdrawn is of no use, whether its letter has
// gone out or not; another of the same address is as good as the first.
func TestWithdraw(t *testing.T) {
	z := mailZone()
	z.Identity.Registration = zone.RegistrationInvited
	w := newWorld(t, z)
	invite := func(email string, roles ...string) {
		t.Helper()
		if err := w.id.Invite(t.Context(), email, roles); err != nil {
			t.Fatal(err)
		}
	}
	accept := func(token string) int {
		t.Helper()
		return w.post(verifyPath, object("token", token, "password", goodPassword)).Code
	}
	letter := func() string { t.Helper(); return w.tokenIn(w.oneLetter("ada@shop.example", "invited"), verifyPath) }
	wantReason(t, "nobody was invited", w.id.Withdraw(t.Context(), "ada@shop.example"), problem.AccountUnknown)

	invite("Ada@shop.example", "admin")
	if err := w.id.Withdraw(t.Context(), "ada@SHOP.example"); err != nil {
		t.Fatal(err)
	}
	if l := w.sent(); len(l) != 0 {
		t.Errorf("%d letters of an invitation that was withdrawn", len(l))
	}
	invite("ada@shop.example", "admin")
	invite("eve@shop.example")
	w.letters.jobs = w.letters.jobs[:1]
	token := letter()
	if err := w.id.Withdraw(t.Context(), "ada@shop.example"); err != nil {
		t.Fatal(err)
	}
	if got := accept(token); got != 410 {
		t.Errorf("a link that was withdrawn: %d", got)
	}
	wantReason(t, "again", w.id.Withdraw(t.Context(), "ada@shop.example"), problem.AccountUnknown)

	// The last one says which roles there will be, whichever letter comes first.
	invite("ada@shop.example", "admin")
	first := letter()
	invite("ada@shop.example", "support")
	if got := accept(first); got != 410 {
		t.Errorf("the first, before the second's letter: %d", got)
	}
	if got := accept(letter()); got != 200 {
		t.Fatalf("the second: %d", got)
	}
	if u, err := w.id.User(t.Context(), "ada@shop.example"); err != nil || strings.Join(u.Roles, " ") != "support" {
		t.Errorf("%+v %v", u, err)
	}
	wantReason(t, "after it was taken", w.id.Withdraw(t.Context(), "ada@shop.example"), problem.AccountUnknown)
}

// TestInvitations lists those that are open, a page at a time.
func TestInvitations(t *testing.T) {
	w := newMailWorld(t)
	list := func(after string, limit int) (emails string) {
		t.Helper()
		open, err := w.id.Invitations(t.Context(), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range open {
			emails += i.Email + " "
		}
		return strings.TrimSpace(emails)
	}
	for _, email := range []string{"eve@shop.example", "Ada@shop.example", "ida@shop.example"} {
		if err := w.id.Invite(t.Context(), email, []string{"support"}); err != nil {
			t.Fatal(err)
		}
	}
	open, err := w.id.Invitations(t.Context(), "", 10)
	if err != nil || len(open) != 3 || open[0].Email != "Ada@shop.example" || strings.Join(open[0].Roles, " ") != "support" ||
		!open[0].Created.Equal(w.now.time()) || !open[0].Expires.Equal(w.now.time().Add(inviteLife)) {
		t.Fatalf("%+v %v", open, err)
	}
	if got := list("", 2) + "|" + list("eve@shop.example", 2); got != "Ada@shop.example eve@shop.example|ida@shop.example" {
		t.Errorf("pages %q", got)
	}
	u := w.addUser("ida@shop.example", goodPassword) // has an account now, by another way
	if got := list("", 10); got != "Ada@shop.example eve@shop.example" {
		t.Errorf("with an account: %q", got)
	}
	if err := w.id.DeleteUser(t.Context(), u.ID); err != nil { // and it does not come back with the invitation
		t.Fatal(err)
	}
	if got := list("", 10); got != "Ada@shop.example eve@shop.example" {
		t.Errorf("after its account was removed: %q", got)
	}
	w.now.advance(inviteLife - time.Second)
	if err := w.id.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.number("SELECT COUNT(*) FROM invitations"); n != 2 {
		t.Errorf("%d rows in their last second, want 2", n)
	}
	w.now.advance(time.Second)
	if got := list("", 10); got != "" {
		t.Errorf("expired: %q", got)
	}
	wantReason(t, "expired", w.id.Withdraw(t.Context(), "eve@shop.example"), problem.AccountUnknown)
	if err := w.id.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.number("SELECT COUNT(*) FROM invitations"); n != 0 {
		t.Errorf("%d rows after their time", n)
	}
}
