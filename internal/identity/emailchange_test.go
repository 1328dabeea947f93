package identity

import (
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
)

func (w *world) moveToken(session, email string) string {
	w.t.Helper()
	w.expect("change", w.postAs(session, "/auth/email", object("email", email)), 202, problem.OK)
	return w.tokenIn(w.oneLetter(email, "new address"), verifyPath)
}

func TestChangeEmail(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	eve := w.addUser("eve@shop.example", goodPassword)
	own := w.own(u.ID)
	token := w.moveToken(own, "Ada@new.example")
	if now, _ := w.id.User(t.Context(), u.ID); now.Email != "ada@shop.example" {
		t.Fatalf("changed before it was confirmed: %s", now.Email)
	}
	w.expect("confirmed by nobody", w.post(verifyPath, object("token", token)), 401, problem.AuthMissing)
	w.expect("confirmed by another user", w.postAs(w.own(eve.ID), verifyPath, object("token", token)), 409, problem.AccountConflict)
	recovering := w.recoverToken("ada@shop.example")
	own = w.own(u.ID)
	w.expect("confirmed", w.postAs(own, verifyPath, object("token", token)), 200, problem.OK)
	w.oneLetter("ada@shop.example", "has a new address")
	w.expect("a link to the old address", w.post(passwordPath, object("token", recovering, "password", "another long password")), 410, problem.AccountFlow)
	w.expect("twice", w.postAs(own, verifyPath, object("token", token)), 410, problem.AccountFlow)
	now, err := w.id.User(t.Context(), "ada@NEW.example")
	if err != nil || now.ID != u.ID || now.Email != "Ada@new.example" || !now.Verified || now.Version != 2 {
		t.Errorf("%+v %v", now, err)
	}
	if !w.logsIn("ada@new.example", goodPassword) || w.logsIn("ada@shop.example", goodPassword) {
		t.Error("the old address logs in")
	}
}

// TestChangeEmailTaken: the one who asks learns nothing, the owner is told.
func TestChangeEmailTaken(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	w.addUser("eve@shop.example", goodPassword)
	own := w.own(u.ID)
	w.expect("taken", w.postAs(own, "/auth/email", object("email", "EVE@shop.example")), 202, problem.OK)
	if l := w.oneLetter("eve@shop.example", "already have an account"); strings.Contains(l.Text, "token=") {
		t.Errorf("a token: %s", l.Text)
	}
	// Taken between the letter and its link.
	token := w.moveToken(own, "ida@shop.example")
	w.addUser("ida@shop.example", goodPassword)
	w.expect("taken meanwhile", w.postAs(own, verifyPath, object("token", token)), 409, problem.AccountExists)
	if now, _ := w.id.User(t.Context(), u.ID); now.Email != "ada@shop.example" {
		t.Errorf("it has %s", now.Email)
	}
}

func TestChangeEmailRefused(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	own := w.own(u.ID)
	w.expect("no address", w.postAs(own, "/auth/email", object("email", "ada")), 400, problem.AccountInvalid)
	w.expect("nobody", w.post("/auth/email", object("email", "eve@shop.example")), 401, problem.AuthMissing)
	first := w.moveToken(own, "one@shop.example")
	second := w.moveToken(own, "two@shop.example")
	w.expect("the first of two", w.postAs(own, verifyPath, object("token", first)), 410, problem.AccountFlow)
	w.now.advance(verifyLife)
	w.expect("expired", w.postAs(w.own(u.ID), verifyPath, object("token", second)), 410, problem.AccountFlow)
	w.expect("a session that is over", w.postAs(own, "/auth/email", object("email", "eve@shop.example")), 401, problem.AuthMissing)
	own = w.own(u.ID)
	w.now.advance(freshFor + time.Second)
	w.expect("not fresh", w.postAs(own, "/auth/email", object("email", "eve@shop.example")), 401, problem.AuthStepUp)
	w.giveApp(u.ID)
	w.expect("one factor of two", w.postAs(w.own(u.ID), "/auth/email", object("email", "eve@shop.example")), 401, problem.AuthStepUp)
	if l := w.sent(); len(l) != 0 {
		t.Errorf("letters %+v", l)
	}
}

// TestOwnAddressIsVerified: whose address was never shown to be theirs shows it.
func TestOwnAddressIsVerified(t *testing.T) {
	w := newMailWorld(t)
	u, err := w.id.addUser(t.Context(), "ada@shop.example", goodPassword, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	own := w.own(u.ID)
	token := w.moveToken(own, "ada@shop.example")
	w.expect("confirmed", w.postAs(own, verifyPath, object("token", token)), 200, problem.OK)
	if now, _ := w.id.User(t.Context(), u.ID); !now.Verified {
		t.Error("not verified")
	}
	if l := w.sent(); len(l) != 0 {
		t.Errorf("letters %+v", l)
	}
}

func TestChangeEmailPages(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	b := w.browser()
	b.loginAs(u.ID, 1)
	if rec := b.get("/auth/email"); rec.Code != 200 {
		t.Fatalf("the page: %d", rec.Code)
	}
	if rec := b.post("/auth/email", "email", "ada@new.example"); rec.Code != 202 {
		t.Fatalf("change: %d %s", rec.Code, rec.Body)
	}
	token := w.tokenIn(w.oneLetter("ada@new.example", "new address"), verifyPath)
	phone := w.browser()
	if rec := phone.get(verifyPath + "?token=" + token); rec.Code != 303 || !strings.HasPrefix(rec.Header().Get("Location"), "/auth/login?next=%2Fauth%2Fverify%3Ftoken%3D") {
		t.Errorf("on another device: %d %v, want the login and back", rec.Code, rec.Header())
	}
	phone.loginAs(u.ID, 1)
	if rec := phone.get(verifyPath + "?token=" + token); rec.Code != 200 {
		t.Errorf("logged in there: %d", rec.Code)
	}
	if rec := phone.post(verifyPath, "token", token); rec.Code != 303 || rec.Header().Get("Location") != "/auth/account?notice=email_changed" {
		t.Errorf("the button: %d %v", rec.Code, rec.Header())
	}
}
