package page

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// browserPasskeys makes a passkey and uses it, with an authenticator that the
// browser plays: as a second step by a button, and offered by the login's
// address field without any click.
func browserPasskeys(t *testing.T, ctx context.Context, s *site) {
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatal(err)
		}
	}
	device, err := chromedp.Call(ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal, HasResidentKey: true, HasUserVerification: true,
		IsUserVerified: true, AutomaticPresenceSimulation: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	const button = "form.passkey button[type=submit]"

	// Without a passkey: a word, and the button as before.
	do(chromedp.Navigate(s.URL+"/sample/mfa"), chromedp.Click(chromedp.CSS(button)), chromedp.WaitVisible(chromedp.CSS("form.passkey [data-alert]")))
	if got, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("form.passkey [data-alert] p"))); err != nil || got != "It was cancelled, or took too long. Try again." {
		t.Errorf("without a passkey the page says %q (%v)", got, err)
	}
	if got, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(button))); err != nil || got != "Use your passkey" {
		t.Errorf("the button says %q (%v)", got, err)
	}

	do(chromedp.Navigate(s.URL+"/sample/passkey"), chromedp.SendKeys(chromedp.ID("name"), "Laptop"), chromedp.Click(chromedp.CSS(button)))
	v := s.receive(t, ctx, "webauthn.create", "begun:")
	if v["name"] != "Laptop" || v["next"] != "/auth/account" {
		t.Errorf("the form of a new passkey: %v", v)
	}

	do(chromedp.WaitVisible(chromedp.CSS("h1")), chromedp.Navigate(s.URL+"/sample/mfa"), chromedp.Click(chromedp.CSS(button)))
	if v := s.receive(t, ctx, "webauthn.get", "begun:flow-1"); v["next"] != "/orders" {
		t.Errorf("the form of the second step: %v", v)
	}

	do(chromedp.WaitVisible(chromedp.CSS("h1")), chromedp.Navigate(s.URL+"/sample/login")) // offered, and taken at once by this device
	if v := s.receive(t, ctx, "webauthn.get", "begun:"); v["remember"] != "true" || v["next"] != "/orders?x=1&y=2" {
		t.Errorf("the form of a login: %v", v)
	}
	do(chromedp.WaitVisible(chromedp.CSS("h1")), chromedp.Navigate(s.URL+"/sample/login-passkey"))
	if v := s.receive(t, ctx, "webauthn.get", "begun:"); v.Flag("remember") || v["next"] != "" {
		t.Errorf("the form of a login that is not to be remembered: %v", v)
	}

	// A device that has lost the passkey offers nothing; the button says so, and
	// says it again.
	if _, err := chromedp.Call(ctx, webauthn.ClearCredentials, webauthn.ClearCredentialsParams(device)); err != nil {
		t.Fatal(err)
	}
	do(chromedp.WaitVisible(chromedp.CSS("h1")), chromedp.Navigate(s.URL+"/sample/login"))
	for range 2 {
		do(chromedp.Click(chromedp.CSS(button)), chromedp.WaitVisible(chromedp.CSS("form.passkey [data-alert]")), chromedp.WaitEnabled(chromedp.CSS(button)))
	}
}

// receive waits for the form that a passkey sends, and reads what it answered to.
func (s *site) receive(t *testing.T, ctx context.Context, kind, flow string) Values {
	t.Helper()
	var v Values
	select {
	case v = <-s.posted:
	case <-ctx.Done():
		t.Fatalf("no answer of a passkey to %s", kind)
	}
	var answer struct {
		ID, RawID, Type string
		Response        struct{ ClientDataJSON string }
	}
	if err := json.Unmarshal(v.Raw("response"), &answer); err != nil {
		t.Fatal(err)
	}
	text, err := base64.RawURLEncoding.DecodeString(answer.Response.ClientDataJSON)
	if err != nil {
		t.Fatal(err)
	}
	var client struct{ Type, Challenge, Origin string }
	if err := json.Unmarshal(text, &client); err != nil {
		t.Fatal(err)
	}
	if client.Type != kind || client.Challenge != challenge || client.Origin != s.URL || answer.Type != "public-key" || answer.ID == "" || answer.ID != answer.RawID || v["flow"] != flow {
		t.Errorf("answer to %s: %+v, %s, flow %q, want %q", kind, answer, text, v["flow"], flow)
	}
	return v
}
