package oauth_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// TestAuthorizationParameters holds what a request must be, and where its error
// goes: to the client, or nowhere when the client or its URI is not known.
func TestAuthorizationParameters(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		v    url.Values
		code string // told to the client; "page": told to the user alone; "": it goes on
	}{
		"as it should be":           {authorization("web-app", callback, "openid"), ""},
		"an unknown client":         {authorization("nobody", callback, "openid"), "page"},
		"no client":                 {authorization("", callback, "openid"), "page"},
		"another redirect":          {authorization("web-app", "https://evil.example/cb", "openid"), "page"},
		"a redirect with a slash":   {authorization("web-app", callback+"/", "openid"), "page"},
		"with a query":              {authorization("web-app", callback+"?a=b", "openid"), "page"},
		"with a fragment":           {authorization("web-app", callback+"#", "openid"), "page"},
		"in capitals":               {authorization("web-app", "HTTPS://client.example/cb", "openid"), "page"},
		"with a user":               {authorization("web-app", "https://client.example@evil.example/cb", "openid"), "page"},
		"with dots":                 {authorization("web-app", "https://client.example/x/../cb", "openid"), "page"},
		"with a port":               {authorization("web-app", "https://client.example:443/cb", "openid"), "page"},
		"no redirect":               {authorization("web-app", "", "openid"), "page"},
		"a loopback of another":     {authorization("web-app", "http://127.0.0.1:1234/cb", "openid"), "page"},
		"no challenge":              {authorization("web-app", callback, "openid", "code_challenge", ""), "invalid_request"},
		"a short challenge":         {authorization("web-app", callback, "openid", "code_challenge", "abc"), "invalid_request"},
		"a plain challenge":         {authorization("web-app", callback, "openid", "code_challenge_method", "plain"), "invalid_request"},
		"no method":                 {authorization("web-app", callback, "openid", "code_challenge_method", ""), "invalid_request"},
		"a token at once":           {authorization("web-app", callback, "openid", "response_type", "token"), "unsupported_response_type"},
		"an ID token at once":       {authorization("web-app", callback, "openid", "response_type", "code id_token"), "unsupported_response_type"},
		"form_post":                 {authorization("web-app", callback, "openid", "response_mode", "form_post"), "invalid_request"},
		"a fragment as mode":        {authorization("web-app", callback, "openid", "response_mode", "fragment"), "invalid_request"},
		"a request object":          {authorization("web-app", callback, "openid", "request", "e30.e30."), "request_not_supported"},
		"a request of elsewhere":    {authorization("web-app", callback, "openid", "request_uri", "https://evil.example/r"), "page"},
		"no scope":                  {authorization("web-app", callback, ""), "invalid_scope"},
		"a scope of nobody":         {authorization("web-app", callback, "openid nothing"), "invalid_scope"},
		"a scope of others":         {authorization("web-app", callback, "openid admin"), "invalid_scope"},
		"two spaces":                {authorization("web-app", callback, "openid  email"), "invalid_scope"},
		"an unknown prompt":         {authorization("web-app", callback, "openid", "prompt", "often"), "invalid_request"},
		"none and login":            {authorization("web-app", callback, "openid", "prompt", "none login"), "invalid_request"},
		"max_age of words":          {authorization("web-app", callback, "openid", "max_age", "soon"), "invalid_request"},
		"a hint that is none":       {authorization("web-app", callback, "openid", "id_token_hint", "e30.e30.e30"), "invalid_request"},
		"display, which is ignored": {authorization("web-app", callback, "openid", "display", "hologram"), ""},
		"an acr that is ignored":    {authorization("web-app", callback, "openid", "acr_values", "urn:gold"), ""},
		"claims, which are ignored": {authorization("web-app", callback, "openid", "claims", "{}"), ""},
		"a client without the flow": {authorization("batch", callback, "orders.read"), "page"},
		"one that must push":        {authorization("bank", "https://bank.example/cb", "openid"), "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			for n, values := range c.v {
				if values[0] == "" {
					c.v.Del(n)
				}
			}
			a := w.browser().get("/oauth/authorize?" + c.v.Encode())
			to := leads(t, a)
			switch {
			case c.code == "page":
				if a.Code < 400 || to.String() != "" {
					t.Errorf("got %d and the way to %s, want a refusal here", a.Code, to)
				}
			case !strings.HasPrefix(to.String(), c.v.Get("redirect_uri")+"?") || to.Query().Get("error") != c.code || to.Query().Get("iss") != issuer || to.Query().Get("state") != "st":
				t.Errorf("got %d and the way to %s, want error %q", a.Code, to, c.code)
			case c.code == "" && to.Query().Get("code") == "":
				t.Errorf("no code: %s", to)
			}
		})
	}
	for _, query := range []string{"client_id=web-app&client_id=web-app", authorization("web-app", callback, "openid").Encode() + "&scope=admin", "%zz", "a=%ff", strings.Repeat("a", 20<<10)} {
		if a := w.browser().get("/oauth/authorize?" + query); a.Code != 400 {
			t.Errorf("%.40q: %d", query, a.Code)
		}
	}
}

// TestLoopback: a native program's port is free, all else is not.
func TestLoopback(t *testing.T) {
	w := newWorld(t)
	for redirect, good := range map[string]bool{
		"http://127.0.0.1:51234/cb": true, "http://127.0.0.1/cb": true, "http://127.0.0.1:051234/cb": false, "http://127.0.0.1:x/cb": false, "http://127.0.0.1:1/cbx": false,
		"http://127.0.0.1:1@evil.example/cb": false, "http://localhost:51234/cb": false, "http://[::1]:1/cb": false, "http://127.0.0.1:123456/cb": false, "https://127.0.0.1:1/cb": false,
	} {
		a := w.browser().get("/oauth/authorize?" + authorization("cli", redirect, "openid").Encode())
		if got := a.Code == 200; got != good {
			t.Errorf("%s: %d, want good %v", redirect, a.Code, good)
			continue
		}
		if !good {
			continue
		}
		b := w.browser()
		code := b.code(authorization("cli", redirect, "openid"))
		w.post("/oauth/token", redeem(code, redirect, "client_id", "cli")).want(t, 200, "")
		// A program that another could pretend to be asks every time.
		if a := b.get("/oauth/authorize?" + authorization("cli", redirect, "openid").Encode()); a.Code != 200 {
			t.Errorf("not asked again: %d", a.Code)
		}
	}
}

// TestConsent: the user is asked once for each scope, and a no is a no.
func TestConsent(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	v := authorization("spa", "https://spa.example/cb", "openid email")
	a := b.get("/oauth/authorize?" + v.Encode())
	for _, want := range []string{"5f0c@shop.example", "spa.example"} {
		if !strings.Contains(a.Body.String(), want) {
			t.Errorf("the page does not say %s", want)
		}
	}
	denied := leads(t, b.decide(a, "deny")).Query()
	if denied.Get("error") != "access_denied" || denied.Get("state") != "st" {
		t.Errorf("no: %v", denied)
	}
	if again := b.decide(a, "allow"); again.Code < 400 { // that request has ended
		t.Errorf("a yes after a no: %d %s", again.Code, leads(t, again))
	}
	shown := b.get("/oauth/authorize?" + v.Encode())
	b.who.Subject = "another" // who logs in in between is asked anew
	if a := b.decide(shown, "allow"); a.Code != 200 || !strings.Contains(a.Body.String(), "anot@shop.example") {
		t.Errorf("another's yes: %d %s", a.Code, leads(t, a))
	}
	b = w.browser()
	b.code(v)
	if a := b.get("/oauth/authorize?" + v.Encode()); leads(t, a).Query().Get("code") == "" {
		t.Error("asked again for the same")
	}
	more := authorization("spa", "https://spa.example/cb", "openid orders.write")
	if a := b.get("/oauth/authorize?" + more.Encode()); a.Code != 200 {
		t.Error("not asked for more")
	}
	if q := leads(t, b.get("/oauth/authorize?"+authorization("spa", "https://spa.example/cb", "openid orders.write", "prompt", "none").Encode())).Query(); q.Get("error") != "consent_required" {
		t.Errorf("in silence: %v", q)
	}
	list, err := w.Grants(t.Context(), user)
	must(t, err)
	if len(list) != 1 || list[0].Client != "spa" || !slices.Equal(list[0].Scopes, []string{"email", "openid"}) {
		t.Errorf("grants %+v", list)
	}
	must(t, w.RevokeGrant(t.Context(), user, "spa"))
	if err := w.RevokeGrant(t.Context(), user, "spa"); problem.ReasonOf(err) != problem.AccountUnknown {
		t.Errorf("again: %v", err)
	}
	if a := b.get("/oauth/authorize?" + v.Encode()); a.Code != 200 {
		t.Error("not asked after it was taken back")
	}
}

// TestLogin: who is not logged in, long ago or too weakly is sent to, and comes
// back to the same request.
func TestLogin(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		more   []string
		change func(*browser)
		path   string // where the user is sent; "": nowhere
		silent string // the error with prompt=none
	}{
		"logged in":         {nil, func(*browser) {}, "", ""},
		"nobody":            {nil, func(b *browser) { b.who = nil }, "/auth/login", "login_required"},
		"a key":             {nil, func(b *browser) { b.who.Kind = 2 }, "/auth/login", "login_required"},
		"a token of OAuth":  {nil, func(b *browser) { b.who.OAuth = true }, "/auth/login", "login_required"},
		"prompt=login":      {[]string{"prompt", "login"}, func(b *browser) { b.who.AuthTime = time.Now().Add(-time.Second) }, "/auth/step-up", ""},
		"an old login":      {[]string{"max_age", "60"}, func(b *browser) { b.who.AuthTime = time.Now().Add(-time.Hour) }, "/auth/step-up", "login_required"},
		"a young login":     {[]string{"max_age", "7200"}, func(b *browser) { b.who.AuthTime = time.Now().Add(-time.Hour) }, "", ""},
		"one factor of two": {[]string{"acr_values", "2"}, func(*browser) {}, "/auth/step-up", "login_required"},
		"two factors":       {[]string{"acr_values", "2"}, func(b *browser) { b.who.Level = 2 }, "", ""},
		"one is enough too": {[]string{"acr_values", "2 1"}, func(*browser) {}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := w.browser()
			c.change(b)
			a := b.get("/oauth/authorize?" + authorization("web-app", callback, "openid", c.more...).Encode())
			to := leads(t, a)
			if c.path == "" {
				if to.Query().Get("code") == "" {
					t.Fatalf("no code: %s", to)
				}
				return
			}
			next := to.Query().Get("next")
			if to.Path != c.path || !strings.HasPrefix(next, "/oauth/authorize/") {
				t.Fatalf("sent to %s", to)
			}
			if c.silent != "" {
				if q := leads(t, b.get("/oauth/authorize?"+authorization("web-app", callback, "openid", append(c.more, "prompt", "none")...).Encode())).Query(); q.Get("error") != c.silent {
					t.Errorf("in silence: %v", q)
				}
			}
			b.who = w.browser().who
			b.who.Level = 2
			if q := leads(t, b.get(next)).Query(); q.Get("code") == "" {
				t.Errorf("no code after the login: %v", q)
			}
			if a := b.get(next); a.Code < 400 { // T4: a finished request is finished
				t.Errorf("the request goes on: %d %s", a.Code, leads(t, a))
			}
		})
	}
}

// TestHint: another user than the client expects gets no silent answer.
func TestHint(t *testing.T) {
	w := newWorld(t)
	id := w.tokens("openid").text("id_token")
	v := authorization("web-app", callback, "openid", "prompt", "none", "id_token_hint", id)
	b := w.browser()
	if q := leads(t, b.get("/oauth/authorize?"+v.Encode())).Query(); q.Get("code") == "" {
		t.Errorf("the same user: %v", q)
	}
	b.who.Subject = "another"
	if q := leads(t, b.get("/oauth/authorize?"+v.Encode())).Query(); q.Get("error") != "login_required" {
		t.Errorf("another user: %v", q)
	}
}

// TestBrowserBinding is T3: a request goes on in no other browser.
func TestBrowserBinding(t *testing.T) {
	w := newWorld(t)
	victim, attacker := w.browser(), w.browser()
	attacker.who = nil
	next := leads(t, attacker.get("/oauth/authorize?"+authorization("web-app", callback, "openid").Encode())).Query().Get("next")
	if a := victim.get(next); a.Code < 400 {
		t.Errorf("the victim's browser goes on with it: %d", a.Code)
	}
	attacker.who = w.browser().who
	if a := attacker.get(next); leads(t, a).Query().Get("code") == "" {
		t.Errorf("its own browser does not: %d %s", a.Code, a.Body)
	}

	// A pushed request is taken up once; a reload in the same browser may come.
	v := with(authorization("web-app", callback, "openid"), url.Values{})
	uri := w.post("/oauth/par", v, basic("web-app", secret)).want(t, 201, "").text("request_uri")
	query := url.Values{"client_id": {"web-app"}, "request_uri": {uri}}.Encode()
	attacker = w.browser()
	attacker.who = nil
	next = leads(t, attacker.get("/oauth/authorize?"+query)).Query().Get("next")
	if a := w.browser().get("/oauth/authorize?" + query); a.Code < 400 {
		t.Errorf("a pushed request was taken up twice: %d %s", a.Code, leads(t, a))
	}
	if again := leads(t, attacker.get("/oauth/authorize?"+query)).Query().Get("next"); again != next {
		t.Errorf("a reload leads to %q, want %q", again, next)
	}
	attacker.who = w.browser().who
	if leads(t, attacker.get(next)).Query().Get("code") == "" {
		t.Error("no code in the end")
	}
}

// TestUserCode walks the device flow.
func TestDeviceFlow(t *testing.T) {
	w := newWorld(t)
	form := url.Values{"client_id": {"cli"}, "scope": {"openid orders.read"}}
	ask := w.post("/oauth/device_authorization", form).want(t, 200, "")
	if ask.text("verification_uri") != issuer+"/oauth/device" || ask.body["verification_uri_complete"] != nil {
		t.Errorf("answer %s", ask.Body)
	}
	poll := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {ask.text("device_code")}, "client_id": {"cli"}}
	w.post("/oauth/token", poll).want(t, 400, "authorization_pending")
	w.post("/oauth/token", poll).want(t, 400, "slow_down")

	b := w.browser()
	b.who = nil
	if to := leads(t, b.get("/oauth/device")); to.Path != "/auth/login" {
		t.Errorf("sent to %s", to)
	}
	b = w.browser()
	if a := b.get("/oauth/device?user_code=" + ask.text("user_code")); !strings.Contains(a.Body.String(), `value="`+ask.text("user_code")+`"`) {
		t.Errorf("the page: %d", a.Code)
	}
	if a := b.post("/oauth/device", url.Values{"user_code": {"WRONGONE"}}); a.Code != 400 {
		t.Errorf("a wrong code: %d", a.Code)
	}
	page := b.post("/oauth/device", url.Values{"user_code": {strings.ToLower(ask.text("user_code"))}})
	if !strings.Contains(page.Body.String(), "192.0.2.9") {
		t.Error("the page does not say from where")
	}
	id := flowField.FindStringSubmatch(page.Body.String())[1]
	if a := b.get("/oauth/authorize/" + id); a.Code < 400 { // T4: it would yield a code without PKCE
		t.Errorf("a device's request at the authorization endpoint: %d %s", a.Code, leads(t, a))
	}
	if a := w.browser().get("/oauth/device/" + id); a.Code < 400 {
		t.Errorf("in another browser: %d", a.Code)
	}
	if a := b.decide(page, "allow"); a.Code != 200 {
		t.Fatalf("allow: %d %s", a.Code, a.Body)
	}
	w.forgetPoll(t, ask.text("device_code"))
	w.post("/oauth/token", with(poll, url.Values{"client_id": {"spa"}})).want(t, 400, "unauthorized_client")

	ask = w.post("/oauth/device_authorization", form).want(t, 200, "")
	poll.Set("device_code", ask.text("device_code"))
	if a := b.decide(b.post("/oauth/device", url.Values{"user_code": {ask.text("user_code")}}), "allow"); a.Code != 200 {
		t.Fatalf("allow: %d %s", a.Code, a.Body)
	}
	got := w.post("/oauth/token", poll).want(t, 200, "")
	w.good(got.text("access_token"), true)
	if got.text("refresh_token") == "" || got.text("id_token") == "" {
		t.Errorf("tokens %s", got.Body)
	}
	w.forgetPoll(t, ask.text("device_code"))
	w.post("/oauth/token", poll).want(t, 400, "invalid_grant")
	w.good(got.text("access_token"), false) // it came again

	ask = w.post("/oauth/device_authorization", form).want(t, 200, "")
	poll.Set("device_code", ask.text("device_code"))
	if a := b.decide(b.post("/oauth/device", url.Values{"user_code": {ask.text("user_code")}}), "deny"); a.Code != 200 {
		t.Errorf("deny: %d", a.Code)
	}
	w.post("/oauth/token", poll).want(t, 400, "access_denied")
	for i := range 8 { // guesses are bounded
		a := b.post("/oauth/device", url.Values{"user_code": {"BBBBBBB" + string(rune('A'+i))}})
		if i == 7 && a.Code != http.StatusTooManyRequests {
			t.Errorf("guess %d: %d", i, a.Code)
		}
	}
}

// TestLogout ends a session for a client that asks with its ID token, and asks the
// user else.
func TestLogout(t *testing.T) {
	w := newWorld(t)
	id := w.tokens("openid").text("id_token")
	b := w.browser()
	bye := url.Values{"id_token_hint": {id}, "post_logout_redirect_uri": {"https://client.example/bye"}, "state": {"s"}}
	if to := leads(t, b.get("/oauth/logout?"+bye.Encode())); to.String() != "https://client.example/bye?state=s" {
		t.Errorf("to %s", to)
	}
	if !slices.Equal(w.users.ended, []string{user + " session1"}) {
		t.Errorf("ended %v", w.users.ended)
	}
	for name, c := range map[string]struct {
		v      url.Values
		status int
	}{
		"another URI":            {with(bye, url.Values{"post_logout_redirect_uri": {"https://client.example/bye/"}}), 400},
		"a URI and nobody's":     {url.Values{"post_logout_redirect_uri": {"https://client.example/bye"}}, 400},
		"an unknown client":      {url.Values{"client_id": {"nobody"}}, 401},
		"another client's token": {with(bye, url.Values{"client_id": {"spa"}}), 400},
		"no token":               {url.Values{"client_id": {"web-app"}}, 200},
		"nothing":                {nil, 200},
		"a token that is none":   {url.Values{"id_token_hint": {"e30.e30.e30"}, "client_id": {"web-app"}}, 200},
	} {
		b := w.browser()
		b.who.Session = "session2"
		a := b.get("/oauth/logout?" + c.v.Encode())
		if a.Code == http.StatusSeeOther {
			a = b.get("/oauth/logout?" + c.v.Encode())
		}
		if a.Code != c.status || len(w.users.ended) != 1 {
			t.Errorf("%s: %d, ended %v", name, a.Code, w.users.ended)
		}
		if c.status != 200 {
			continue
		}
		field := flowField.FindStringSubmatch(a.Body.String())
		if field == nil {
			t.Fatalf("%s: no question: %s", name, a.Body)
		}
		if a := w.browser().post("/oauth/logout", url.Values{"flow": {field[1]}, "decision": {"allow"}}); a.Code < 400 {
			t.Errorf("%s: another browser confirms it: %d", name, a.Code)
		}
		if a := b.post("/oauth/logout", url.Values{"flow": {field[1]}, "decision": {"deny"}}); a.Code != 303 || len(w.users.ended) != 1 {
			t.Errorf("%s: no: %d", name, a.Code)
		}
	}
	// A session that went on under another id is the same to the client.
	b = w.browser()
	b.who.Session = "session8"
	moved := w.post("/oauth/token", redeem(b.code(authorization("web-app", callback, "openid")), callback), basic("web-app", secret)).want(t, 200, "").text("id_token")
	must(t, w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return w.MoveSessionTx(ctx, tx, user, "session8", "session9")
	}))
	b = w.browser()
	b.who.Session = "session9"
	if a := b.get("/oauth/logout?" + url.Values{"id_token_hint": {moved}}.Encode()); a.Code != 200 || len(w.users.ended) != 2 {
		t.Errorf("after a move: %d, ended %v", a.Code, w.users.ended)
	}
	b = w.browser()
	b.get("/oauth/device") // has the cookie
	a := b.get("/oauth/logout?client_id=web-app&post_logout_redirect_uri=" + url.QueryEscape("https://client.example/bye"))
	field := flowField.FindStringSubmatch(a.Body.String())
	if to := leads(t, b.post("/oauth/logout", url.Values{"flow": {field[1]}, "decision": {"allow"}})); to.String() != "https://client.example/bye" || len(w.users.ended) != 3 {
		t.Errorf("to %s, ended %v", to, w.users.ended)
	}
}

// TestDocuments: what is published is what is there.
func TestDocuments(t *testing.T) {
	w := newWorld(t)
	a := w.browser().get("/.well-known/openid-configuration")
	var doc map[string]any
	must(t, json.Unmarshal(a.Body.Bytes(), &doc))
	for name, value := range doc {
		address, ok := value.(string)
		if !ok || !strings.HasPrefix(address, issuer+"/") {
			continue
		}
		method := "POST"
		if slices.Contains([]string{"authorization_endpoint", "userinfo_endpoint", "jwks_uri", "end_session_endpoint"}, name) {
			method = "GET"
		}
		r, err := http.NewRequest(method, address, nil)
		must(t, err)
		if _, pattern := w.mux.Handler(r); pattern == "" {
			t.Errorf("%s: nothing at %s", name, address)
		}
	}
	for name, want := range map[string]bool{"registration_endpoint": false, "request_parameter_supported": true, "backchannel_logout_supported": true} {
		if _, there := doc[name]; there != want {
			t.Errorf("%s: %v", name, there)
		}
	}
	for _, path := range []string{"/oauth/register", "/register", "/oauth/jwks", "/oauth/token/introspect"} {
		if a := w.browser().get(path); a.Code != 404 {
			t.Errorf("%s: %d", path, a.Code)
		}
	}
	keys := w.browser().get("/.well-known/jwks.json")
	if strings.Contains(keys.Body.String(), `"d"`) || !strings.Contains(keys.Body.String(), `"kid"`) {
		t.Errorf("keys %s", keys.Body)
	}
}
