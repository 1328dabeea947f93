package identity

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/guess"
	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/problem"
)

// knownBrowser is a browser in which the user has logged in, from a network that
// nobody has logged in from since.
func (w *world) knownBrowser(email string) *pageBrowser {
	w.t.Helper()
	b := w.browser()
	home := w.client
	w.client = "203.0.113.77"
	defer func() { w.client = home }()
	device, _ := w.id.guesses.NewDevice(foldEmail(email), "")
	b.cookies[DeviceCookie] = device
	return b
}

// TestZeroByteInAnAddress: what no store takes as text is the sender's fault.
func TestZeroByteInAnAddress(t *testing.T) {
	w := newWorld(t, openZone())
	w.count.reset()
	for body, kind := range map[string]string{`{"email":"ada\u0000@shop.example","password":"x"}`: jsonType, "email=%00&password=x": formType} {
		rec := w.do(ask{method: "POST", path: "/auth/login", body: body, header: map[string]string{"Content-Type": kind}})
		if rec.Code != 400 || reason(rec) != "account.invalid" {
			t.Errorf("%s: %d %s, want 400 account.invalid", body, rec.Code, reason(rec))
		}
	}
	if !w.count.free() {
		t.Errorf("it cost %s", w.count)
	}
}

// TestSecondFactorIsNoLockout: who has stolen a password uses up the guesses of
// second factors, and its owner logs in from a known device, and raises a session,
// meanwhile. A copy of the owner's cookie has a bound too.
func TestSecondFactorIsNoLockout(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	secret := w.giveApp(u.ID)
	owner := w.knownBrowser(u.Email)
	guesses := func(first func() string, answer func(flow string) string) (looked int) {
		for range 5 {
			flow := first()
			if flow == "" {
				break
			}
			for range 4 {
				switch got := answer(flow); got {
				case "account.factor":
					looked++
				case "limit.rate":
				default:
					t.Fatalf("a wrong code: %q", got)
				}
			}
		}
		return looked
	}
	w.client = "198.51.100.9"
	stranger := guesses(func() string { return w.first(u.Email).Flow }, func(flow string) string {
		return reason(w.post("/auth/mfa/totp", object("flow", flow, "code", w.wrong(secret))))
	})
	if stranger != 10 {
		t.Fatalf("a stranger had %d answers looked at, want 10", stranger)
	}
	w.client = "203.0.113.78"
	login := func() string {
		rec := owner.post("/auth/login", "email", u.Email, "password", goodPassword)
		return between(rec.Body.String(), `name="flow" value="`, `"`)
	}
	if rec := owner.post("/auth/mfa/totp", "flow", login(), "code", w.code(secret)); rec.Code != http.StatusSeeOther || owner.loggedIn() != u.ID {
		t.Errorf("the owner, on a known device, is kept out: %d %s", rec.Code, reason(rec))
	}
	token, _ := w.sessions.create(t, u.ID, 1)
	w.now.advance(time.Minute)
	a := w.want(w.as(token, "/auth/step-up", "{}"), 200, "step-up")
	w.want(w.as(token, "/auth/mfa/totp", object("flow", a.Flow, "code", w.code(secret))), 200, "the step-up of a session")

	w.now.advance(26 * time.Hour)
	stolen := guesses(login, func(flow string) string {
		return reason(owner.do("POST", "/auth/mfa/totp", "flow="+flow+"&code="+w.wrong(secret)))
	})
	if stolen == 0 || stolen > 10 {
		t.Errorf("who copied the cookie had %d answers looked at, want 10 at most", stolen)
	}
}

// between cuts a part out of a page.
func between(text, from, to string) string {
	_, rest, _ := strings.Cut(text, from)
	part, _, _ := strings.Cut(rest, to)
	return part
}

// TestLettersAreNoLockout: strangers use up the letters of a mailbox, and its owner
// gets one from a known device, within a bound; the answers stay the same.
func TestLettersAreNoLockout(t *testing.T) {
	w := newMailWorld(t)
	w.addUser("ada@shop.example", goodPassword)
	owner := w.knownBrowser("ada@shop.example")
	answers := map[string]bool{}
	for i := range 12 {
		w.client = fmt.Sprintf("198.51.100.%d", i+1)
		answers[w.browser().post(recoverPath, "email", "ada@shop.example").Body.String()] = true
		w.now.advance(20 * time.Minute)
	}
	w.letters.take()
	for _, b := range []struct {
		name string
		*pageBrowser
		want int
	}{{"a stranger", w.browser(), 0}, {"the owner", owner, 3}, {"the owner's device, for another mailbox", owner, 0}} {
		email := "ada@shop.example"
		if strings.HasSuffix(b.name, "mailbox") {
			email = "bob@shop.example"
			for i := range 12 { // its letters are used up as well
				w.client = fmt.Sprintf("198.51.100.%d", i+100)
				w.browser().post(recoverPath, "email", email)
				w.now.advance(20 * time.Minute)
			}
			w.letters.take()
		}
		w.client = "203.0.113.9"
		for range 5 {
			rec := b.post(recoverPath, "email", email)
			answers[strings.ReplaceAll(rec.Body.String(), "bob@", "ada@")] = true
		}
		if got := len(w.letters.take()); got != b.want {
			t.Errorf("%s: %d letters, want %d", b.name, got, b.want)
		}
	}
	if len(answers) != 1 {
		t.Errorf("%d different answers", len(answers))
	}
}

// TestRecoveryEndsALockout: strangers use up the guesses of an account; its owner,
// on a device that nobody knows, comes back by a letter.
func TestRecoveryEndsALockout(t *testing.T) {
	w := newMailWorld(t)
	w.addUser("ada@shop.example", goodPassword)
	attack := func() {
		for i := range 60 {
			w.client = fmt.Sprintf("198.51.100.%d", i+1)
			w.post("/auth/login", credentialsJSON("ada@shop.example", "not the password"))
		}
		w.client = "203.0.113.9"
	}
	attack()
	b := w.browser()
	if rec := b.post("/auth/login", "email", "ada@shop.example", "password", goodPassword); reason(rec) != "limit.rate" {
		t.Fatalf("positive control: a new device logs in during the attack: %d %s", rec.Code, reason(rec))
	}
	b.post(recoverPath, "email", "ada@shop.example")
	token := w.tokenIn(w.oneLetter("ada@shop.example", ""), passwordPath)
	if rec := b.post(passwordPath, "token", token, "password", "a new password for ada"); rec.Code != http.StatusSeeOther {
		t.Fatalf("a new password: %d %s", rec.Code, reason(rec))
	}
	attack()
	if rec := b.post("/auth/login", "email", "ada@shop.example", "password", "a new password for ada"); rec.Code != http.StatusSeeOther || b.loggedIn() == "" {
		t.Errorf("the owner is kept out of what the letter gave back: %d %s", rec.Code, reason(rec))
	}
	w.client = "203.0.113.10"
	if rec := w.browser().post("/auth/login", "email", "ada@shop.example", "password", "a new password for ada"); reason(rec) != "limit.rate" {
		t.Errorf("another browser of another network: %d %s", rec.Code, reason(rec))
	}
}

// fullValues have no room for another value.
type fullValues struct{ *kv.Memory }

func (fullValues) Set(context.Context, string, []byte, time.Duration) error { return kv.ErrFull }

// TestForgivingIsNoCondition: that a right password cannot be noted keeps nobody
// from changing it.
func TestForgivingIsNoCondition(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	memory := kv.NewMemory(w.now.time, 1000)
	w.id.guesses = guess.New(memory, fullValues{memory}, make([]byte, 32), w.now.time)
	w.expect("a change", w.postAs(w.own(u.ID), passwordPath, object("current", goodPassword, "password", "another long password")), 204, problem.OK)
}

// TestStrengthIsBoundedForAll: networks are cheap where they are IPv6.
func TestStrengthIsBoundedForAll(t *testing.T) {
	w := newWorld(t, openZone())
	estimated := 0
	for i := range 1000 {
		w.client = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, byte(i >> 8), byte(i)}).String()
		if w.post("/auth/password/strength", object("password", "x")).Code == 200 {
			estimated++
		}
	}
	if estimated == 0 || estimated > 600 {
		t.Errorf("%d estimates in a moment", estimated)
	}
}

// TestWhatOneUserLeavesBehind: who changes an account in a loop fills neither the
// outbox nor the store for everybody else.
func TestWhatOneUserLeavesBehind(t *testing.T) {
	w := newMailWorld(t)
	u := w.addUser("ada@shop.example", goodPassword)
	w.giveApp(u.ID)
	own, _ := w.sessions.create(t, u.ID, 2)
	for range 200 {
		w.want(w.as(own, "/auth/factors/codes", "{}"), 200, "new codes")
	}
	if n := len(w.letters.take()); n == 0 || n > 30 {
		t.Errorf("%d letters of one account", n)
	}
	for range 200 {
		w.as(own, "/auth/step-up", "{}")
		w.do(ask{method: "GET", path: "/auth/step-up", token: own, header: map[string]string{"Accept": browser}})
	}
	if n := w.number("SELECT COUNT(*) FROM flows"); n == 0 || n > 30 {
		t.Errorf("%d flows of one session", n)
	}
}
