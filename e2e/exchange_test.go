package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
)

// exchangeMap has a service that calls another for users, and the programs whose
// tokens it may be handed.
const exchangeMap = head + `
identity:
  url: https://localhost:@public:port@
  clients:
    - {id: own, kind: confidential, secret: {file: client.secret}, redirect_uris: ["https://own.example/cb"], scopes: [openid, things.read, things.write], consent: false}
    - {id: jwt, kind: confidential, secret: {file: client.secret}, redirect_uris: ["https://jwt.example/cb"], scopes: [openid, things.read], consent: false, access_token: jwt}
    - {id: robot, kind: confidential, secret: {file: client.secret}, scopes: [things.read]}
    - {id: desk, kind: confidential, secret: {file: client.secret}, scopes: [things.read], grants: [token_exchange]}
services:
  front:
    upstream: unix:@run@/front.sock
    sidecar: "@frontdoor@"
    routes: {GET /open: anonymous}
    calls: {ledger: [GET /entries, POST /entries, GET /machine]}
  ledger:
    upstream: http://@ledger@
    sidecar: "@ledgerdoor@"
    routes:
      GET /entries: {allow: user, scopes: [things.read]}
      POST /entries: {allow: user, scopes: [things.write]}
      GET /machine: {allow: client, scopes: [things.read]}
`

const kindOf = "urn:ietf:params:oauth:token-type:"

// exchangeForm asks for an inside token.
func exchangeForm(subject string) url.Values {
	return url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {subject},
		"subject_token_type": {kindOf + "access_token"}, "requested_token_type": {kindOf + "txn_token"},
	}
}

// exchange asks the control listener.
func (m *member) exchange(form url.Values) (status int, got map[string]any) {
	m.z.t.Helper()
	id, err := svid.ServiceID("shop.example", svid.ControlName)
	if err != nil {
		m.z.t.Fatal(err)
	}
	conns := svid.NewConns(nil)
	defer conns.Close()
	req, err := http.NewRequestWithContext(m.z.t.Context(), "POST", "https://"+m.z.address["control"]+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		m.z.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := svid.NewTransport(m.source, id, conns, &http.Transport{}).RoundTrip(req)
	if err != nil {
		m.z.t.Fatalf("%s exchanges: %v", m.name, err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil && err != io.EOF {
		m.z.t.Fatalf("%s exchanges: %d %v", m.name, res.StatusCode, err)
	}
	return res.StatusCode, got
}

// program posts a form of a program to the provider.
func (z *zoned) program(client string, path string, form url.Values, header http.Header) answer {
	z.t.Helper()
	if header == nil {
		header = http.Header{}
	}
	form.Set("client_id", client)
	form.Set("client_secret", relyingSecret)
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	return z.do(call{method: "POST", path: path, body: form.Encode(), header: header})
}

// accessToken has a user who is logged in let a program of the zone act for them.
func (z *zoned) accessToken(client, scope, session string, header http.Header) string {
	z.t.Helper()
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // RFC 7636 appendix B
	redirect := "https://" + client + ".example/cb"
	asked := z.do(call{cookie: session, path: "/oauth/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {redirect}, "scope": {scope}, "state": {"s"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}.Encode()})
	back, err := url.Parse(asked.Header.Get("Location"))
	if err != nil || back.Query().Get("code") == "" {
		z.t.Fatalf("authorize: %d %v %s", asked.Status, asked.Header, asked.Body)
	}
	return z.granted(z.program(client, "/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {redirect}, "code_verifier": {verifier},
	}, header))
}

func (z *zoned) granted(a answer) string {
	z.t.Helper()
	token, _ := fieldsOf(z.t, a.Body)["access_token"].(string)
	if a.Status != 200 || token == "" {
		z.t.Fatalf("token: %d %s", a.Status, a.Body)
	}
	return token
}

// proven is a header with a DPoP proof of a new key.
func (z *zoned) proven() http.Header {
	z.t.Helper()
	nonce := z.program("own", "/oauth/token", url.Values{"grant_type": {"refresh_token"}}, nil).Header.Get("DPoP-Nonce")
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: newKey(z.t)}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	if err != nil {
		z.t.Fatal(err)
	}
	proof, err := jwt.Signed(s).Claims(map[string]any{
		"jti": newID(), "htm": "POST", "htu": "https://localhost:" + portOf(z.address["public"]) + "/oauth/token", "iat": time.Now().Unix(), "nonce": nonce,
	}).Serialize()
	if err != nil {
		z.t.Fatal(err)
	}
	return http.Header{"Dpop": {proof}}
}

// TestExchangeInside: a service makes of the access token that it was handed an
// inside one, and calls with it for its user; nothing else is exchanged, and
// nothing outside.
func TestExchangeInside(t *testing.T) {
	t.Parallel()
	n := newInner(t, exchangeMap)
	n.write("client.secret", relyingSecret+"\n")
	n.start()
	n.sidecar("ledger")
	front, ledger := n.member("front"), n.member("ledger")
	alice := n.addUser("alice@shop.example", "buyer")
	session := n.login(alice)
	swap := func(subject string, more ...string) string {
		t.Helper()
		form := exchangeForm(subject)
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		status, got := front.exchange(form)
		token, _ := got["access_token"].(string)
		if status != 200 || got["issued_token_type"] != kindOf+"txn_token" || got["token_type"] != "N_A" || token == "" {
			t.Fatalf("exchange: %d %v", status, got)
		}
		return token
	}
	ask := func(method, target, token string) innerAnswer {
		w := front.wire(t, "ledger")
		return w.send(w.craft(httpsig.MAC, method, target, token, ""))
	}
	opaque, signed := n.accessToken("own", "openid things.read things.write", session, nil), n.accessToken("jwt", "openid things.read", session, nil)
	robot := n.granted(n.program("robot", "/oauth/token", url.Values{"grant_type": {"client_credentials"}}, nil))
	whole, less := swap(opaque), swap(opaque, "scope", "things.read", "audience", "shop.example")
	var keys jose.JSONWebKeySet
	if _, body := front.control("GET", "/.well-known/jwks.json"); json.Unmarshal([]byte(body), &keys) != nil {
		t.Fatalf("jwks: %s", body)
	}
	if claims := verifyInside(t, keys, whole); claims["sub"] != alice.ID || claims["req_wl"] != "spiffe://shop.example/front" || claims["scope"] != "openid things.read things.write" {
		t.Errorf("claims %v", claims)
	}
	ask("GET", "/entries", whole).mustPass(t, "for a user")
	ask("POST", "/entries", whole).mustPass(t, "for a user, to write")
	ask("GET", "/entries", less).mustPass(t, "with less scope")
	ask("POST", "/entries", less).wants(t, "with less scope, to write", "access.scope")
	ask("GET", "/entries", swap(signed)).mustPass(t, "of a JWT")
	ask("GET", "/machine", swap(robot)).mustPass(t, "for a program")
	ask("GET", "/entries", swap(robot)).wants(t, "for a program, as a user", "access.kind")
	ask("GET", "/entries", opaque).wants(t, "the access token itself", "inside.token_invalid")

	gone := n.accessToken("own", "openid things.read", session, nil)
	if a := n.program("own", "/oauth/revoke", url.Values{"token": {gone}}, nil); a.Status != 200 {
		t.Fatalf("revoke: %d %s", a.Status, a.Body)
	}
	bound := n.accessToken("own", "openid things.read", session, n.proven())
	for what, c := range map[string]struct {
		m     *member
		token string
		code  string
	}{
		"a service without calls": {ledger, opaque, "access_denied"},
		"a revoked token":         {front, gone, "invalid_request"},
		"a bound token":           {front, bound, "invalid_request"},
		"a session":               {front, session, "invalid_request"},
		"an inside token":         {front, whole, "invalid_request"},
		"an API key":              {front, n.createKey("k"+newID()[:8], "--scope", "things.read").Key, "invalid_request"},
	} {
		if status, got := c.m.exchange(exchangeForm(c.token)); status != 400 || got["error"] != c.code || got["access_token"] != nil {
			t.Errorf("%s: %d %v, want %s", what, status, got, c.code)
		}
	}
	// The same request outside, of a program that may exchange; and with an inside token.
	if a := n.program("desk", "/oauth/token", exchangeForm(opaque), nil); a.Status != 400 || fieldsOf(t, a.Body)["error"] != "invalid_request" {
		t.Errorf("an inside token at the public listener: %d %s", a.Status, a.Body)
	}
	form := exchangeForm(whole)
	form.Del("requested_token_type")
	if a := n.program("desk", "/oauth/token", form, nil); a.Status != 400 || fieldsOf(t, a.Body)["error"] != "invalid_request" {
		t.Errorf("of an inside token at the public listener: %d %s", a.Status, a.Body)
	}
	form.Set("subject_token", opaque)
	n.granted(n.program("desk", "/oauth/token", form, nil)) // positive control

	if a := n.do(call{method: "POST", path: "/auth/logout", bearer: session}); a.Status != 204 {
		t.Fatalf("logout: %d %s", a.Status, a.Body)
	}
	if status, got := front.exchange(exchangeForm(opaque)); status != 400 || got["error"] != "invalid_request" {
		t.Errorf("after the logout: %d %v", status, got)
	}
	var reasons []string
	for _, r := range n.records("--limit", "0") {
		if r.Route == "POST /oauth/token" && r.Listener == "control" {
			reasons = append(reasons, r.Reason)
			if !strings.HasPrefix(r.Principal, "spiffe://shop.example/") {
				t.Errorf("record %+v", r)
			}
		}
	}
	if all := strings.Join(reasons, " "); !strings.Contains(all, "ok") || !strings.Contains(all, "auth.revoked") || !strings.Contains(all, "auth.proof") || !strings.Contains(all, "inside.call") {
		t.Errorf("records of exchanges: %s", all)
	}
}
