package oauth_test

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestEssential: an essential acr is met or the request ends; a wish is not; and a user
// is asked for a second factor once, who may have none.
func TestEssential(t *testing.T) {
	w := newWorld(t)
	const unmet = "unmet_authentication_requirements"
	claims := func(acr string) []string {
		return []string{"claims", `{"id_token":{"acr":` + acr + `},"userinfo":{"email":null}}`}
	}
	for name, c := range map[string]struct {
		more   []string
		level  int    // of the login
		step   bool   // the user is sent to show more
		after  int    // the level then; 0: the same
		want   string // acr, or error
		silent string // with prompt=none; empty: as want
	}{
		"a wish, no second factor":            {[]string{"acr_values", "2"}, 1, true, 1, "1", "login_required"},
		"a wish, one is shown":                {[]string{"acr_values", "2"}, 1, true, 2, "2", "login_required"},
		"a voluntary claim":                   {claims(`{"values":["2"]}`), 1, true, 1, "1", "login_required"},
		"a voluntary claim beside a wish":     {append(claims(`{"value":"2"}`), "acr_values", "1"), 1, false, 0, "1", ""},
		"null":                                {claims(`null`), 1, false, 0, "1", ""},
		"essential, no second factor":         {claims(`{"essential":true,"values":["2"]}`), 1, true, 1, unmet, "login_required"},
		"essential, one is shown":             {claims(`{"essential":true,"value":"2"}`), 1, true, 2, "2", "login_required"},
		"essential, it was shown":             {claims(`{"essential":true,"values":["2"]}`), 2, false, 0, "2", ""},
		"essential, either":                   {claims(`{"essential":true,"values":["2","1"]}`), 1, false, 0, "1", ""},
		"essential, either, it was shown":     {claims(`{"essential":true,"values":["2","1"]}`), 2, false, 0, "2", ""},
		"essential, the lower":                {claims(`{"essential":true,"value":"1"}`), 2, false, 0, "1", ""},
		"essential, and a wish that is lower": {append(claims(`{"essential":true,"value":"2"}`), "acr_values", "1"), 1, true, 1, unmet, "login_required"},
		"essential, any":                      {claims(`{"essential":true}`), 1, false, 0, "1", ""},
		"essential, unknown":                  {claims(`{"essential":true,"values":["urn:mace:incommon:iap:silver"]}`), 2, false, 0, unmet, ""},
		"essential, unknown or known":         {claims(`{"essential":true,"values":["urn:mace:incommon:iap:silver","2"]}`), 2, false, 0, "2", ""},
		"no object":                           {[]string{"claims", `[]`}, 1, false, 0, "invalid_request", ""},
		"acr is a text":                       {claims(`"2"`), 1, false, 0, "invalid_request", ""},
		"acr twice":                           {[]string{"claims", `{"id_token":{"acr":null,"acr":{"essential":true,"value":"2"}}}`}, 1, false, 0, "invalid_request", ""},
		"cut off":                             {[]string{"claims", `{"id_token":`}, 1, false, 0, "invalid_request", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := w.browser()
			b.who.Level, b.who.AuthTime = c.level, time.Now().Add(-time.Minute)
			q := authorization("web-app", callback, "openid", c.more...)
			silent := c.silent
			if silent == "" {
				silent = c.want
			}
			none := leads(t, b.get("/oauth/authorize?"+with(q, url.Values{"prompt": {"none"}}).Encode())).Query()
			if got := none.Get("error"); len(silent) > 1 && got != silent || len(silent) == 1 && none.Get("code") == "" {
				t.Errorf("in silence: %v, want %s", none, silent)
			}
			to := leads(t, b.get("/oauth/authorize?"+q.Encode()))
			if step := to.Path == "/auth/step-up"; step != c.step {
				t.Fatalf("sent to %s", to)
			}
			if c.step {
				b.who.Level, b.who.AuthTime = c.after, time.Now()
				to = leads(t, b.get(to.Query().Get("next")))
			}
			answer := to.Query()
			if answer.Get("iss") != issuer || answer.Get("state") != "st" {
				t.Errorf("answer %v", answer)
			}
			if len(c.want) > 1 {
				if answer.Get("error") != c.want || answer.Has("code") {
					t.Errorf("answer %v, want %s", answer, c.want)
				}
				return
			}
			a := w.post("/oauth/token", redeem(answer.Get("code"), callback), basic("web-app", secret)).want(t, 200, "")
			if got := payloadOf(t, a.text("id_token"))["acr"]; got != c.want {
				t.Errorf("acr %v, want %s", got, c.want)
			}
		})
	}
	// A pushed request carries it as well, and what nobody can meet is not taken.
	key := newKey(t)
	push := func(acr string) answer {
		return w.post("/oauth/par", with(authorization("bank", "https://bank.example/cb", "openid", claims(acr)...), w.asserts(nil)), w.proves(key, "/oauth/par"))
	}
	push(`{"essential":true,"value":"3"}`).want(t, 400, unmet)
	uri := push(`{"essential":true,"value":"2"}`).want(t, 201, "").text("request_uri")
	b := w.browser()
	b.who.AuthTime = time.Now().Add(-time.Minute)
	to := leads(t, b.get("/oauth/authorize?"+url.Values{"client_id": {"bank"}, "request_uri": {uri}}.Encode()))
	b.who.AuthTime = time.Now()
	if to = leads(t, b.get(to.Query().Get("next"))); to.Query().Get("error") != unmet {
		t.Errorf("pushed: %s", to)
	}
}

// TestFreshLogin: prompt=login and max_age are met by a login after the request alone,
// whoever comes back without one, and also when an acr is essential.
func TestFreshLogin(t *testing.T) {
	w := newWorld(t)
	for name, more := range map[string][]string{
		"prompt=login": {"prompt", "login"}, "max_age=0": {"max_age", "0"}, "max_age": {"max_age", "30"},
		"with an essential acr": {"max_age", "30", "claims", `{"id_token":{"acr":{"essential":true,"value":"1"}}}`},
	} {
		b := w.browser()
		b.who.AuthTime = time.Now().Add(-time.Minute)
		to := leads(t, b.get("/oauth/authorize?"+authorization("web-app", callback, "openid", more...).Encode()))
		next := to.Query().Get("next")
		if to.Path != "/auth/step-up" || next == "" {
			t.Errorf("%s: sent to %s", name, to)
			continue
		}
		if to = leads(t, b.get(next)); to.Path != "/auth/step-up" {
			t.Errorf("%s: without a login: %s", name, to)
		}
		b.who.AuthTime = time.Now()
		q := leads(t, b.get(next)).Query()
		a := w.post("/oauth/token", redeem(q.Get("code"), callback), basic("web-app", secret)).want(t, 200, "")
		if at, _ := payloadOf(t, a.text("id_token"))["auth_time"].(float64); int64(at) != b.who.AuthTime.Unix() {
			t.Errorf("%s: auth_time %v, want %d", name, at, b.who.AuthTime.Unix())
		}
	}
}

// payloadOf are the claims of a JWT, which is not verified.
func payloadOf(t testing.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %q", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	must(t, err)
	var claims map[string]any
	must(t, json.Unmarshal(raw, &claims))
	return claims
}
