package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// lives are the bounds of a zone in which nothing lives for long, as far as the map
// can say so. Tokens of OAuth have lives of their own, which it cannot shorten.
type lives struct{ proof, overlap, idle, absolute, remember time.Duration }

// livesOf are longer by a factor, for a machine that is too slow for the shortest.
func livesOf(factor time.Duration) lives {
	s := factor * time.Second
	return lives{proof: s, overlap: 2 * s, idle: 3 * s, absolute: 6 * s, remember: 10 * s}
}

func startLives(t testing.TB, l lives) *zoned {
	t.Helper()
	return startEnding(t, "identity:\n", fmt.Sprintf("identity:\n  sessions: {idle: %ds, absolute: %ds, remember: %ds}\n", l.idle/time.Second, l.absolute/time.Second, l.remember/time.Second),
		"      GET /open: anonymous\n", fmt.Sprintf(`      GET /open: anonymous
      GET /fresh: {allow: user, max_age: %ds}
      GET /keyed: {allow: key, scopes: [things.read]}
`, l.proof/time.Second))
}

// TestLives: what has a life ends by itself, at the door, within it and not before.
func TestLives(t *testing.T) {
	t.Parallel()
	z := startLives(t, livesOf(1))
	for _, life := range []struct {
		name string
		of   func(*attempt, *zoned, lives)
	}{
		{"remembered session", liveRemembered}, {"proof of a login", liveProof}, {"API key", liveKey}, {"API key that was rotated", liveRotated},
		{"tokens of a session", liveTokens}, {"secret of a client", liveSecret},
	} {
		t.Run(life.name, func(t *testing.T) {
			t.Parallel()
			factor := time.Duration(1)
			attempts(t, func(t *attempt) {
				z := z.in(t)
				if factor > 1 {
					z = startLives(t, livesOf(factor))
				}
				l := livesOf(factor)
				factor = min(2*factor, 8)
				life.of(t, z, l)
			})
		})
	}
}

// liveRemembered: a remembered session has one life, longer than that of others and
// without an idle bound, and its cookie as long a one.
func liveRemembered(t *attempt, z *zoned, l lives) {
	a, client := z.addUser(newID()+"@shop.example"), z.client()
	enter := func(more ...string) *http.Cookie {
		t.Helper()
		body, header := form(append([]string{"email", a.Email, "password", a.Password}, more...)...)
		asked := time.Now()
		got := z.do(call{method: "POST", path: "/auth/login", body: body, header: header, client: client})
		t.late("a login", time.Since(asked), 2*time.Second)
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
	if most := int(l.remember / time.Second); usual.MaxAge != 0 || used.MaxAge < most-2 || used.MaxAge > most {
		t.Errorf("the cookies live %d s and, remembered, %d s; want as long as the browser, and %v", usual.MaxAge, used.MaxAge, l.remember)
	}
	get := func(c *http.Cookie) answer { return z.do(call{path: "/mine", cookie: c.Value, client: client}) }
	until(t, "the usual session has ended", func() bool { return get(usual).Status == 401 })
	for name, c := range map[string]*http.Cookie{"used": used, "not used": unused} {
		if got := get(c); got.Status != 200 {
			t.late("the usual session", time.Since(began), 2*l.remember)
			t.Errorf("remembered and %s: %d %s when the usual one has ended", name, got.Status, got.reason())
		}
	}
	until(t, "the remembered session has ended", func() bool { return get(used).Status == 401 })
	if lived := time.Since(began); lived < l.remember {
		t.Errorf("a session that was remembered for %v ended after %v", l.remember, lived)
	}
	for name, c := range map[string]*http.Cookie{"used": used, "not used": unused} {
		if got := get(c); got.reason() != "auth.expired" {
			t.Errorf("remembered and %s, in the end: %d %s", name, got.Status, got.reason())
		}
	}
}

// liveProof: a route with max_age asks for a new proof, which the password gives.
func liveProof(t *attempt, z *zoned, l lives) {
	a, client := z.addUser(newID()+"@shop.example"), z.client()
	began := time.Now()
	token := z.loginWith(client, a)
	get := func(path string) answer { return z.do(call{path: path, bearer: token, client: client}) }
	atOnce := get("/fresh")
	if t.late("a login and a request", time.Since(began), l.proof); atOnce.Status != 200 {
		t.Fatalf("at once: %d %s", atOnce.Status, atOnce.reason())
	}
	until(t, "a new proof is asked for", func() bool { return get("/fresh").Status != 200 })
	if lived := time.Since(began); lived < l.proof {
		t.Errorf("a proof that is good for %v was good for %v", l.proof, lived)
	}
	stale, mine := get("/fresh"), get("/mine")
	t.late("all before the step-up", time.Since(began), l.idle)
	if stale.reason() != "auth.step_up" || !strings.Contains(stale.Header.Get("WWW-Authenticate"), "max_age") {
		t.Errorf("then: %d %s %q", stale.Status, stale.reason(), stale.Header.Get("WWW-Authenticate"))
	}
	if mine.Status != 200 {
		t.Errorf("a route that asks for none: %d %s", mine.Status, mine.reason())
	}
	again := time.Now()
	got := z.do(call{method: "POST", path: "/auth/step-up", bearer: token, json: true, body: jsonOf("password", a.Password), client: client})
	t.late("all up to the step-up", time.Since(began), l.absolute)
	var doc struct{ Token string }
	if err := json.Unmarshal([]byte(got.Body), &doc); err != nil || got.Status != 200 {
		t.Fatalf("step-up: %d %s", got.Status, got.Body)
	}
	token = doc.Token
	fresh := get("/fresh")
	if t.late("a step-up and a request", time.Since(again), l.proof); fresh.Status != 200 {
		t.Errorf("with a new proof: %d %s", fresh.Status, fresh.reason())
	}
}

func liveKey(t *attempt, z *zoned, l lives) {
	began := time.Now()
	short := z.createKey("short-"+newID(), "--scope", "things.read", "--expires", l.overlap.String())
	got := z.keyed(short)
	if t.late("to make a key and use it", time.Since(began), 2*l.overlap); got != "" {
		t.Fatalf("at once: %s", got)
	}
	long := z.createKey("long-"+newID(), "--scope", "things.read", "--expires", "1h")
	until(t, "the key has ended", func() bool { return z.keyed(short) != "" })
	if lived := time.Since(began); lived < l.overlap {
		t.Errorf("a key of %v lived for %v", l.overlap, lived)
	}
	if ended, other := z.keyed(short), z.keyed(long); ended != "auth.expired" || other != "" {
		t.Errorf("the key: %q, another: %q", ended, other)
	}
}

// liveRotated: after a rotation the key before lives on for the overlap.
func liveRotated(t *attempt, z *zoned, l lives) {
	name := "rotated-" + newID()
	before := z.createKey(name, "--scope", "things.read")
	began := time.Now()
	var now apiKey
	if err := json.Unmarshal([]byte(z.must("key", "rotate", name, "--overlap", l.overlap.String(), "--format", "json")), &now); err != nil || now.Key == "" {
		t.Fatalf("rotate: %v", err)
	}
	a := z.keyed(before)
	t.late("to rotate a key and use it", time.Since(began), 2*l.overlap)
	if b := z.keyed(now); a != "" || b != "" {
		t.Errorf("within the overlap: the one before %q, the new one %q", a, b)
	}
	until(t, "the overlap is over", func() bool { return z.keyed(before) != "" })
	if lived := time.Since(began); lived < l.overlap {
		t.Errorf("the key before lived on for %v, want %v", lived, l.overlap)
	}
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
func liveTokens(t *attempt, z *zoned, l lives) {
	began := time.Now()
	b := z.relyingOf(z.client(), z.addUser(newID()+"@shop.example"))
	used := time.Now()
	beat := func() { // so that it does not idle
		z.do(call{path: "/auth/me", bearer: b.session, client: b.client})
		t.late("a pause", time.Since(used), l.idle)
		used = time.Now()
	}
	short := b.grant("web", "openid things.read")
	beat()
	long := b.grant("web", "openid things.read offline_access")
	beat()
	t.late("two grants", time.Since(began), l.absolute)
	until(t, "the token of the session has ended", func() bool {
		beat()
		return b.visit(short) != "200"
	})
	t.late("a pause", time.Since(used), l.idle)
	if lived := time.Since(began); lived < l.absolute {
		t.Errorf("in a session of %v, used all the time, a token ended after %v", l.absolute, lived)
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
func liveSecret(t *attempt, z *zoned, l lives) {
	name := "job-" + newID()[:8]
	secret := func(verb ...string) string {
		t.Helper()
		var made struct{ Secret string }
		if err := json.Unmarshal([]byte(z.must(append(append([]string{"client"}, verb...), "--format", "json")...)), &made); err != nil || made.Secret == "" {
			t.Fatalf("%q: %v", verb, err)
		}
		return made.Secret
	}
	ask := func(secret string) int {
		return z.do(call{method: "POST", path: "/oauth/token", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
			body: url.Values{"grant_type": {"client_credentials"}, "client_id": {name}, "client_secret": {secret}}.Encode()}).Status
	}
	before := secret("add", name, "--scope", "things.read")
	began := time.Now()
	now := secret("rotate", name, "--overlap", l.overlap.String())
	a := ask(before)
	t.late("to rotate a secret and use it", time.Since(began), 2*l.overlap)
	if b := ask(now); a != 200 || b != 200 {
		t.Errorf("within the overlap: the one before %d, the new one %d", a, b)
	}
	until(t, "the overlap is over", func() bool { return ask(before) == 401 })
	if lived := time.Since(began); lived < l.overlap {
		t.Errorf("the secret before lived on for %v, want %v", lived, l.overlap)
	}
	if got := ask(now); got != 200 {
		t.Errorf("after it the new one: %d", got)
	}
}
