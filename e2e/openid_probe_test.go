package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

type rp struct {
	z      *zoned
	client *http.Client
	sess   string
	flow   string
}

const rpVerifier = "0123456789012345678901234567890123456789012345"

func (b *rp) do(method, path string, form url.Values) answer {
	h := http.Header{"Accept": {"text/html"}, "Cookie": {"__Host-session=" + b.sess}}
	if b.flow != "" {
		h["Cookie"] = []string{"__Host-session=" + b.sess + "; __Host-flow=" + b.flow}
	}
	c := call{method: method, path: path, header: h, client: b.client}
	if form != nil {
		h.Set("Content-Type", "application/x-www-form-urlencoded")
		h.Set("Sec-Fetch-Site", "same-origin")
		c.body = form.Encode()
	}
	a := b.z.do(c)
	for _, s := range a.Header["Set-Cookie"] {
		if v, ok := strings.CutPrefix(s, "__Host-flow="); ok {
			b.flow, _, _ = strings.Cut(v, ";")
		}
	}
	return a
}

var rpFlow = regexp.MustCompile(`name="flow" value="([^"]+)"`)

func (b *rp) authz(client, redirect, scope string) url.Values {
	sum := sha256.Sum256([]byte(rpVerifier))
	return url.Values{"client_id": {client}, "response_type": {"code"}, "redirect_uri": {redirect}, "scope": {scope}, "state": {"st"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
}

func (b *rp) code(client, redirect, scope string) string {
	a := b.do("GET", "/oauth/authorize?"+b.authz(client, redirect, scope).Encode(), nil)
	if m := rpFlow.FindStringSubmatch(a.Body); m != nil {
		a = b.do("POST", "/oauth/consent", url.Values{"flow": {m[1]}, "decision": {"allow"}})
	}
	to := a.Header.Get("Location")
	if to == "" {
		_, to, _ = strings.Cut(a.Header.Get("Refresh"), "url=")
	}
	u, _ := url.Parse(to)
	if u.Query().Get("code") == "" {
		b.z.t.Fatalf("no code: %d %s %s", a.Status, to, a.Body)
	}
	return u.Query().Get("code")
}

type tok struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Error   string
}

func (z *zoned) token(form url.Values, id, secret string, client *http.Client) (tok, answer) {
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if secret != "" {
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
	} else {
		form.Set("client_id", id)
	}
	a := z.do(call{method: "POST", path: "/oauth/token", header: h, body: form.Encode(), client: client})
	var t tok
	_ = json.Unmarshal([]byte(a.Body), &t)
	return t, a
}

func (z *zoned) grant(client *http.Client, sess, id, redirect, scope, secret string) tok {
	b := &rp{z: z, client: client, sess: sess}
	t, a := z.token(url.Values{"grant_type": {"authorization_code"}, "code": {b.code(id, redirect, scope)}, "redirect_uri": {redirect}, "code_verifier": {rpVerifier}}, id, secret, client)
	if t.Access == "" {
		z.t.Fatalf("no token %d %s", a.Status, a.Body)
	}
	return t
}

func TestProbeGateway(t *testing.T) {
	up := startUpstream(t, nil)
	text := relyingMap
	z := newZone(t, text, map[string]string{"plain": up.address})
	z.write("client.secret", relyingSecret+"\n")
	z.write("signer.json", `{"keys":[{"kty":"EC","crv":"P-256","kid":"s1","alg":"ES256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`)
	z.start()
	c := z.client()
	show := func(name string, tk tok, id, secret string) {
		g := z.do(call{path: "/mine", bearer: tk.Access, client: c})
		r, ra := z.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tk.Refresh}}, id, secret, c)
		_ = r
		t.Logf("%-28s gateway %d %s; refresh %d %.90s", name, g.Status, g.reason(), ra.Status, ra.Body)
	}
	warm := func(tk tok) { if g := z.do(call{path: "/mine", bearer: tk.Access, client: c}); g.Status != 200 { t.Errorf("warm: %d %s", g.Status, g.Body) } }
	fresh := func(name, scope string) (account, string, tok) {
		u := z.addUser(name + "@shop.example")
		s := z.loginWith(c, u)
		tk := z.grant(c, s, "web", "https://web.example/cb", scope, relyingSecret)
		warm(tk)
		return u, s, tk
	}
	for _, scope := range []string{"openid things.read", "openid things.read offline_access"} {
		n := map[bool]string{false: "s", true: "o"}[strings.Contains(scope, "off")]
		u, s, tk := fresh("logout"+n, scope)
		z.do(call{method: "POST", path: "/auth/logout", bearer: s, client: c})
		show(n+" logout", tk, "web", relyingSecret)
		u, s, tk = fresh("disable"+n, scope)
		z.must("user", "disable", u.Email)
		show(n+" disable", tk, "web", relyingSecret)
		z.must("user", "enable", u.Email)
		show(n+" disable, enable", tk, "web", relyingSecret)
		u, s, tk = fresh("pw"+n, scope)
		a := z.do(call{method: "POST", path: "/auth/password", bearer: s, json: true, body: `{"current":"` + u.Password + `","password":"another long passphrase of mine"}`, client: c})
		t.Logf("password change %d %s", a.Status, a.Body)
		show(n+" password", tk, "web", relyingSecret)
		u, s, tk = fresh("pwcli"+n, scope)
		out, errs, code := z.run("user", "password", u.Email, "--password-file", z.write("np", "another long passphrase of yours\n"))
		t.Logf("user password: %s %s %d", out, errs, code)
		show(n+" password cli", tk, "web", relyingSecret)
		u, s, tk = fresh("all"+n, scope)
		z.must("session", "revoke", u.Email)
		show(n+" session revoke all", tk, "web", relyingSecret)
		u, s, tk = fresh("del"+n, scope)
		out, errs, code = z.run("user", "delete", u.Email, "--yes")
		t.Logf("user delete: %s %s %d", out, errs, code)
		show(n+" user delete", tk, "web", relyingSecret)
	}
	// clients
	out := z.must("client", "add", "extra", "--kind", "public", "--redirect-uri", "https://extra.example/cb", "--scope", "openid", "--scope", "things.read")
	t.Log(out)
	u := z.addUser("cl@shop.example")
	s := z.loginWith(c, u)
	tk := z.grant(c, s, "extra", "https://extra.example/cb", "openid things.read", "")
	warm(tk)
	z.must("client", "remove", "extra")
	show("client remove", tk, "extra", "")
	tk = z.grant(c, s, "web", "https://web.example/cb", "openid things.read", relyingSecret)
	mt, _ := z.token(url.Values{"grant_type": {"client_credentials"}}, "robot", relyingSecret, c)
	machine := func() answer { return z.do(call{path: "/machine", bearer: mt.Access, client: c}) }
	t.Logf("machine before %d", machine().Status)
	spa := z.grant(c, s, "spa", "https://spa.example/cb", "openid things.read", "")
	warm(spa)
	warm(tk)
	// narrow web, remove robot and spa
	text = strings.Replace(text, "scopes: [openid, email, profile, offline_access, things.read, things.write]", "scopes: [openid, email]", 1)
	lines := []string{}
	for _, l := range strings.Split(text, "\n") {
		if !strings.Contains(l, "id: robot") && !strings.Contains(l, "id: spa") {
			lines = append(lines, l)
		}
	}
	z.rewrite(strings.Join(lines, "\n"))
	until(t, "reloaded", func() bool { _, a := z.token(url.Values{"grant_type": {"client_credentials"}}, "robot", relyingSecret, c); return a.Status == 401 })
	time.Sleep(time.Second)
	for _, after := range []time.Duration{0, 10 * time.Second, 22 * time.Second} {
		time.Sleep(after)
		t.Logf("after reload +%s: machine %d, spa %d, web narrowed %d", after, machine().Status, z.do(call{path: "/mine", bearer: spa.Access, client: c}).Status, z.do(call{path: "/mine", bearer: tk.Access, client: c}).Status)
	}
	show("narrowed web", tk, "web", relyingSecret)
}

func TestProbeIdle(t *testing.T) {
	up := startUpstream(t, nil)
	text := strings.Replace(relyingMap, "identity:\n", "identity:\n  sessions: {idle: 2s, absolute: 1h}\n", 1)
	z := newZone(t, text, map[string]string{"plain": up.address})
	z.write("client.secret", relyingSecret+"\n")
	z.write("signer.json", `{"keys":[{"kty":"EC","crv":"P-256","kid":"s1","alg":"ES256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`)
	z.start()
	c := z.client()
	u := z.addUser("idle@shop.example")
	s := z.loginWith(c, u)
	tk := z.grant(c, s, "web", "https://web.example/cb", "openid things.read", relyingSecret)
	for range 4 {
		time.Sleep(1500 * time.Millisecond)
		t.Logf("idle: gateway %d; me %d", z.do(call{path: "/mine", bearer: tk.Access, client: c}).Status, z.do(call{path: "/auth/me", bearer: "x" , client: c}).Status)
	}
	time.Sleep(28 * time.Second)
	t.Logf("idle +34s: gateway %d; session %d", z.do(call{path: "/mine", bearer: tk.Access, client: c}).Status, z.do(call{path: "/auth/me", bearer: s, client: c}).Status)
	a := z.do(call{method: "POST", path: "/oauth/introspect", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("web:"+relyingSecret))}}, body: url.Values{"token": {tk.Access}}.Encode(), client: c})
	t.Logf("introspect %s", a.Body)
}
