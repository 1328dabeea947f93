package identity

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSecondFactor: who holds a factor gets no session before it was shown, and
// each proof counts once.
func TestSecondFactor(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	secret, codes := w.giveApp(u.ID), w.giveCodes(u.ID)
	w.letters.take()

	a := w.first(u.Email)
	if a.Step != "mfa" || !isFlow(a.Flow) || a.Token != "" || string(a.Factors) != `["totp","recovery"]` || w.sessions.of(u.ID) != 0 {
		t.Fatalf("login = %+v with %d sessions, want the step mfa and none", a, w.sessions.of(u.ID))
	}
	if letters := w.letters.take(); letters != nil {
		t.Errorf("letters %q of a login that is not done", letters)
	}
	w.refused(w.post("/auth/mfa/totp", object("flow", a.Flow, "code", w.wrong(secret))), "account.factor", "a wrong code")
	w.refused(w.post("/auth/mfa/totp", object("flow", strings.Repeat("A", 43), "code", w.code(secret))), "account.flow", "a flow that never was")
	w.refused(w.post("/auth/mfa/passkey/begin", object("flow", a.Flow)), "account.invalid", "a passkey that the user has not")
	done := w.want(w.post("/auth/mfa/totp", object("flow", a.Flow, "code", w.code(secret))), 200, "a right code")
	s, ok := w.sessions.lookup(done.Token)
	if !ok || s.User != u.ID || s.Level != 2 || s.Method != "password+totp" || done.User.ID != u.ID {
		t.Errorf("session %+v (%v) of %+v", s, ok, done)
	}
	if letters := w.letters.take(); !slices.Equal(letters, []string{"new-device"}) {
		t.Errorf("letters %q, want one of the new device", letters)
	}
	w.refused(w.post("/auth/mfa/totp", object("flow", a.Flow, "code", w.code(secret))), "account.flow", "the same flow again")
	b := w.first(u.Email)
	w.refused(w.post("/auth/mfa/totp", object("flow", b.Flow, "code", w.code(secret))), "account.factor", "the same code in another login")

	done = w.want(w.post("/auth/mfa/recovery", object("flow", b.Flow, "code", codes[3])), 200, "a recovery code")
	if s, _ := w.sessions.lookup(done.Token); s.Level != 2 || s.Method != "password+recovery" {
		t.Errorf("session by a recovery code: %+v", s)
	}
	if letters := w.letters.take(); !slices.Equal(letters, []string{"recovery-used"}) {
		t.Errorf("letters %q, want one of the code", letters)
	}
	c := w.first(u.Email)
	w.refused(w.post("/auth/mfa/recovery", object("flow", c.Flow, "code", codes[3])), "account.factor", "the same recovery code")
	w.now.advance(stepLife)
	w.refused(w.post("/auth/mfa/recovery", object("flow", c.Flow, "code", codes[4])), "account.flow", "a flow that is over")
}

// TestSecondFactorTries: a flow takes five answers, and the answer that comes after
// them is refused even when it is right.
func TestSecondFactorTries(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	secret := w.giveApp(u.ID)
	for _, wrongs := range []int{stepTries - 1, stepTries} {
		a := w.first(u.Email)
		for range wrongs {
			w.refused(w.post("/auth/mfa/totp", object("flow", a.Flow, "code", w.wrong(secret))), "account.factor", "wrong")
		}
		rec := w.post("/auth/mfa/totp", object("flow", a.Flow, "code", w.code(secret)))
		if want := map[int]int{stepTries - 1: 200, stepTries: 410}[wrongs]; rec.Code != want {
			t.Errorf("right after %d wrong ones: %d %s, want %d", wrongs, rec.Code, reason(rec), want)
		}
		w.now.advance(25 * time.Hour)
	}
}

// TestSecondFactorBudget: all kinds of second factors share one bound, whatever
// flows and addresses the answers come from; it ends by itself.
func TestSecondFactorBudget(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	secret := w.giveApp(u.ID)
	codes := w.giveCodes(u.ID)
	looked := 0
	for i := range 8 {
		w.client = fmt.Sprintf("198.51.100.%d", i+1)
		a := w.first(u.Email)
		for j := range 4 {
			path, code := "/auth/mfa/totp", w.wrong(secret)
			if j%2 == 1 {
				path, code = "/auth/mfa/recovery", "0000-0000-0000"
			}
			rec := w.post(path, object("flow", a.Flow, "code", code))
			switch reason(rec) {
			case "account.factor":
				looked++
			case "limit.rate":
				if rec.Header().Get("Retry-After") == "" {
					t.Error("a refusal that does not say when to come back")
				}
			default:
				t.Fatalf("answer %d of flow %d: %d %s", j, i, rec.Code, reason(rec))
			}
		}
	}
	if looked != 10 {
		t.Errorf("%d answers were looked at within a quarter of an hour, want 10", looked)
	}
	a := w.first(u.Email)
	w.refused(w.post("/auth/mfa/recovery", object("flow", a.Flow, "code", codes[0])), "limit.rate", "a right one, beyond the bound")
	w.now.advance(time.Hour)
	a = w.first(u.Email)
	w.want(w.post("/auth/mfa/recovery", object("flow", a.Flow, "code", codes[0])), 200, "later")
}

// TestSecondFactorAtOnce: of one code sent many times at once one opens a session.
func TestSecondFactorAtOnce(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	secret := w.giveApp(u.ID)
	flows := []string{w.first(u.Email).Flow, w.first(u.Email).Flow}
	code := w.code(secret)
	var all sync.WaitGroup
	statuses := make([]int, 6)
	for i := range statuses {
		all.Go(func() {
			statuses[i] = w.post("/auth/mfa/totp", object("flow", flows[i%2], "code", code)).Code
		})
	}
	all.Wait()
	slices.Sort(statuses)
	if statuses[0] != 200 || statuses[1] == 200 || w.sessions.of(u.ID) != 1 {
		t.Errorf("answers %v with %d sessions, want one of each", statuses, w.sessions.of(u.ID))
	}
}

// TestSecondFactorAgainstChange: what was begun before a change of the account, or
// of its factors, is over.
func TestSecondFactorAgainstChange(t *testing.T) {
	for name, change := range map[string]func(w *world, u User) error{
		"password": func(w *world, u User) error { return w.id.SetPassword(w.t.Context(), u.ID, "another good one") },
		"disabled": func(w *world, u User) error { return w.id.SetDisabled(w.t.Context(), u.ID, true) },
		"roles":    func(w *world, u User) error { return w.id.GrantRoles(w.t.Context(), u.ID, []string{"x"}) },
		"deleted":  func(w *world, u User) error { return w.id.DeleteUser(w.t.Context(), u.ID) },
	} {
		w := newWorld(t, openZone())
		u := w.addUser("ada@shop.example", goodPassword)
		secret := w.giveApp(u.ID)
		a := w.first(u.Email)
		if err := change(w, u); err != nil {
			t.Fatal(err)
		}
		w.refused(w.post("/auth/mfa/totp", object("flow", a.Flow, "code", w.code(secret))), "account.flow", name)
		if n := w.sessions.of(u.ID); n != 0 {
			t.Errorf("%s: %d sessions", name, n)
		}
	}
}

// TestSecondFactorPage walks the step as a browser does: the flow is of use in its
// own browser only.
func TestSecondFactorPage(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	secret := w.giveApp(u.ID)
	form := func(path string, v url.Values, cookies ...*http.Cookie) ask {
		return ask{method: "POST", path: path, body: v.Encode(), more: cookies, header: map[string]string{"Content-Type": formType, "Accept": browser}}
	}
	login := url.Values{"email": {u.Email}, "password": {goodPassword}, "next": {"/orders"}, "remember": {"on"}}
	rec := w.do(form("/auth/login", login))
	flow, bound := flowIn(rec.Body.String()), cookieNamed(rec, FlowCookie)
	if rec.Code != 200 || !isFlow(flow) || bound == nil || !bound.HttpOnly || !bound.Secure || cookieOf(rec) != nil {
		t.Fatalf("login: %d %v\n%s", rec.Code, rec.Header(), rec.Body)
	}
	code := url.Values{"flow": {flow}, "code": {w.code(secret)}, "next": {"https://evil.example/"}}
	if rec := w.do(form("/auth/mfa/totp", code)); rec.Code != 410 || cookieOf(rec) != nil || !strings.Contains(rec.Body.String(), `action="/auth/login"`) {
		t.Errorf("without the browser's cookie: %d, want 410 and the login\n%s", rec.Code, rec.Body)
	}
	if rec := w.do(form("/auth/mfa/totp", code, cookie(FlowCookie, newBrowser()))); rec.Code != 410 || cookieOf(rec) != nil {
		t.Errorf("in another browser: %d, want 410", rec.Code)
	}
	rec = w.do(form("/auth/mfa/totp", url.Values{"flow": {flow}, "code": {w.wrong(secret)}}, bound))
	if rec.Code != 401 || flowIn(rec.Body.String()) != flow || !strings.Contains(rec.Body.String(), `aria-invalid="true"`) {
		t.Errorf("a wrong code: %d, want the step again\n%s", rec.Code, rec.Body)
	}
	rec = w.do(form("/auth/mfa/totp", code, bound))
	session, device := cookieOf(rec), cookieNamed(rec, DeviceCookie)
	if rec.Code != 303 || rec.Header().Get("Location") != "/orders" || session == nil || session.MaxAge != int(lives.Remember/time.Second) {
		t.Fatalf("a right code: %d to %q, %v", rec.Code, rec.Header().Get("Location"), session)
	}
	if device == nil || !device.HttpOnly || !device.Secure || device.MaxAge < int(24*time.Hour/time.Second) || !w.id.guesses.KnownDevice(u.Email, device.Value) {
		t.Errorf("the device is not known from now on: %v", device)
	}
	if rec := w.do(ask{method: "GET", path: "/auth/mfa", header: map[string]string{"Accept": browser}}); rec.Code != 303 {
		t.Errorf("the step cannot be loaded: %d, want the way to the login", rec.Code)
	}
}

// TestNewDevice: a login from a device and network that were not seen is told to
// the owner, once.
func TestNewDevice(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("ada@shop.example", goodPassword)
	login := func(cookies ...*http.Cookie) *http.Cookie {
		t.Helper()
		rec := w.do(ask{method: "POST", path: "/auth/login", more: cookies, body: url.Values{"email": {u.Email}, "password": {goodPassword}}.Encode(),
			header: map[string]string{"Content-Type": formType, "Accept": browser, "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0"}})
		if rec.Code != 303 {
			t.Fatalf("login: %d", rec.Code)
		}
		return cookieNamed(rec, DeviceCookie)
	}
	check := func(what string, want ...string) {
		t.Helper()
		if got := w.letters.take(); !slices.Equal(got, want) {
			t.Errorf("%s: letters %q, want %q", what, got, want)
		}
	}
	device := login()
	job := w.letters.jobs[0]
	if job.Address != u.Email || job.User != u.ID || job.Data["device"] != "Firefox, Linux" || job.Data["place"] != w.client ||
		job.Data["at"] != "2026-03-01T12:00:00Z" || job.Data["link"] != "https://shop.example/auth/account" {
		t.Errorf("the letter is %+v", job)
	}
	check("first", "new-device")
	login()
	check("the same network")
	w.client = "203.0.113.9"
	device = login(device)
	check("the same device elsewhere")
	w.client = "203.0.113.10"
	login(cookie(DeviceCookie, "x"+device.Value))
	check("a cookie that was made up", "new-device")

	// Nothing is told of a login that was undone.
	w.client = "203.0.113.11"
	w.sessions.fail = fmt.Errorf("no session")
	if rec := w.post("/auth/login", credentialsJSON(u.Email, goodPassword)); rec.Code < 500 {
		t.Errorf("login without sessions: %d", rec.Code)
	}
	check("undone")
	w.sessions.fail = nil
	w.letters.fail = fmt.Errorf("the store does not answer")
	before := w.sessions.of(u.ID)
	if rec := w.post("/auth/login", credentialsJSON(u.Email, goodPassword)); rec.Code < 500 || w.sessions.of(u.ID) != before {
		t.Errorf("a login whose letter cannot be kept: %d with %d sessions, want it undone", rec.Code, w.sessions.of(u.ID)-before)
	}
}
