package oauth_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	oidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"sallyport.dev/internal/oauth"
)

// TestCodeFlow walks the flow with an outside program's library, which verifies
// discovery, keys and ID token.
func TestCodeFlow(t *testing.T) {
	w := newWorld(t)
	ctx := oidc.ClientContext(t.Context(), &http.Client{Transport: transport{w.mux}})
	rp, err := oidc.NewProvider(ctx, issuer)
	must(t, err)
	conf := oauth2.Config{ClientID: "web-app", ClientSecret: secret, Endpoint: rp.Endpoint(), RedirectURL: callback, Scopes: []string{"openid", "email"}}
	address, err := url.Parse(conf.AuthCodeURL("st", oidc.Nonce("no"), oauth2.S256ChallengeOption(verifier)))
	must(t, err)
	a := w.browser().get(address.RequestURI())
	q := leads(t, a).Query()
	if q.Get("iss") != issuer || q.Get("state") != "st" {
		t.Fatalf("%d %s", a.Code, leads(t, a))
	}
	token, err := conf.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(verifier))
	must(t, err)
	if !strings.HasPrefix(token.AccessToken, oauth.AccessPrefix) || !strings.HasPrefix(token.RefreshToken, oauth.RefreshPrefix) {
		t.Errorf("tokens %q %q", token.AccessToken, token.RefreshToken)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := rp.Verifier(&oidc.Config{ClientID: "web-app", SupportedSigningAlgs: []string{"ES256"}}).Verify(ctx, raw)
	must(t, err)
	var claims struct {
		Nonce, ACR, SID string
		AuthTime        int64 `json:"auth_time"`
	}
	must(t, id.Claims(&claims))
	if id.Subject != user || claims.Nonce != "no" || claims.ACR != "1" || claims.SID == "" || claims.AuthTime == 0 {
		t.Errorf("ID token of %q: %+v", id.Subject, claims)
	}
	info, err := rp.UserInfo(ctx, oauth2.StaticTokenSource(token))
	must(t, err)
	if info.Subject != user || info.Email == "" || !info.EmailVerified {
		t.Errorf("userinfo %+v", info)
	}
	r, err := w.Resolve(t.Context(), token.AccessToken)
	must(t, err)
	if r.Kind != "user" || r.Subject != user || r.Client != "web-app" || r.Session != "session1" || strings.Join(r.Scopes, " ") != "email openid" || r.Level != 1 {
		t.Errorf("resolved %+v", r)
	}
	next, err := conf.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
	must(t, err)
	if next.RefreshToken == token.RefreshToken || next.AccessToken == token.AccessToken {
		t.Error("nothing was rotated")
	}
	w.good(token.AccessToken, true)
	w.good(next.AccessToken, true)
	w.good(next.RefreshToken, false)
}

// TestCodeReplay: a code that comes again ends all that came of it.
func TestCodeReplay(t *testing.T) {
	w := newWorld(t)
	code := w.browser().code(authorization("web-app", callback, "openid"))
	first := w.post("/oauth/token", redeem(code, callback), basic("web-app", secret)).want(t, 200, "")
	w.good(first.text("access_token"), true)
	w.post("/oauth/token", redeem(code, callback), basic("web-app", secret)).want(t, 400, "invalid_grant")
	w.good(first.text("access_token"), false)
	w.post("/oauth/token", refresh(first.text("refresh_token")), basic("web-app", secret)).want(t, 400, "invalid_grant")
	w.post("/oauth/token", redeem(code, callback), basic("web-app", secret)).want(t, 400, "invalid_grant")
	if w.counted(oauth.EventCodeReplay) == 0 {
		t.Error("not counted")
	}
}

// TestRedemption holds what a redemption compares.
func TestRedemption(t *testing.T) {
	w := newWorld(t)
	good := func(code string) url.Values { return redeem(code, callback) }
	for name, c := range map[string]struct {
		form   func(code string) url.Values
		client request
		status int
		code   string
	}{
		"as it should be":        {good, basic("web-app", secret), 200, ""},
		"another verifier":       {func(c string) url.Values { return redeem(c, callback, "code_verifier", strings.Repeat("x", 43)) }, basic("web-app", secret), 400, "invalid_grant"},
		"no verifier":            {func(c string) url.Values { return redeem(c, callback, "code_verifier", "") }, basic("web-app", secret), 400, "invalid_grant"},
		"a malformed verifier":   {func(c string) url.Values { return redeem(c, callback, "code_verifier", strings.Repeat("é", 30)) }, basic("web-app", secret), 400, "invalid_grant"},
		"another redirect":       {func(c string) url.Values { return redeem(c, callback+"/") }, basic("web-app", secret), 400, "invalid_grant"},
		"no redirect":            {func(c string) url.Values { return redeem(c, "") }, basic("web-app", secret), 400, "invalid_grant"},
		"another client":         {good, basic("report", secret), 400, "invalid_grant"},
		"a scope more":           {func(c string) url.Values { return redeem(c, callback, "scope", "orders.write") }, basic("web-app", secret), 400, "invalid_scope"},
		"a wrong secret":         {good, basic("web-app", secret+"x"), 401, "invalid_client"},
		"no secret":              {func(c string) url.Values { return redeem(c, callback, "client_id", "web-app") }, nil, 401, "invalid_client"},
		"a client that is not":   {good, basic("nobody", secret), 401, "invalid_client"},
		"no client":              {good, nil, 401, "invalid_client"},
		"a code in another form": {func(c string) url.Values { return redeem(c+"=", callback) }, basic("web-app", secret), 400, "invalid_grant"},
		"no code":                {func(string) url.Values { return redeem("", callback) }, basic("web-app", secret), 400, "invalid_request"},
		"another grant type":     {func(c string) url.Values { return redeem(c, callback, "grant_type", "password") }, basic("web-app", secret), 400, "unsupported_grant_type"},
	} {
		t.Run(name, func(t *testing.T) {
			form := c.form(w.browser().code(authorization("web-app", callback, "openid orders.read")))
			for n, v := range form {
				if v[0] == "" {
					form.Del(n)
				}
			}
			var change []request
			if c.client != nil {
				change = append(change, c.client)
			}
			a := w.post("/oauth/token", form, change...).want(t, c.status, c.code)
			if c.status == 401 && a.Header().Get("WWW-Authenticate") == "" {
				t.Error("401 without a challenge")
			}
			if a.Header().Get("Cache-Control") != "no-store" {
				t.Error("the answer may be stored")
			}
		})
	}
}

// race runs n at once and returns what they got.
func race(n int, do func(int) answer) []answer {
	var wg sync.WaitGroup
	got := make([]answer, n)
	for i := range n {
		wg.Go(func() { got[i] = do(i) })
	}
	wg.Wait()
	return got
}

// TestRaces: of eight in two processes one redeems; eight that refresh at once get
// the same successor.
func TestRaces(t *testing.T) {
	w := newWorld(t)
	_, other := w.open()
	mux := func(i int) *http.ServeMux {
		if i%2 == 0 {
			return other
		}
		return w.mux
	}
	code := w.browser().code(authorization("web-app", callback, "openid"))
	won := 0
	var tokens []string
	for _, a := range race(8, func(i int) answer {
		return w.send(mux(i), "/oauth/token", redeem(code, callback), basic("web-app", secret))
	}) {
		if a.Code == http.StatusOK {
			won++
			tokens = append(tokens, a.text("access_token"), a.text("refresh_token"))
		} else {
			a.want(t, 400, "invalid_grant")
		}
	}
	if won > 1 {
		t.Fatalf("%d redeemed one code", won)
	}
	for _, token := range tokens { // the others were replays
		w.good(token, false)
	}

	first := w.tokens("openid")
	children := map[string]bool{}
	for _, a := range race(8, func(i int) answer {
		return w.send(mux(i), "/oauth/token", refresh(first.text("refresh_token")), basic("web-app", secret))
	}) {
		a.want(t, 200, "")
		children[a.text("refresh_token")] = true
		w.good(a.text("access_token"), true)
	}
	if len(children) != 1 {
		t.Errorf("%d successors of one refresh token", len(children))
	}
	for child := range children {
		w.post("/oauth/token", refresh(child), basic("web-app", secret)).want(t, 200, "")
	}
}

// TestRefreshReuse: a refresh token that comes again ends the family.
func TestRefreshReuse(t *testing.T) {
	w := newWorld(t)
	first := w.tokens("openid")
	second := w.post("/oauth/token", refresh(first.text("refresh_token")), basic("web-app", secret)).want(t, 200, "")
	third := w.post("/oauth/token", refresh(second.text("refresh_token")), basic("web-app", secret)).want(t, 200, "")
	w.good(third.text("access_token"), true)
	// The successor was used: whoever comes with the first has it from elsewhere.
	w.post("/oauth/token", refresh(first.text("refresh_token")), basic("web-app", secret)).want(t, 400, "invalid_grant")
	for _, a := range []answer{first, second, third} {
		w.good(a.text("access_token"), false)
	}
	w.post("/oauth/token", refresh(third.text("refresh_token")), basic("web-app", secret)).want(t, 400, "invalid_grant")
	if w.counted(oauth.EventRefreshReuse) != 1 {
		t.Errorf("counted %d", w.counted(oauth.EventRefreshReuse))
	}

	// Another client's hands: refused, and it ends all the same once it is used.
	mine := w.tokens("openid")
	w.post("/oauth/token", refresh(mine.text("refresh_token")), basic("report", secret)).want(t, 400, "invalid_grant")
	again := w.post("/oauth/token", refresh(mine.text("refresh_token")), basic("web-app", secret)).want(t, 200, "")
	// In the overlap the same client gets the same successor; with another key it does not.
	same := w.post("/oauth/token", refresh(mine.text("refresh_token")), basic("web-app", secret)).want(t, 200, "")
	if same.text("refresh_token") != again.text("refresh_token") {
		t.Error("another successor in the overlap")
	}
	w.post("/oauth/token", refresh(mine.text("refresh_token")), basic("web-app", secret), w.proves(newKey(t), "/oauth/token")).want(t, 400, "invalid_grant")
	w.good(again.text("access_token"), false)
}
