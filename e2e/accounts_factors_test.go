package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// walkTOTP sets up an authenticator app and is asked for it: at the login, at what
// guards the account, and at a route that wants two factors.
func walkTOTP(t *testing.T, c *chrome, s *accountSite) {
	ida := s.addUser("ida@shop.example")
	b := c.tab(t, s.url)
	b.enter(ida)
	s.letter(ida.Email, "New login")
	program := s.login(ida) // of one factor, from before
	vault := func(token string) answer { return s.do(call{path: "/vault", bearer: token}) }
	if got := vault(program); got.reason() != "auth.step_up" || !strings.Contains(got.Header.Get("WWW-Authenticate"), "insufficient_user_authentication") {
		t.Errorf("a route with mfa: true, by a password alone: %d %s %q", got.Status, got.reason(), got.Header.Get("WWW-Authenticate"))
	}

	b.submit(200, formTo("/auth/factors/totp/begin"))
	b.at("/auth/factors/totp/begin", "Add an authenticator app")
	if b.count(".qr svg") != 1 {
		t.Error("there is no QR code")
	}
	phone := newApp(t, b.text("#secret"))
	b.submit(401, "button.main", "code", "000000", "name", "Phone")
	b.at("/auth/factors/totp", "Add an authenticator app")
	if again := newApp(t, b.text("#secret")); again.secret != phone.secret {
		t.Error("a wrong code began another app")
	}
	b.codes(phone, "button.main", "name", "Phone")
	b.at("/auth/factors/totp", "Your recovery codes")
	codes := strings.Fields(b.text("#codes"))
	if len(codes) != 10 {
		t.Fatalf("the recovery codes are %q", codes)
	}
	s.letter(ida.Email, "A way to log in was added")
	b.leads(200, chromedp.Click(chromedp.CSS("a.main")))
	b.at("/auth/account", "Your account")
	b.says("#factors", "Phone")
	b.says("#factors", "10 codes are left")
	if page := eval[string](b, "document.documentElement.outerHTML"); strings.Contains(page, codes[0]) || strings.Contains(page, phone.secret) {
		t.Error("what is shown once is on the account page")
	}

	// This session is still of one factor: what guards the account is out of its reach.
	b.open(200, "/auth/password")
	b.at("/auth/step-up?next=%2Fauth%2Fpassword", "Is it you?")
	b.submit(401, formTo("/auth/mfa/totp"), "code", phone.again())
	b.at("/auth/mfa/totp", "Is it you?")
	b.codes(phone, formTo("/auth/mfa/totp"))
	b.at("/auth/password", "Change your password")
	b.says(".hint", "At least 8 characters")
	b.reaches(200, "/vault")
	s.json(call{method: "POST", path: "/auth/email", bearer: program, json: true, body: `{"email":"x@shop.example"}`}, 401, nil)

	b.open(200, "/auth/account")
	b.submit(200, "header "+formTo("/auth/logout"))
	b.submit(200, "button.main", "email", ida.Email, "password", ida.Password)
	b.at("/auth/login", "One more step")
	b.codes(phone, formTo("/auth/mfa/totp"))
	b.at("/auth/account", "Your account")

	// A recovery code, once.
	b.submit(200, "header "+formTo("/auth/logout"))
	recover := func(status int, code string) {
		t.Helper()
		b.submit(200, "button.main", "email", ida.Email, "password", ida.Password)
		b.at("/auth/login", "One more step")
		b.do(chromedp.Click(chromedp.CSS("summary")))
		b.submit(status, formTo("/auth/mfa/recovery"), "recovery", code)
	}
	recover(200, strings.ToUpper(codes[3]))
	b.at("/auth/account", "Your account")
	b.says("#factors", "9 codes are left")
	s.letter(ida.Email, "A recovery code was used")
	b.submit(200, "header "+formTo("/auth/logout"))
	recover(401, codes[3])
	b.at("/auth/mfa/recovery", "One more step")
	b.open(200, "/auth/account")
	b.at("/auth/login", "Log in") // the password alone opened nothing
	recover(200, codes[4])
	b.at("/auth/account", "Your account")

	// New codes end the others; a name, and away with it.
	b.submit(200, formTo("/auth/factors/codes"))
	b.look()
	if more := strings.Fields(b.text("#codes")); len(more) != 10 || slices.ContainsFunc(more, func(code string) bool { return slices.Contains(codes, code) }) {
		t.Errorf("new codes: %q, those before: %q", more, codes)
	}
	b.open(200, "/auth/account")
	b.do(chromedp.Click(chromedp.CSS("#factors summary")))
	b.submit(200, "#factors details form:first-of-type button[type=submit]", b.id("#factors input[name=name]"), "Old phone")
	b.look()
	b.says("#factors", "Old phone")
	b.do(chromedp.Click(chromedp.CSS("#factors summary")))
	b.submit(200, "#factors details form:last-of-type button[type=submit]")
	b.at("/auth/account?notice=factor_removed", "Your account")
	s.letter(ida.Email, "A recovery code was used")
	s.letter(ida.Email, "A way to log in was added") // of the codes
	s.letter(ida.Email, "A way to log in was removed")
	if strings.Contains(b.text("#factors"), "Old phone") {
		t.Error("the app is still there")
	}
}

// id of an element.
func (b *tab) id(css string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.querySelector(%q).id", css))
}

// authenticator is a device with passkeys that the browser plays.
type authenticator struct {
	b  *tab
	id webauthn.AuthenticatorID
}

func (b *tab) authenticator() authenticator {
	b.t.Helper()
	made := command(b, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Ctap2version: webauthn.Ctap2versionCtap21, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}})
	return authenticator{b, made.AuthenticatorID}
}

// verifies says whether the device knows its user by PIN, finger or face.
func (a authenticator) verifies(yes bool) {
	a.b.t.Helper()
	command(a.b, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: a.id, IsUserVerified: yes})
}

// lies has the device answer with a bad signature, or without the flag of verification.
func (a authenticator) lies(signature, verification bool) {
	a.b.t.Helper()
	command(a.b, webauthn.SetResponseOverrideBits, webauthn.SetResponseOverrideBitsParams{AuthenticatorID: a.id, IsBogusSignature: &signature, IsBadUV: &verification})
}

// byPasskey logs in as an app in a browser does, without our page, and gives
// status and reason.
const byPasskey = `(async () => {
	const post = (path, body) => fetch(path, {method: "POST", headers: {"Content-Type": "application/json", Accept: "application/json"}, body: JSON.stringify(body)});
	const {flow, options} = await (await post("/auth/passkey/begin", {})).json();
	const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options.publicKey ?? options);
	const response = (await navigator.credentials.get({publicKey})).toJSON();
	const first = await post("/auth/passkey", {flow, response}), again = await post("/auth/passkey", {flow, response});
	const of = async (r) => r.status + " " + ((b) => b.token ? "token" : (b.type ?? "").split(":").pop())(await r.json());
	return await of(first) + ", " + await of(again);
})()`

// walkPasskey makes a passkey and logs in with it alone.
func walkPasskey(t *testing.T, c *chrome, s *accountSite) {
	joe := s.addUser("joe@shop.example")
	b := c.tab(t, s.url)
	device := b.authenticator()
	b.enter(joe)
	s.letter(joe.Email, "New login")
	b.leads(200, chromedp.Click(chromedp.CSS(`#factors a[href="/auth/factors/passkey"]`)))
	b.at("/auth/factors/passkey", "Add a passkey")

	device.verifies(false) // neither PIN nor finger: no passkey
	b.do(chromedp.Click(chromedp.CSS("form.passkey button[type=submit]")), chromedp.WaitVisible(chromedp.CSS("form.passkey [data-alert]")))
	b.says("form.passkey [data-alert]", "The passkey did not work")
	b.look()
	device.verifies(true)
	b.submit(200, "form.passkey button[type=submit]", "name", "Laptop")
	b.at("/auth/factors/passkey", "Your recovery codes")
	s.letter(joe.Email, "A way to log in was added")
	b.leads(200, chromedp.Click(chromedp.CSS("a.main")))
	b.at("/auth/account", "Your account")
	b.says("#factors", "Laptop")

	// The session is of one factor until the passkey was shown.
	b.open(200, "/auth/delete")
	b.at("/auth/step-up?next=%2Fauth%2Fdelete", "Is it you?")
	b.submit(200, formTo("/auth/mfa/passkey"))
	b.at("/auth/delete", "Delete your account?")

	// Logged out, the login page offers the passkey, which this device takes at once.
	b.open(200, "/auth/account")
	device.verifies(false)
	b.submit(200, "header "+formTo("/auth/logout"))
	b.at("/auth/login?bye", "Log in")
	b.do(chromedp.Click(chromedp.CSS(formTo("/auth/passkey"))), chromedp.WaitVisible(chromedp.CSS("form.passkey [data-alert]")))
	b.look()
	device.verifies(true)
	b.submit(200, formTo("/auth/passkey"))
	b.at("/auth/account", "Your account")
	b.says("#sessions", "with a second factor")
	b.reaches(200, "/vault")

	// As second step behind a password.
	b.open(200, "/auth/account")
	device.verifies(false)
	b.submit(200, "header "+formTo("/auth/logout"))
	b.submit(200, "button.main", "email", joe.Email, "password", joe.Password)
	b.at("/auth/login", "One more step")
	device.verifies(true)
	b.submit(200, formTo("/auth/mfa/passkey"))
	b.at("/auth/account", "Your account")

	// What a device must not get away with.
	b.open(200, "/auth/recover")
	for _, lie := range []struct {
		name                    string
		signature, verification bool
		want                    string
	}{
		{"no lie", false, false, "200 token, 401 factor"}, // an answer counts once
		{"bogus signature", true, false, "401 factor, 401 factor"},
		{"not verified", false, true, "401 factor, 401 factor"},
		{"no lie again", false, false, "200 token, 401 factor"},
	} {
		device.lies(lie.signature, lie.verification)
		got := strings.ReplaceAll(eval[string](b, byPasskey, chromedp.EvalAwaitPromise), "account.", "")
		if got != lie.want {
			t.Errorf("%s: %s, want %s", lie.name, got, lie.want)
		}
	}
	b.wanted(401)

	// A passkey that was taken away is one no more.
	b.open(200, "/auth/account")
	b.do(chromedp.Click(chromedp.CSS("#factors summary")))
	b.submit(200, "#factors details form:last-of-type button[type=submit]")
	b.at("/auth/account?notice=factor_removed", "Your account")
	b.open(200, "/auth/recover")
	if got := eval[string](b, byPasskey, chromedp.EvalAwaitPromise); strings.Contains(got, "token") {
		t.Errorf("a passkey that was removed: %s", got)
	}
}
