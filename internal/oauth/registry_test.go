package oauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"sallyport.dev/internal/oauth"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// TestSessions: what came of a session ends with it, but for what was given for
// longer; sign-out everywhere ends that too; clients are told.
func TestSessions(t *testing.T) {
	var requests atomic.Int64
	told := make(chan url.Values, 8)
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		v, _ := url.ParseQuery(string(body))
		if requests.Add(1) == 1 {
			rw.WriteHeader(500) // tried again
			return
		}
		told <- v
	}))
	defer receiver.Close()
	var skew time.Duration
	w := newWorld(t, func(c *oauth.Config) {
		c.Zone.Identity.Clients[0].BackchannelLogoutURI = receiver.URL
		c.Clock = func() time.Time { return time.Now().Add(skew) }
	})
	bound := w.tokens("openid")
	offline := w.tokens("openid offline_access")
	must(t, w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return w.RevokeSessionTx(ctx, tx, user, "session1") }))
	w.users.end("session1")
	w.good(bound.text("access_token"), false)
	w.post("/oauth/token", refresh(bound.text("refresh_token")), basic("web-app", secret)).want(t, 400, "invalid_grant")
	w.good(offline.text("access_token"), true)
	offline = w.post("/oauth/token", refresh(offline.text("refresh_token")), basic("web-app", secret)).want(t, 200, "")

	n, err := w.SendLogouts(t.Context())
	must(t, err)
	if n != 1 || w.counted(oauth.EventLogoutSent) != 0 {
		t.Errorf("first try: %d", n)
	}
	if n, err = w.SendLogouts(t.Context()); n != 0 || err != nil {
		t.Errorf("at once again: %d %v", n, err)
	}
	skew = time.Minute
	n, err = w.SendLogouts(t.Context())
	must(t, err)
	if n != 1 || w.counted(oauth.EventLogoutSent) != 1 {
		t.Fatalf("second try: %d", n)
	}
	got := <-told
	parsed, err := jwt.ParseSigned(got.Get("logout_token"), []jose.SignatureAlgorithm{jose.ES256})
	must(t, err)
	public, err := w.cfg.Keys.PublicKeys(t.Context())
	must(t, err)
	var claims map[string]any
	must(t, parsed.Claims(public[0].Key, &claims))
	events, _ := claims["events"].(map[string]any)
	if parsed.Headers[0].ExtraHeaders["typ"] != "logout+jwt" || claims["iss"] != issuer || claims["aud"] != "web-app" || claims["sub"] != user || claims["nonce"] != nil || claims["sid"] == "" || claims["jti"] == "" || events["http://schemas.openid.net/event/backchannel-logout"] == nil {
		t.Errorf("logout token %v", claims)
	}
	w.good(got.Get("logout_token"), false)
	if a := w.post("/oauth/introspect", url.Values{"token": {got.Get("logout_token")}}, basic("web-app", secret)); a.body["active"] != false {
		t.Errorf("a logout token is a token: %s", a.Body)
	}

	must(t, w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return w.RevokeUserTx(ctx, tx, user) }))
	w.good(offline.text("access_token"), false)
	w.post("/oauth/token", refresh(offline.text("refresh_token")), basic("web-app", secret)).want(t, 400, "invalid_grant")
	// A session that ended by itself gives nothing more, a user who is disabled nothing at all.
	b := w.browser()
	b.who.Session = "session3"
	a := w.post("/oauth/token", redeem(b.code(authorization("web-app", callback, "openid")), callback), basic("web-app", secret)).want(t, 200, "")
	w.users.end("session3")
	w.post("/oauth/token", refresh(a.text("refresh_token")), basic("web-app", secret)).want(t, 400, "invalid_grant")
	w.users.back("session3") // what was refused was not used up
	w.post("/oauth/token", refresh(a.text("refresh_token")), basic("web-app", secret)).want(t, 200, "")
	b.who.Session = "session6" // it runs out: what was given for longer goes on
	a = w.post("/oauth/token", redeem(b.code(authorization("web-app", callback, "openid offline_access")), callback), basic("web-app", secret)).want(t, 200, "")
	w.users.end("session6")
	w.post("/oauth/token", refresh(a.text("refresh_token")), basic("web-app", secret)).want(t, 200, "")
	b.who.Session = "session5"
	late := b.code(authorization("web-app", callback, "openid offline_access")) // while the user signs out everywhere
	w.users.end("session5")
	w.post("/oauth/token", redeem(late, callback), basic("web-app", secret)).want(t, 400, "invalid_grant")
	b.who.Session = "session4"
	code := b.code(authorization("web-app", callback, "openid offline_access"))
	w.users.end(user)
	w.post("/oauth/token", redeem(code, callback), basic("web-app", secret)).want(t, 400, "invalid_grant")
}

// TestRest: nothing that lets anybody in rests in the database.
func TestRest(t *testing.T) {
	w := newWorld(t)
	secrets := []string{}
	b := w.browser()
	code := b.code(authorization("spa", "https://spa.example/cb", "openid orders.read"))
	a := w.post("/oauth/token", redeem(code, "https://spa.example/cb", "client_id", "spa")).want(t, 200, "")
	next := w.post("/oauth/token", refresh(a.text("refresh_token"), "client_id", "spa")).want(t, 200, "")
	pushed := w.post("/oauth/par", authorization("web-app", callback, "openid"), basic("web-app", secret)).want(t, 201, "")
	device := w.post("/oauth/device_authorization", url.Values{"client_id": {"cli"}, "scope": {"openid"}}).want(t, 200, "")
	bank, _ := w.fapi(t, w.browser())
	made, err := w.AddClient(t.Context(), oauth.NewClient{Client: zone.Client{ID: "made", Kind: "confidential", Scopes: []string{"orders.read"}, Grants: []string{"client_credentials"}}})
	must(t, err)
	secrets = append(secrets, code, a.text("access_token"), a.text("refresh_token"), next.text("access_token"), next.text("refresh_token"), a.text("id_token"),
		strings.TrimPrefix(pushed.text("request_uri"), "urn:ietf:params:oauth:request_uri:"), device.text("device_code"), device.text("user_code"),
		bank.text("access_token"), bank.text("refresh_token"), made, b.cookie, secret)
	must(t, w.db.Close())
	var files [][]byte
	for _, suffix := range []string{"", "-wal"} {
		if content, err := os.ReadFile(w.path + suffix); err == nil {
			files = append(files, content)
		}
	}
	holds := func(text string) bool {
		for _, f := range files {
			if bytes.Contains(f, []byte(text)) {
				return true
			}
		}
		return false
	}
	if !holds(challenge(verifier)) || !holds("spa.example") {
		t.Fatal("positive control: the file does not hold what it must")
	}
	for i, s := range secrets {
		if len(s) < 8 {
			t.Fatalf("secret %d is %q", i, s)
		}
		if holds(s) || holds(strings.TrimPrefix(strings.TrimPrefix(s, "spa_"), "spr_")) {
			t.Errorf("secret %d rests in the database", i)
		}
	}
}

// TestRegistry: clients of the command line.
func TestRegistry(t *testing.T) {
	w := newWorld(t)
	add := func(c zone.Client, set string) (string, error) {
		return w.AddClient(t.Context(), oauth.NewClient{Client: c, Keys: json.RawMessage(set)})
	}
	made, err := add(zone.Client{ID: "shop-bot", Kind: "confidential", Scopes: []string{"orders.read"}, Grants: []string{"client_credentials"}}, "")
	must(t, err)
	form := url.Values{"grant_type": {"client_credentials"}}
	a := w.post("/oauth/token", form, basic("shop-bot", made)).want(t, 200, "")
	rotated, err := w.RotateSecret(t.Context(), "shop-bot", time.Hour)
	must(t, err)
	w.post("/oauth/token", form, basic("shop-bot", made)).want(t, 200, "")
	w.post("/oauth/token", form, basic("shop-bot", rotated)).want(t, 200, "")
	last, err := w.RotateSecret(t.Context(), "shop-bot", 0)
	must(t, err)
	w.post("/oauth/token", form, basic("shop-bot", made)).want(t, 401, "invalid_client")
	w.post("/oauth/token", form, basic("shop-bot", rotated)).want(t, 401, "invalid_client")
	w.post("/oauth/token", form, basic("shop-bot", last)).want(t, 200, "")
	list, err := w.Clients(t.Context())
	must(t, err)
	if len(list) != 8 || list[6].ID != "till" && list[5].ID != "shop-bot" {
		t.Errorf("clients %+v", list)
	}
	for name, c := range map[string]struct {
		c      zone.Client
		keys   string
		reason problem.Reason
	}{
		"of the map":          {zone.Client{ID: "web-app", Kind: "public", RedirectURIs: []string{callback}}, "", problem.AdminConflict},
		"twice":               {zone.Client{ID: "shop-bot", Kind: "public", RedirectURIs: []string{callback}}, "", problem.AdminConflict},
		"like a user":         {zone.Client{ID: user, Kind: "public", RedirectURIs: []string{callback}}, "", problem.AdminInvalid}, // T11
		"like a key":          {zone.Client{ID: "key_x", Kind: "public", RedirectURIs: []string{callback}}, "", problem.AdminInvalid},
		"plain http":          {zone.Client{ID: "a", Kind: "public", RedirectURIs: []string{"http://client.example/cb"}}, "", problem.AdminInvalid},
		"a fragment":          {zone.Client{ID: "a", Kind: "public", RedirectURIs: []string{callback + "#x"}}, "", problem.AdminInvalid},
		"a user in it":        {zone.Client{ID: "a", Kind: "public", RedirectURIs: []string{"https://u@client.example/cb"}}, "", problem.AdminInvalid},
		"in capitals":         {zone.Client{ID: "a", Kind: "public", RedirectURIs: []string{"HTTPS://client.example/cb"}}, "", problem.AdminInvalid},
		"a wildcard of paths": {zone.Client{ID: "a", Kind: "public", RedirectURIs: []string{"https://client.example/ *"}}, "", problem.AdminInvalid},
		"by itself":           {zone.Client{ID: "a", Kind: "public", Grants: []string{"client_credentials"}}, "", problem.AdminInvalid},
		"with a colon":        {zone.Client{ID: "a:b", Kind: "public", RedirectURIs: []string{callback}}, "", problem.AdminInvalid},
		"of no kind":          {zone.Client{ID: "a", RedirectURIs: []string{callback}}, "", problem.AdminInvalid},
		"an unknown grant":    {zone.Client{ID: "a", Kind: "public", RedirectURIs: []string{callback}, Grants: []string{"password"}}, "", problem.AdminInvalid},
		"a logout in clear":   {zone.Client{ID: "a", Kind: "public", RedirectURIs: []string{callback}, BackchannelLogoutURI: "http://client.example/"}, "", problem.AdminInvalid},
		"an unknown scope":    {zone.Client{ID: "a", Kind: "public", RedirectURIs: []string{callback}, Scopes: []string{"nothing"}}, "", problem.AdminInvalid},
		"keys that are none":  {zone.Client{ID: "a", Kind: "confidential", RedirectURIs: []string{callback}}, "{}", problem.AdminInvalid},
	} {
		if _, err := add(c.c, c.keys); problem.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v, want %v", name, err, c.reason)
		}
	}
	must(t, w.RemoveClient(t.Context(), "shop-bot"))
	w.good(a.text("access_token"), false)
	w.post("/oauth/token", form, basic("shop-bot", last)).want(t, 401, "invalid_client")
	if err := w.RemoveClient(t.Context(), "shop-bot"); problem.ReasonOf(err) != problem.AdminUnknown {
		t.Errorf("again: %v", err)
	}
}

// TestReload: a client that the map has no more has no tokens any more.
func TestReload(t *testing.T) {
	w := newWorld(t)
	mine := w.tokens("openid").text("access_token")
	w.good(mine, true)
	next := *w.zone
	next.Identity.Clients = next.Identity.Clients[1:]
	must(t, w.Reload(&next))
	w.good(mine, false)
	w.post("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}, basic("web-app", secret)).want(t, 401, "invalid_client")
	broken := next
	broken.Identity.Clients = []zone.Client{{ID: "x", Kind: "confidential"}}
	if w.Reload(&broken) == nil {
		t.Error("a broken map was taken")
	}
	must(t, w.Reload(w.zone)) // it has ended: who has the id now is another
	w.good(mine, false)
	w.good(w.tokens("openid").text("access_token"), true)
}

// TestDown: without the store clients are told to come back, and throw nothing away.
func TestDown(t *testing.T) {
	w := newWorld(t)
	a := w.tokens("openid")
	w.users.mu.Lock()
	w.users.down = true
	w.users.mu.Unlock()
	if b := w.post("/oauth/token", refresh(a.text("refresh_token")), basic("web-app", secret)); b.Code != 503 || b.Header().Get("Retry-After") == "" {
		t.Errorf("without accounts: %d %s", b.Code, b.Body)
	}
	w.users.mu.Lock()
	w.users.down = false
	w.users.mu.Unlock()
	w.post("/oauth/token", refresh(a.text("refresh_token")), basic("web-app", secret)).want(t, 200, "") // it was not used up
	must(t, w.db.Close())
	for _, form := range []url.Values{refresh(a.text("refresh_token")), redeem("A", callback), {"grant_type": {"client_credentials"}, "scope": {"orders.read"}}} {
		client := "web-app"
		if form.Get("grant_type") == "client_credentials" {
			client = "batch"
		}
		if form.Get("code") != "" {
			form.Set("code", strings.Repeat("A", 43))
		}
		if b := w.post("/oauth/token", form, basic(client, secret)); b.Code != 503 {
			t.Errorf("%s: %d %s", form.Get("grant_type"), b.Code, b.Body)
		}
	}
	if b := w.post("/oauth/introspect", url.Values{"token": {a.text("access_token")}}, basic("web-app", secret)); b.Code != 503 {
		t.Errorf("introspection: %d %s", b.Code, b.Body)
	}
	if b := w.browser().get("/oauth/authorize?" + authorization("web-app", callback, "openid").Encode()); b.Code != 503 {
		t.Errorf("authorize: %d %s", b.Code, b.Body)
	}
}
