package oauth_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"sallyport.dev/internal/oauth"
)

// TestOneFactorGivesNothing: a login that lacks the second factor which the zone wants
// lets no program in, at whatever step it came to lack it.
func TestOneFactorGivesNothing(t *testing.T) {
	w := newWorld(t)
	lacking := func(b *browser) {
		who := *b.who
		who.StepUp = true
		b.who = &who
	}
	const to = "https://spa.example/cb"
	ask := "/oauth/authorize?" + authorization("spa", to, "openid").Encode()
	// From the first.
	b := w.browser()
	lacking(b)
	a := b.get(ask)
	if leads(t, a).Path != "/auth/step-up" {
		t.Errorf("authorize: %d %s", a.Code, leads(t, a))
	}
	back, err := url.QueryUnescape(leads(t, a).Query().Get("next"))
	must(t, err)
	if a := b.get(back); leads(t, a).Path != "/auth/step-up" {
		t.Errorf("back without it: %d %s", a.Code, leads(t, a))
	}
	if a := b.get(ask + "&prompt=none"); leads(t, a).Query().Get("error") != "login_required" {
		t.Errorf("silent: %d %s", a.Code, leads(t, a))
	}
	// At the consent page.
	b = w.browser()
	shown := b.get(ask)
	lacking(b)
	if a := b.decide(shown, "allow"); leads(t, a).Path != "/auth/step-up" {
		t.Errorf("consent: %d %s", a.Code, leads(t, a))
	}
	// By a device, from the first and at the consent page.
	poll := func() url.Values {
		d := w.post("/oauth/device_authorization", url.Values{"client_id": {"cli"}, "scope": {"openid"}}).want(t, 200, "")
		return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {d.text("device_code")}, "client_id": {"cli"}, "user_code": {d.text("user_code")}}
	}
	p := poll()
	b = w.browser()
	lacking(b)
	if a := b.post("/oauth/device", url.Values{"user_code": p["user_code"]}); leads(t, a).Path != "/auth/step-up" {
		t.Errorf("device: %d %s", a.Code, leads(t, a))
	}
	w.post("/oauth/token", p).want(t, 400, "authorization_pending")
	q := poll()
	b = w.browser()
	shown = b.post("/oauth/device", url.Values{"user_code": q["user_code"]})
	lacking(b)
	if a := b.decide(shown, "allow"); leads(t, a).Path != "/auth/step-up" {
		t.Errorf("device, consent: %d %s", a.Code, leads(t, a))
	}
	w.post("/oauth/token", q).want(t, 400, "authorization_pending")
	// Positive control.
	b = w.browser()
	if b.code(authorization("spa", to, "openid")) == "" {
		t.Error("no code with it")
	}
}

// TestIntrospectionDoor: what answers without the library lets in who the library would.
func TestIntrospectionDoor(t *testing.T) {
	w := newWorld(t)
	token := w.tokens("openid").text("access_token")
	form := url.Values{"token": {token}}
	for name, c := range map[string]struct {
		form   url.Values
		change request
		status int
		code   string
	}{
		"Basic":                     {form, basic("web-app", secret), 200, ""},
		"posted":                    {with(form, url.Values{"client_id": {"web-app"}, "client_secret": {secret}}), nobody(), 200, ""},
		"a wrong secret":            {form, basic("web-app", secret+"x"), 401, "invalid_client"},
		"an empty secret":           {form, basic("web-app", ""), 401, "invalid_client"},
		"no secret":                 {with(form, url.Values{"client_id": {"web-app"}}), nobody(), 401, "invalid_client"},
		"an empty one, posted":      {with(form, url.Values{"client_id": {"web-app"}, "client_secret": {""}}), nobody(), 401, "invalid_client"},
		"both":                      {with(form, url.Values{"client_id": {"web-app"}, "client_secret": {secret}}), basic("web-app", secret), 400, "invalid_request"},
		"two clients":               {with(form, url.Values{"client_id": {"report"}}), basic("web-app", secret), 400, "invalid_request"},
		"nobody":                    {form, nobody(), 401, "invalid_client"},
		"a client that is unknown":  {form, basic("nobody", secret), 401, "invalid_client"},
		"a client with keys":        {form, basic("bank", secret), 401, "invalid_client"},
		"one with a certificate":    {form, basic("till", secret), 401, "invalid_client"},
		"a public one":              {form, basic("spa", secret), 401, "invalid_client"},
		"no token":                  {url.Values{}, basic("web-app", secret), 400, "invalid_request"},
		"a secret of its own shape": {form, basic("web-app", "kept elsewhere"), 401, "invalid_client"},
	} {
		if a := w.post("/oauth/introspect", c.form, c.change); a.Code != c.status || a.text("error") != c.code {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
	for range 30 {
		w.post("/oauth/introspect", form, basic("web-app", "guessed"))
	}
	if a := w.post("/oauth/introspect", form, basic("web-app", "guessed")); a.Code != http.StatusTooManyRequests {
		t.Errorf("thirty guesses: %d %s", a.Code, a.Body)
	}
}

// TestClientOfLaggingProcess: what a process that reads the new map last has granted
// meanwhile ends when it does.
func TestClientOfLaggingProcess(t *testing.T) {
	w := newWorld(t)
	late, mux := w.open()
	const to = "https://spa.example/cb"
	granted := func() string {
		b := w.browser()
		b.mux = mux
		code := b.code(authorization("spa", to, "openid orders.read"))
		return w.send(mux, "/oauth/token", redeem(code, to, "client_id", "spa")).want(t, 200, "").text("access_token")
	}
	kept := granted()
	must(t, late.Reload(w.zone))
	w.good(kept, true) // positive control
	must(t, w.Reload(w.without("spa")))
	meanwhile := granted()
	must(t, late.Reload(w.without("spa")))
	must(t, w.Reload(w.zone))
	must(t, late.Reload(w.zone))
	w.good(kept, false)
	w.good(meanwhile, false)
	w.good(granted(), true)
}

// asking is people who do something when they are asked who may act.
type asking struct {
	*people
	then func()
}

func (a *asking) Active(ctx context.Context, id, session string) (time.Time, error) {
	if then := a.then; then != nil {
		a.then = nil
		then()
	}
	return a.people.Active(ctx, id, session)
}

// TestClientGoneMeanwhile: a request that is under way when its client goes leaves
// nothing behind for who has the id next.
func TestClientGoneMeanwhile(t *testing.T) {
	for gone, good := range map[string]bool{"report": true, "batch": false} {
		var users *asking
		w := newWorld(t, func(c *oauth.Config) {
			users = &asking{people: c.Users.(*people)}
			c.Users = users
		})
		form := url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
			"subject_token": {w.tokens("openid orders.read").text("access_token")},
		}
		users.then = func() { must(t, w.Reload(w.without(gone))) }
		a := w.post("/oauth/token", form, basic("batch", secret))
		must(t, w.Reload(w.zone))
		if (a.Code == 200) != good {
			t.Errorf("without %s: %d %s", gone, a.Code, a.Body)
		}
		if a.Code == 200 {
			w.good(a.text("access_token"), good)
		}
	}
}

// TestConsentOfEndedSession: a yes that was under way when its session ended is none.
func TestConsentOfEndedSession(t *testing.T) {
	for _, good := range []bool{true, false} {
		w := newWorld(t)
		b := w.browser()
		shown := b.get("/oauth/authorize?" + authorization("spa", "https://spa.example/cb", "openid").Encode())
		if !good {
			w.users.end("session1")
		}
		to := leads(t, b.decide(shown, "allow"))
		if (to.Query().Get("code") != "") != good || !good && to.Path != "/auth/login" {
			t.Errorf("the session lives %v: to %s", good, to)
		}
		list, err := w.Grants(t.Context(), user)
		if err != nil || (len(list) == 1) != good {
			t.Errorf("the session lives %v: %+v %v", good, list, err)
		}
	}
}
