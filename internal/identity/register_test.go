package identity

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// TestRegisterByLetter walks the way of an app: 202, the letter, the token once.
func TestRegisterByLetter(t *testing.T) {
	w := newMailWorld(t)
	rec := w.post("/auth/register", credentialsJSON("Ada@shop.example", goodPassword))
	w.expect("register", rec, 202, problem.OK)
	if rec.Body.String() != `{"step":"verify"}` || w.number("SELECT COUNT(*) FROM users") != 0 {
		t.Fatalf("answer %s; %d users before the letter", rec.Body, w.number("SELECT COUNT(*) FROM users"))
	}
	token := w.tokenIn(w.oneLetter("Ada@shop.example", "Confirm"), verifyPath)
	if w.logsIn("ada@shop.example", goodPassword) {
		t.Fatal("logged in before the address was shown")
	}
	rec = w.post(verifyPath, `{"token":"`+token+`"}`)
	w.expect("verify", rec, 200, problem.OK)
	if len(rec.Result().Cookies()) > 0 || strings.Contains(rec.Body.String(), "token") {
		t.Errorf("a link opened a session: %v %s", rec.Header(), rec.Body)
	}
	u, err := w.id.User(t.Context(), "ada@shop.example")
	if err != nil || !u.Verified || u.Email != "Ada@shop.example" || len(u.Roles) != 0 {
		t.Errorf("%+v %v, want a verified user without roles", u, err)
	}
	if !w.logsIn("ada@shop.example", goodPassword) {
		t.Error("no login with the password that was registered")
	}
	w.expect("verify twice", w.post(verifyPath, `{"token":"`+token+`"}`), 410, problem.AccountFlow)
}

// TestRegisterKnown: the owner of an account is told, nobody else, and nothing changes.
func TestRegisterKnown(t *testing.T) {
	w := newMailWorld(t)
	w.addUser("ada@shop.example", goodPassword)
	w.expect("register", w.post("/auth/register", credentialsJSON("ADA@shop.example", "another long password")), 202, problem.OK)
	l := w.oneLetter("ada@shop.example", "already have an account")
	if strings.Contains(l.Text, "token=") {
		t.Errorf("a token for whoever asked: %s", l.Text)
	}
	if !w.logsIn("ada@shop.example", goodPassword) || w.logsIn("ada@shop.example", "another long password") {
		t.Error("the password changed")
	}
}

func TestVerifyExpires(t *testing.T) {
	w := newMailWorld(t)
	register := func(email string) string {
		w.post("/auth/register", credentialsJSON(email, goodPassword))
		return w.tokenIn(w.oneLetter(email, "Confirm"), verifyPath)
	}
	early := register("ada@shop.example")
	w.now.advance(verifyLife - time.Second)
	w.expect("in its last second", w.post(verifyPath, `{"token":"`+early+`"}`), 200, problem.OK)
	late := register("eve@shop.example")
	w.now.advance(verifyLife)
	w.expect("after its end", w.post(verifyPath, `{"token":"`+late+`"}`), 410, problem.AccountFlow)
	w.expect("none", w.post(verifyPath, `{"token":"x"}`), 410, problem.AccountFlow)
	if n := w.number("SELECT COUNT(*) FROM users"); n != 1 {
		t.Errorf("%d users, want one", n)
	}
}

// TestVerifyInBrowser: a scanner that follows the link makes nothing; the browser
// that registered presses a button; in every other one the password is chosen anew,
// so that a stranger's registration that is confirmed by the owner of the mailbox
// leaves the stranger nothing.
func TestVerifyInBrowser(t *testing.T) {
	w := newMailWorld(t)
	own := w.browser()
	rec := own.post("/auth/register", "email", "ada@shop.example ", "password", goodPassword)
	if rec.Code != 202 || !strings.Contains(rec.Body.String(), "We sent an e-mail to ada@shop.example") {
		t.Fatalf("register: %d %s", rec.Code, rec.Body)
	}
	token := w.tokenIn(w.oneLetter("ada@shop.example", "Confirm"), verifyPath)
	for range 2 {
		if rec := own.get(verifyPath + "?token=" + token); rec.Code != 200 || strings.Contains(rec.Body.String(), `name="password"`) {
			t.Fatalf("the page in the browser that registered: %d %s", rec.Code, rec.Body)
		}
	}
	if w.number("SELECT COUNT(*) FROM users") != 0 {
		t.Fatal("following the link made the account")
	}
	other := w.browser()
	if rec := other.get(verifyPath + "?token=" + token); rec.Code != 200 || !strings.Contains(rec.Body.String(), `name="password"`) {
		t.Fatalf("the page in another browser asks for no password: %d %s", rec.Code, rec.Body)
	}
	if rec := other.post(verifyPath, "token", token); rec.Code != 400 || !strings.Contains(rec.Body.String(), `name="password"`) {
		t.Errorf("another browser without a password: %d %s", rec.Code, rec.Body)
	}
	if rec := other.post(verifyPath, "token", token, "password", "short"); rec.Code != 422 {
		t.Errorf("a weak password: %d", rec.Code)
	}
	if rec := other.post(verifyPath, "token", token, "password", "chosen by the owner"); rec.Code != 303 || rec.Header().Get("Location") != "/auth/login?notice=verified" {
		t.Fatalf("verify: %d %v", rec.Code, rec.Header())
	}
	if w.logsIn("ada@shop.example", goodPassword) || !w.logsIn("ada@shop.example", "chosen by the owner") {
		t.Error("the password is that of the browser that registered")
	}

	own.post("/auth/register", "email", "eve@shop.example", "password", goodPassword)
	token = w.tokenIn(w.oneLetter("eve@shop.example", "Confirm"), verifyPath)
	if rec := own.post(verifyPath, "token", token); rec.Code != 303 || own.loggedIn() != "" {
		t.Errorf("the button: %d %v", rec.Code, rec.Header())
	}
	if !w.logsIn("eve@shop.example", goodPassword) {
		t.Error("no login after the button")
	}
}

// TestUnverifiedIsClaimed: what a stranger left in an account whose address nobody
// had shown to be theirs is gone once somebody does.
func TestUnverifiedIsClaimed(t *testing.T) {
	for _, way := range []string{"register", "recover"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t, openZone())
			w.useKeys()
			u, err := w.id.addUser(t.Context(), "ada@shop.example", "the stranger's words", nil, false)
			if err != nil {
				t.Fatal(err)
			}
			stranger := w.own(u.ID)
			if _, _, err := w.id.keys.CreateKey(t.Context(), nil, u.ID, NewKey{Name: "k", Scopes: []string{"orders.read"}}); err != nil {
				t.Fatal(err)
			}
			w.exec("INSERT INTO connections (provider, issuer, subject, user_id, email, created_at) VALUES ('hub', 'i', 's', ?, '', 1)", u.ID)
			w.id.zone = mailZone() // the zone has mail from now on
			if way == "register" {
				w.post("/auth/register", credentialsJSON("ada@shop.example", goodPassword))
				w.expect("verify", w.post(verifyPath, `{"token":"`+w.tokenIn(w.oneLetter("ada@shop.example", "Confirm"), verifyPath)+`"}`), 200, problem.OK)
			} else {
				w.post(recoverPath, `{"email":"ada@shop.example"}`)
				token := w.tokenIn(w.oneLetter("ada@shop.example", "new password"), passwordPath)
				w.expect("reset", w.post(passwordPath, object("token", token, "password", goodPassword)), 204, problem.OK)
			}
			now, err := w.id.User(t.Context(), "ada@shop.example")
			if err != nil || !now.Verified || now.ID != u.ID {
				t.Fatalf("%+v %v", now, err)
			}
			if _, lives := w.sessions.lookup(stranger); lives {
				t.Error("the stranger's session lives")
			}
			if w.logsIn("ada@shop.example", "the stranger's words") || !w.logsIn("ada@shop.example", goodPassword) {
				t.Error("the password is the stranger's")
			}
			if n := w.number("SELECT COUNT(*) FROM connections") + w.number("SELECT COUNT(*) FROM api_keys"); n != 0 {
				t.Errorf("%d ways in are left", n)
			}
		})
	}
}

// TestUnverifiedWithFactor: a letter is less than a factor.
func TestUnverifiedWithFactor(t *testing.T) {
	w := newWorld(t, openZone())
	u, err := w.id.addUser(t.Context(), "ada@shop.example", goodPassword, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	w.giveApp(u.ID)
	w.id.zone = mailZone()
	w.post(recoverPath, `{"email":"ada@shop.example"}`)
	if l := w.sent(); len(l) != 0 {
		t.Errorf("recover: %+v", l)
	}
	w.post("/auth/register", credentialsJSON("ada@shop.example", "another long password"))
	if l := w.oneLetter("ada@shop.example", "already have an account"); strings.Contains(l.Text, "token=") {
		t.Errorf("register: %s", l.Text)
	}
}

func TestInvite(t *testing.T) {
	z := mailZone()
	z.Identity.Registration = zone.RegistrationInvited
	w := newWorld(t, z)
	if rec := w.post("/auth/register", credentialsJSON("ada@shop.example", goodPassword)); rec.Code != 404 {
		t.Errorf("register without an invitation: %d", rec.Code)
	}
	invite := func(roles ...string) string {
		t.Helper()
		if err := w.id.Invite(t.Context(), "ada@shop.example", roles); err != nil {
			t.Fatal(err)
		}
		return w.tokenIn(w.oneLetter("ada@shop.example", "invited"), verifyPath)
	}
	first, token := invite("admin"), invite("support", "auditor")
	w.expect("an invitation that another took the place of", w.post(verifyPath, object("token", first, "password", goodPassword)), 410, problem.AccountFlow)
	w.expect("no password", w.post(verifyPath, object("token", token)), 400, problem.AccountInvalid)
	w.expect("a weak one", w.post(verifyPath, object("token", token, "password", "short")), 422, problem.AccountPassword)
	w.expect("accepted", w.post(verifyPath, object("token", token, "password", goodPassword)), 200, problem.OK)
	w.expect("again", w.post(verifyPath, object("token", token, "password", goodPassword)), 410, problem.AccountFlow)
	u, err := w.id.User(t.Context(), "ada@shop.example")
	if err != nil || !u.Verified || strings.Join(u.Roles, " ") != "auditor support" {
		t.Errorf("%+v %v", u, err)
	}
	wantReason(t, "known", w.id.Invite(t.Context(), "ADA@shop.example", nil), problem.AccountExists)
	wantReason(t, "no address", w.id.Invite(t.Context(), "ada", nil), problem.AccountInvalid)
	wantReason(t, "no role", w.id.Invite(t.Context(), "eve@shop.example", []string{"two words"}), problem.AdminInvalid)
	z.Identity.Registration = zone.RegistrationClosed
	wantReason(t, "closed", w.id.Invite(t.Context(), "eve@shop.example", nil), problem.AdminConflict)
	z.Identity.Registration, z.Identity.Mail = zone.RegistrationInvited, nil
	wantReason(t, "no mail", w.id.Invite(t.Context(), "eve@shop.example", nil), problem.AdminConflict)
}

// TestInvitationInClosedZone: a map that was closed since takes no invitation.
func TestInvitationInClosedZone(t *testing.T) {
	z := mailZone()
	w := newWorld(t, z)
	if err := w.id.Invite(t.Context(), "ada@shop.example", nil); err != nil {
		t.Fatal(err)
	}
	invited := w.tokenIn(w.oneLetter("ada@shop.example", "invited"), verifyPath)
	w.post("/auth/register", credentialsJSON("eve@shop.example", goodPassword))
	registered := w.tokenIn(w.oneLetter("eve@shop.example", "Confirm"), verifyPath)
	z.Identity.Registration = zone.RegistrationClosed
	w.expect("invited", w.post(verifyPath, object("token", invited, "password", goodPassword)), 404, problem.AccountClosed)
	w.expect("registered", w.post(verifyPath, object("token", registered)), 404, problem.AccountClosed)
}

// TestLettersTellNothing compares what registration, recovery and the change of an
// address answer and cost for known and unknown addresses (control ID-04).
func TestLettersTellNothing(t *testing.T) {
	w := newMailWorld(t)
	w.addUser("ada@shop.example", goodPassword, "admin")
	off := w.addUser("off@shop.example", goodPassword)
	if err := w.id.SetDisabled(t.Context(), off.ID, true); err != nil {
		t.Fatal(err)
	}
	two := w.addUser("two@shop.example", goodPassword)
	w.giveApp(two.ID)
	if _, err := w.id.addUser(t.Context(), "new@shop.example", goodPassword, nil, false); err != nil {
		t.Fatal(err)
	}
	me := w.addUser("mia@shop.example", goodPassword)
	for _, path := range []string{"/auth/register", recoverPath, "/auth/email"} {
		for _, how := range []struct{ name, kind, accept string }{{"JSON", jsonType, ""}, {"form", formType, ""}, {"page", formType, browser}} {
			request := func(email string) *http.Request {
				fields := []any{"email", email}
				if path == "/auth/register" {
					fields = append(fields, "password", goodPassword)
				}
				body := object(fields...)
				if how.kind == formType {
					body = strings.NewReplacer(`{"`, "", `":"`, "=", `","`, "&", `"}`, "", "@", "%40", " ", "+").Replace(body)
				}
				r := httptest.NewRequest("POST", "https://shop.example"+path, strings.NewReader(body))
				r.Header.Set("Content-Type", how.kind)
				r.Header.Set("Accept", how.accept)
				r.AddCookie(&http.Cookie{Name: FlowCookie, Value: strings.Repeat("A", 43)}) // as a browser that was here has it
				if path == "/auth/email" {
					r.Header.Set("Authorization", "Bearer "+w.own(me.ID))
				}
				return r
			}
			fold := func(h http.Handler) http.Handler { return sameAddress(h, "shup", "shop") }
			for _, email := range []string{"ada@shop.example", "off@shop.example", "two@shop.example", "new@shop.example", "mia@shop.example"} {
				w.now.advance(24 * time.Hour) // the bounds of letters have a test of their own
				unknown := strings.Replace(email, "@shop", "@shup", 1)
				if diff := unlike(w, fold(w.door()), request(email), request(unknown)); diff != "" {
					t.Errorf("%s, %s, %s: differs from an unknown account in its %s", path, how.name, email, diff)
				}
			}
			for name, extra := range map[string]func(http.ResponseWriter){
				"a word":    func(rec http.ResponseWriter) { _, _ = rec.Write([]byte(" ")) },
				"a header":  func(rec http.ResponseWriter) { rec.Header().Set("X-User", "none") },
				"a look-up": func(http.ResponseWriter) { _, _, _ = w.id.accountByID(t.Context(), "x") },
				"a hash":    func(http.ResponseWriter) { _, _, _ = w.passwords.Hash(t.Context(), "x") },
			} {
				w.now.advance(24 * time.Hour)
				seeded := fold(forUnknown(w.door(), extra, w.door()))
				if diff := unlike(w, seeded, request("ada@shop.example"), request("ada@shup.example")); diff == "" {
					t.Errorf("%s, %s, %s for the unknown: the seeded difference was not found", path, how.name, name)
				}
			}
		}
	}
}

// TestLettersAreBounded: a mailbox gets its share whoever asks, and the answer does
// not tell; a network that asks for many is refused.
func TestLettersAreBounded(t *testing.T) {
	w := newMailWorld(t)
	w.addUser("ada@shop.example", goodPassword)
	answers := map[string]bool{}
	for range 6 {
		rec := w.post(recoverPath, `{"email":"ada@shop.example"}`)
		answers[rec.Result().Status+rec.Body.String()] = true
	}
	if n := len(w.sent()); n != 3 || len(answers) != 1 {
		t.Errorf("%d letters and answers %v, want three letters and one answer", n, answers)
	}
	var last *httptest.ResponseRecorder
	for i := range 40 {
		last = w.post(recoverPath, `{"email":"u`+strings.Repeat("x", i)+`@shop.example"}`)
	}
	w.expect("many mailboxes", last, 429, problem.LimitRate)
	w.client = "203.0.113.9"
	w.expect("another network", w.post(recoverPath, `{"email":"eve@shop.example"}`), 202, problem.OK)
}

// TestOutboxFull: who asks is told to come back, known or not.
func TestOutboxFull(t *testing.T) {
	w := newMailWorld(t)
	w.addUser("ada@shop.example", goodPassword)
	w.letters.fail = mail.ErrFull
	for _, email := range []string{"ada@shop.example", "eve@shop.example"} {
		w.expect(email, w.post(recoverPath, `{"email":"`+email+`"}`), 503, problem.LimitBusy)
		w.expect(email, w.post("/auth/register", credentialsJSON(email, goodPassword)), 503, problem.LimitBusy)
	}
}

// TestLettersAtRest: what a flow of a letter keeps is not to be had from the store.
func TestLettersAtRest(t *testing.T) {
	w := newMailWorld(t)
	w.post("/auth/register", credentialsJSON("planted@shop.example", "a planted password"))
	token := w.tokenIn(w.oneLetter("planted@shop.example", "Confirm"), verifyPath)
	var data []byte
	if err := w.db.View(t.Context(), func(ctx context.Context, x *store.Tx) error {
		return x.QueryRow(ctx, "SELECT data FROM flows WHERE kind = 'register'").Scan(&data)
	}); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"planted", "argon2id", token} {
		if bytes.Contains(data, []byte(word)) {
			t.Errorf("%q is in the row", word)
		}
	}
}
