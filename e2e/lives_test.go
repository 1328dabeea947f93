package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// startLives serves a zone in which nothing lives for long, as far as the map can
// say so. Tokens of OAuth have lives of their own, which it cannot shorten.
func startLives(t *testing.T) *zoned {
	t.Helper()
	return startEnding(t, "identity:\n", "identity:\n  sessions: {idle: 3s, absolute: 6s, remember: 10s}\n",
		"      GET /open: anonymous\n", `      GET /open: anonymous
      GET /fresh: {allow: user, max_age: 1s}
      GET /keyed: {allow: key, scopes: [things.read]}
`)
}

// TestLives: what has a life ends by itself, at the door, within it and not before.
func TestLives(t *testing.T) {
	t.Parallel()
	z := startLives(t)
	for _, life := range []struct {
		name string
		of   func(*testing.T, *zoned)
	}{
		{"remembered session", liveRemembered}, {"proof of a login", liveProof}, {"API key", liveKey}, {"API key that was rotated", liveRotated},
		{"tokens of a session", liveTokens}, {"secret of a client", liveSecret},
	} {
		t.Run(life.name, func(t *testing.T) {
			t.Parallel()
			life.of(t, z.in(t))
		})
	}
}

// liveRemembered: a remembered session has one life, longer than that of others and
// without an idle bound, and its cookie as long a one.
func liveRemembered(t *testing.T, z *zoned) {
	a, client := z.addUser("remembered@shop.example"), z.client()
	enter := func(more ...string) *http.Cookie {
		t.Helper()
		body, header := form(append([]string{"email", a.Email, "password", a.Password}, more...)...)
		got := z.do(call{method: "POST", path: "/auth/login", body: body, header: header, client: client})
		for _, c := range (&http.Response{Header: got.Header}).Cookies() {
			if c.Name == "__Host-session" {
				return c
			}
		}
		t.Fatalf("no session: %d %s", got.Status, got.Body)
		return nil
	}
	began := time.Now()
	usual, unused, used := enter(), enter("remember", "on"), enter("remember", "on")
	if usual.MaxAge != 0 || used.MaxAge < 8 || used.MaxAge > 10 {
		t.Errorf("the cookies live %d s and, remembered, %d s; want as long as the browser, and 10 s", usual.MaxAge, used.MaxAge)
	}
	get := func(c *http.Cookie) answer { return z.do(call{path: "/mine", cookie: c.Value, client: client}) }
	until(t, "the usual session has ended", func() bool { return get(usual).Status == 401 })
	for name, c := range map[string]*http.Cookie{"used": used, "not used": unused} {
		if got := get(c); got.Status != 200 && time.Since(began) < 9*time.Second {
			t.Errorf("remembered and %s: %d %s when the usual one has ended", name, got.Status, got.reason())
		}
	}
	until(t, "the remembered session has ended", func() bool { return get(used).Status == 401 })
	if lived := time.Since(began); lived < 9*time.Second {
		t.Errorf("a session that was remembered for 10 s ended after %v", lived)
	}
	for name, c := range map[string]*http.Cookie{"used": used, "not used": unused} {
		if got := get(c); got.reason() != "auth.expired" {
			t.Errorf("remembered and %s, in the end: %d %s", name, got.Status, got.reason())
		}
	}
}

// liveProof: a route with max_age asks for a new proof, which the password gives.
func liveProof(t *testing.T, z *zoned) {
	a, client := z.addUser("proof@shop.example"), z.client()
	token := z.loginWith(client, a)
	get := func(path string) answer { return z.do(call{path: path, bearer: token, client: client}) }
	if got := get("/fresh"); got.Status != 200 {
		t.Fatalf("at once: %d %s", got.Status, got.reason())
	}
	until(t, "a new proof is asked for", func() bool { return get("/fresh").Status != 200 })
	if got := get("/fresh"); got.reason() != "auth.step_up" || !strings.Contains(got.Header.Get("WWW-Authenticate"), "max_age") {
		t.Errorf("then: %d %s %q", got.Status, got.reason(), got.Header.Get("WWW-Authenticate"))
	}
	if got := get("/mine"); got.Status != 200 {
		t.Errorf("a route that asks for none: %d %s", got.Status, got.reason())
	}
	got := z.do(call{method: "POST", path: "/auth/step-up", bearer: token, json: true, body: jsonOf("password", a.Password), client: client})
	var doc struct{ Token string }
	if err := json.Unmarshal([]byte(got.Body), &doc); err != nil || got.Status != 200 {
		t.Fatalf("step-up: %d %s", got.Status, got.Body)
	}
	token = doc.Token
	if got := get("/fresh"); got.Status != 200 {
		t.Errorf("with a new proof: %d %s", got.Status, got.reason())
	}
}

func liveKey(t *testing.T, z *zoned) {
	short, long := z.createKey("short", "--scope", "things.read", "--expires", "2s"), z.createKey("long", "--scope", "things.read", "--expires", "1h")
	if got := z.keyed(short); got != "" {
		t.Fatalf("at once: %s", got)
	}
	until(t, "the key has ended", func() bool { return z.keyed(short) != "" })
	if ended, other := z.keyed(short), z.keyed(long); ended != "auth.expired" || other != "" {
		t.Errorf("the key: %q, another: %q", ended, other)
	}
}

// liveRotated: after a rotation the key before lives on for the overlap.
func liveRotated(t *testing.T, z *zoned) {
	before := z.createKey("rotated", "--scope", "things.read")
	var now apiKey
	if err := json.Unmarshal([]byte(z.must("key", "rotate", "rotated", "--overlap", "2s", "--format", "json")), &now); err != nil || now.Key == "" {
		t.Fatalf("rotate: %v", err)
	}
	if a, b := z.keyed(before), z.keyed(now); a != "" || b != "" {
		t.Errorf("within the overlap: the one before %q, the new one %q", a, b)
	}
	until(t, "the overlap is over", func() bool { return z.keyed(before) != "" })
	if a, b := z.keyed(before), z.keyed(now); a != "auth.revoked" && a != "auth.expired" || b != "" {
		t.Errorf("after it: the one before %q, the new one %q", a, b)
	}
}

// keyed is why a key does not open its route; empty: it does.
func (z *zoned) keyed(k apiKey) string {
	z.t.Helper()
	return z.do(call{path: "/keyed", bearer: k.Key}).reason()
}

// liveTokens: a session that is used ends at its absolute bound, and takes along what
// was granted in it; what was granted for longer stays.
func liveTokens(t *testing.T, z *zoned) {
	began := time.Now()
	b := z.relyingOf(z.client(), z.addUser("tokens@shop.example"))
	short, long := b.grant("web", "openid things.read"), b.grant("web", "openid things.read offline_access")
	until(t, "the token of the session has ended", func() bool {
		z.do(call{path: "/auth/me", bearer: b.session, client: b.client}) // so that it does not idle
		return b.visit(short) != "200"
	})
	if lived := time.Since(began); lived < 5*time.Second {
		t.Errorf("in a session of 6 s, used all the time, a token ended after %v", lived)
	}
	if me := z.do(call{path: "/auth/me", bearer: b.session, client: b.client}); me.reason() != "auth.expired" {
		t.Errorf("the session: %d %s", me.Status, me.reason())
	}
	if got := b.visit(short); got != "auth.expired" && got != "auth.revoked" {
		t.Errorf("its token: %s", got)
	}
	if got := b.refreshed(short) + ", " + b.visit(long) + ", " + b.refreshed(long); got != "invalid_grant, 200, good" {
		t.Errorf("its refresh token, and a token and a refresh token that were granted for longer: %s", got)
	}
}

// liveSecret: the secret of a client lives on for the overlap of its rotation.
func liveSecret(t *testing.T, z *zoned) {
	secret := func(verb ...string) string {
		t.Helper()
		var made struct{ Secret string }
		if err := json.Unmarshal([]byte(z.must(append(append([]string{"client"}, verb...), "--format", "json")...)), &made); err != nil || made.Secret == "" {
			t.Fatalf("%q: %v", verb, err)
		}
		return made.Secret
	}
	before := secret("add", "job", "--scope", "things.read")
	now := secret("rotate", "job", "--overlap", "2s")
	ask := func(secret string) int {
		return z.do(call{method: "POST", path: "/oauth/token", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
			body: url.Values{"grant_type": {"client_credentials"}, "client_id": {"job"}, "client_secret": {secret}}.Encode()}).Status
	}
	if a, b := ask(before), ask(now); a != 200 || b != 200 {
		t.Errorf("within the overlap: the one before %d, the new one %d", a, b)
	}
	until(t, "the overlap is over", func() bool { return ask(before) == 401 })
	if got := ask(now); got != 200 {
		t.Errorf("after it the new one: %d", got)
	}
}
