package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// relying is an outside program with the browser of one user.
type relying struct {
	z       *zoned
	client  *http.Client
	session string
	flow    string // value of the browser's flow cookie
}

const relyingVerifier = "0123456789012345678901234567890123456789012345"

func (b *relying) do(method, path string, form url.Values) answer {
	b.z.t.Helper()
	c := call{method: method, path: path, client: b.client, header: http.Header{"Accept": {"text/html"}, "Cookie": {"__Host-session=" + b.session}}}
	if b.flow != "" {
		c.header.Set("Cookie", "__Host-session="+b.session+"; __Host-flow="+b.flow)
	}
	if form != nil {
		c.header.Set("Content-Type", "application/x-www-form-urlencoded")
		c.header.Set("Sec-Fetch-Site", "same-origin")
		c.body = form.Encode()
	}
	a := b.z.do(c)
	for _, set := range a.Header["Set-Cookie"] {
		if value, ok := strings.CutPrefix(set, "__Host-flow="); ok {
			b.flow, _, _ = strings.Cut(value, ";")
		}
	}
	return a
}

var consentFlow = regexp.MustCompile(`name="flow" value="([^"]+)"`)

// code has the user say yes.
func (b *relying) code(client, redirect, scope string) string {
	b.z.t.Helper()
	sum := sha256.Sum256([]byte(relyingVerifier))
	a := b.do("GET", "/oauth/authorize?"+url.Values{
		"client_id": {client}, "response_type": {"code"}, "redirect_uri": {redirect}, "scope": {scope},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode(), nil)
	if found := consentFlow.FindStringSubmatch(a.Body); found != nil {
		a = b.do("POST", "/oauth/consent", url.Values{"flow": {found[1]}, "decision": {"allow"}})
	}
	to := a.Header.Get("Location")
	if to == "" {
		_, to, _ = strings.Cut(a.Header.Get("Refresh"), "url=")
	}
	u, err := url.Parse(to)
	if err != nil || u.Query().Get("code") == "" {
		b.z.t.Fatalf("no code: %d %q %s", a.Status, to, a.Body)
	}
	return u.Query().Get("code")
}

// given is what a client was given.
type given struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Scope   string
	Error   string
	id      string
}

// token asks the token endpoint as a client; the public ones have no secret.
func (b *relying) token(id string, form url.Values) (g given) {
	b.z.t.Helper()
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if id == "spa" || id == "extra" {
		form.Set("client_id", id)
	} else {
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+relyingSecret)))
	}
	a := b.z.do(call{method: "POST", path: "/oauth/token", header: header, body: form.Encode(), client: b.client})
	if err := json.Unmarshal([]byte(a.Body), &g); err != nil {
		b.z.t.Fatalf("token endpoint: %d %s", a.Status, a.Body)
	}
	g.id = id
	return g
}

// grant gives a client tokens, and sees that they are good: the door knows them then.
func (b *relying) grant(id, scope string) given {
	b.z.t.Helper()
	redirect := "https://" + id + ".example/cb"
	g := b.token(id, url.Values{"grant_type": {"authorization_code"}, "code": {b.code(id, redirect, scope)}, "redirect_uri": {redirect}, "code_verifier": {relyingVerifier}})
	if got := b.visit(g); got != "200" {
		b.z.t.Fatalf("a fresh token: %s, %+v", got, g)
	}
	return g
}

func (b *relying) visit(g given) string {
	b.z.t.Helper()
	if a := b.z.do(call{path: "/mine", bearer: g.Access, client: b.client}); a.Status != 200 {
		return a.reason()
	}
	return "200"
}

// active says what introspection tells the client of its token.
func (b *relying) active(g given) bool {
	b.z.t.Helper()
	a := b.z.do(call{method: "POST", path: "/oauth/introspect", body: url.Values{"token": {g.Access}}.Encode(), client: b.client, header: http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(g.id+":"+relyingSecret))},
	}})
	var told struct{ Active bool }
	if err := json.Unmarshal([]byte(a.Body), &told); err != nil || a.Status != 200 {
		b.z.t.Fatalf("introspection: %d %s", a.Status, a.Body)
	}
	return told.Active
}

func (b *relying) refreshed(g given) string {
	b.z.t.Helper()
	if next := b.token(g.id, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.Refresh}}); next.Error != "" {
		return next.Error
	}
	return "good"
}

// startEnding serves the map of relying programs, or another of the same.
func startEnding(t testing.TB, change ...string) *zoned {
	t.Helper()
	z := newZone(t, strings.NewReplacer(change...).Replace(relyingMap), map[string]string{"plain": startUpstream(t, nil).address})
	z.write("client.secret", relyingSecret+"\n")
	z.write("signer.json", `{"keys":[{"kty":"EC","crv":"P-256","kid":"s1","alg":"ES256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`)
	z.start()
	return z
}

func (z *zoned) relyingOf(client *http.Client, u account) *relying {
	z.t.Helper()
	return &relying{z: z, client: client, session: z.loginWith(client, u)}
}

// remap puts another map in force, with the addresses that there are.
func (z *zoned) remap(text string) {
	z.t.Helper()
	z.rewrite(strings.ReplaceAll(text, "@public:port@", portOf(z.address["public"])))
}

// TestOpenIDEnds: what ends a user, a session or a client ends their tokens at the door
// at once, also those that it has seen, and what was given for longer where it must.
func TestOpenIDEnds(t *testing.T) {
	t.Parallel()
	z := startEnding(t)
	client := z.client()
	for _, end := range []struct {
		name         string
		by           func(z *zoned, u account, session string)
		session, far string // what becomes of tokens of the session, and of those given for longer
	}{
		{"logout", func(z *zoned, _ account, session string) {
			z.do(call{method: "POST", path: "/auth/logout", bearer: session, client: client})
		}, "auth.revoked invalid_grant", "200 good"},
		{"logout everywhere", func(z *zoned, _ account, session string) {
			z.do(call{method: "POST", path: "/auth/logout", bearer: session, json: true, body: `{"everywhere":true}`, client: client})
		}, "auth.revoked invalid_grant", "auth.revoked invalid_grant"},
		{"disabled", func(z *zoned, u account, _ string) { z.must("user", "disable", u.Email) }, "auth.revoked invalid_grant", "auth.revoked invalid_grant"},
		{"disabled and enabled", func(z *zoned, u account, _ string) {
			z.must("user", "disable", u.Email)
			z.must("user", "enable", u.Email)
		}, "auth.revoked invalid_grant", "auth.revoked invalid_grant"},
		{"password of an administrator", func(z *zoned, u account, _ string) {
			z.must("user", "password", u.Email, "--password-file", z.write("next", passphrase("next")+"\n"))
		}, "auth.revoked invalid_grant", "auth.revoked invalid_grant"},
		{"password of the user's own", func(z *zoned, u account, session string) { // the session goes on
			body, _ := json.Marshal(map[string]string{"current": u.Password, "password": passphrase("another")}) // strings always marshal
			if a := z.do(call{method: "POST", path: "/auth/password", bearer: session, json: true, body: string(body), client: client}); a.Status != 204 {
				z.t.Fatalf("password: %d %s", a.Status, a.Body)
			}
		}, "200 good", "auth.revoked invalid_grant"},
		{"sessions revoked", func(z *zoned, u account, _ string) { z.must("session", "revoke", u.Email) }, "auth.revoked invalid_grant", "auth.revoked invalid_grant"},
		{"removed", func(z *zoned, u account, _ string) { z.must("user", "remove", u.Email) }, "auth.revoked invalid_grant", "auth.revoked invalid_grant"},
	} {
		t.Run(end.name, func(t *testing.T) {
			z := z.in(t)
			u := z.addUser(strings.ReplaceAll(end.name, " ", "-") + "@shop.example")
			b := z.relyingOf(client, u)
			short, long := b.grant("web", "openid things.read"), b.grant("web", "openid things.read offline_access")
			if !b.active(short) || !b.active(long) { // what introspection remembers ends with them
				t.Fatal("introspection does not know fresh tokens")
			}
			end.by(z, u, b.session)
			for _, of := range []struct {
				name string
				given
				want string
			}{{"of the session", short, end.session}, {"for longer", long, end.far}} {
				if got := b.visit(of.given) + " " + b.refreshed(of.given); got != of.want {
					t.Errorf("%s: %s, want %s", of.name, got, of.want)
				}
				if got, want := b.active(of.given), strings.HasPrefix(of.want, "200"); got != want {
					t.Errorf("%s: introspection says %v, want %v", of.name, got, want)
				}
			}
		})
	}
}

// TestOpenIDClientEnds: a client that is removed, by the command line or from the map,
// is served no more at once, with its users' tokens and its own.
func TestOpenIDClientEnds(t *testing.T) {
	t.Parallel()
	z := startEnding(t)
	client := z.client()
	b := z.relyingOf(client, z.addUser("alice@shop.example"))
	z.must("client", "add", "extra", "--public", "--redirect-uri", "https://extra.example/cb", "--scope", "openid", "--scope", "things.read")
	extra := b.grant("extra", "openid things.read")
	z.must("client", "remove", "extra")
	if got := b.visit(extra) + " " + b.refreshed(extra); got != "auth.revoked invalid_client" {
		t.Errorf("by the command line: %s", got)
	}

	machine := func(g given) string { return z.do(call{path: "/machine", bearer: g.Access, client: client}).reason() }
	spa, web, robot := b.grant("spa", "openid things.read"), b.grant("web", "openid things.read"), b.token("robot", url.Values{"grant_type": {"client_credentials"}})
	if got := machine(robot); got != "" {
		t.Fatalf("machine: %s", got)
	}
	lines := slices.DeleteFunc(strings.Split(relyingMap, "\n"), func(l string) bool { return strings.Contains(l, "id: spa") || strings.Contains(l, "id: robot") })
	z.remap(strings.Join(lines, "\n"))
	until(t, "the map is in force", func() bool {
		return b.token("robot", url.Values{"grant_type": {"client_credentials"}}).Error == "invalid_client"
	})
	until(t, "the door has forgotten them", func() bool { return b.visit(spa)+" "+machine(robot) == "auth.revoked auth.revoked" })
	if got := b.visit(web); got != "200" {
		t.Errorf("a client that the map kept: %s", got)
	}
}

// TestOpenIDScopeTaken: a scope that the map takes from a client is no more in tokens
// that the door has seen either.
func TestOpenIDScopeTaken(t *testing.T) {
	t.Parallel()
	z := startEnding(t)
	b := z.relyingOf(z.client(), z.addUser("alice@shop.example"))
	g := b.grant("web", "openid things.read")
	less := strings.Replace(relyingMap, "offline_access, things.read, things.write]", "offline_access]", 1)
	z.remap(less + "      GET /new: anonymous\n")
	until(t, "the map is in force", func() bool { return z.do(call{path: "/new", client: b.client}).Status != 404 })
	until(t, "the door has forgotten the scope", func() bool { return b.visit(g) == "access.scope" })
}

// TestOpenIDSessionRunsOut: a session that ends by itself takes its tokens along.
func TestOpenIDSessionRunsOut(t *testing.T) {
	t.Parallel()
	idle := 3 * time.Second
	attempts(t, func(t *attempt) {
		z := startEnding(t, "identity:\n", fmt.Sprintf("identity:\n  sessions: {idle: %v, absolute: 1h}\n", idle))
		began, bound := time.Now(), idle
		idle = min(2*idle, 30*time.Second) // of the next, for a slow machine
		b := z.relyingOf(z.client(), z.addUser("alice@shop.example"))
		short, long := b.grant("web", "openid things.read"), b.grant("web", "openid things.read offline_access")
		t.late("two grants", time.Since(began), 2*bound)
		until(t, "the session has run out", func() bool {
			time.Sleep(bound + time.Second)
			return z.do(call{path: "/auth/me", bearer: b.session, client: b.client}).Status == 401
		})
		if got := b.visit(short); got != "auth.revoked" && got != "auth.expired" {
			t.Errorf("of the session: %s", got)
		}
		if got := b.visit(long); got != "200" {
			t.Errorf("for longer: %s", got)
		}
	})
}

// TestOpenIDCrossOrigin: a page of a public client can ask for its tokens, that of
// nobody cannot, and all can read what is public.
func TestOpenIDCrossOrigin(t *testing.T) {
	t.Parallel()
	z := startEnding(t)
	for _, c := range []struct{ method, path, origin, want string }{
		{"OPTIONS", "/oauth/token", "https://spa.example", "https://spa.example"},
		{"OPTIONS", "/oauth/token", "https://evil.example", ""},
		{"OPTIONS", "/oauth/token", "https://web.example", ""}, // no public client's
		{"POST", "/oauth/token", "https://spa.example", "https://spa.example"},
		{"POST", "/oauth/token", "null", ""},
		{"GET", "/oauth/userinfo", "https://spa.example", "https://spa.example"},
		{"GET", "/.well-known/openid-configuration", "https://evil.example", "*"},
		{"GET", "/oauth/authorize", "https://spa.example", ""},
	} {
		a := z.do(call{method: c.method, path: c.path, header: http.Header{"Origin": {c.origin}}})
		if got := a.Header.Get("Access-Control-Allow-Origin"); got != c.want || a.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s %s from %s: %q, want %q", c.method, c.path, c.origin, got, c.want)
		}
	}
}
