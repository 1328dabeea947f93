package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

const insideMap = `
zone: shop.example
journal: {size: 64MiB}
listeners:
  public: {address: "@public@", limits: {header_time: 1min}}
  partner: {address: "@partner@", limits: {header_time: 1min}}
  admin: {address: "@admin@"}
  control: {address: "@control@"}
services:
  shop:
    upstream: http://@plain@
    routes:
      GET /open: anonymous
      GET /mine: user
      POST /notify: {allow: key, scopes: [read, write], listener: partner}
  legacy:
    upstream: http://@legacy@
    plain_headers: true
    routes:
      GET /legacy: {allow: [anonymous, user]}
  member:
    upstream: https://@member@
    embedded: true
    routes:
      GET /member: user
`

func startInside(t *testing.T) (z *zoned, up, legacy *upstream) {
	t.Helper()
	up, legacy = startUpstream(t, nil), startUpstream(t, nil)
	return startZone(t, insideMap, map[string]string{"plain": up.address, "legacy": legacy.address}), up, legacy
}

// insideKeys fetches the JWKS of the control listener, as a service does: nobody
// gets it without a certificate of the zone.
func (z *zoned) insideKeys() jose.JSONWebKeySet {
	z.t.Helper()
	if got := z.do(call{listener: "control", host: "127.0.0.1", path: "/.well-known/jwks.json", client: z.client(unverified)}); got.Status != 403 || got.reason() != "inside.peer" {
		z.t.Errorf("jwks without a certificate: %d %s, want inside.peer", got.Status, got.Body)
	}
	status, body := z.member("member").control("GET", "/.well-known/jwks.json")
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(body), &set); err != nil || status != 200 || len(set.Keys) == 0 {
		z.t.Fatalf("jwks: %d %s (%v)", status, body, err)
	}
	for _, k := range set.Keys {
		if !k.IsPublic() {
			z.t.Fatal("the JWKS holds a private key")
		}
	}
	return set
}

// unverified takes any certificate: that of control names a workload, not a host.
func unverified(tr *http.Transport) { tr.TLSClientConfig.InsecureSkipVerify = true }

// verifyInside checks the signature of an inside token with go-jose and returns
// its claims.
func verifyInside(t testing.TB, set jose.JSONWebKeySet, token string) map[string]any {
	t.Helper()
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatalf("inside token %q: %v", token, err)
	}
	header := jws.Signatures[0].Protected
	keys := set.Key(header.KeyID)
	if header.ExtraHeaders[jose.HeaderType] != "txntoken+jwt" || len(keys) != 1 {
		t.Fatalf("inside token: typ %v, kid %q with %d keys", header.ExtraHeaders[jose.HeaderType], header.KeyID, len(keys))
	}
	payload, err := jws.Verify(keys[0])
	if err != nil {
		t.Fatalf("inside token: %v", err)
	}
	return fieldsOf(t, string(payload))
}

// TestInsideToken: the outside credential stays outside, and what travels
// instead says who it was for, as INTERFACE section 4 has it.
func TestInsideToken(t *testing.T) {
	t.Parallel()
	z, up, _ := startInside(t)
	alice := z.addUser("alice@shop.example", "merchant", "support")
	key := z.createKey("partner", "--scope", "write", "--scope", "read")
	session, browser := z.login(alice), z.login(alice)
	set := z.insideKeys()
	for _, s := range []struct {
		name   string
		call   call
		secret string
		claims map[string]any
	}{
		{"anonymous", call{path: "/open"}, "", map[string]any{
			"sub": "anonymous", "scope": "", "tctx": map[string]any{"roles": []any{}, "level": 0.0, "client": ""}, "rctx": map[string]any{"listener": "public", "method": "none"}}},
		{"session", call{path: "/mine", bearer: session}, session, map[string]any{
			"sub": alice.ID, "scope": "", "tctx": map[string]any{"roles": []any{"merchant", "support"}, "level": 1.0, "client": ""}, "rctx": map[string]any{"listener": "public", "method": "session"}}},
		{"cookie", call{path: "/mine", header: http.Header{"Cookie": {"theme=dark; __Host-session=" + browser + "; lang=en"}}}, browser, map[string]any{
			"sub": alice.ID, "scope": "", "tctx": map[string]any{"roles": []any{"merchant", "support"}, "level": 1.0, "client": ""}, "rctx": map[string]any{"listener": "public", "method": "cookie"}}},
		{"key", call{listener: "partner", method: "POST", path: "/notify", header: xKey(key.Key), body: "x"}, key.Key, map[string]any{
			"sub": "key_" + key.ID, "scope": "read write", "tctx": map[string]any{"roles": []any{}, "level": 1.0, "client": key.ID}, "rctx": map[string]any{"listener": "partner", "method": "key"}}},
	} {
		got := z.do(s.call)
		in := up.of(got.ID)
		if got.Status != 200 || len(in) != 1 {
			t.Fatalf("%s: %d %s, the service was asked %d times", s.name, got.Status, got.Body, len(in))
		}
		raw := in[0].Raw
		if s.secret != "" {
			sum := sha256.Sum256([]byte(s.secret))
			for form, text := range map[string]string{
				"itself": s.secret, "in base64": base64.StdEncoding.EncodeToString([]byte(s.secret)), "as its hash": hex.EncodeToString(sum[:]),
				"without prefix": s.secret[4:],
			} {
				if strings.Contains(raw, text) {
					t.Errorf("%s: the outside credential %s reached the service:\n%s", s.name, form, raw)
				}
			}
		}
		if s.name == "cookie" && in[0].Header.Get("Cookie") != "theme=dark; lang=en" {
			t.Errorf("other cookies arrived as %q", in[0].Header["Cookie"])
		}
		tokens := in[0].Header["Txn-Token"]
		if len(tokens) != 1 {
			t.Fatalf("%s: Txn-Token is %q, want one", s.name, tokens)
		}
		claims := verifyInside(t, set, tokens[0])
		issued, _ := claims["iat"].(float64)
		expires, _ := claims["exp"].(float64)
		if txn, _ := claims["txn"].(string); txn == "" || expires-issued != 60 {
			t.Errorf("%s: txn %q, life of %v s, want 60", s.name, txn, expires-issued)
		}
		for name, want := range map[string]any{"iss": "https://shop.example", "aud": "shop.example", "req_wl": "spiffe://shop.example/gateway"} {
			if !reflect.DeepEqual(claims[name], want) {
				t.Errorf("%s: %s is %v, want %v", s.name, name, claims[name], want)
			}
		}
		for name, want := range s.claims {
			if !reflect.DeepEqual(claims[name], want) {
				t.Errorf("%s: %s is %#v, want %#v", s.name, name, claims[name], want)
			}
		}
		if names := keysOf(claims); !slices.Equal(names, []string{"aud", "exp", "iat", "iss", "rctx", "req_wl", "scope", "sub", "tctx", "txn"}) {
			t.Errorf("%s: the claims are %q", s.name, names)
		}
		if text, _ := json.Marshal(claims); strings.Contains(string(text), got.ID) || strings.Contains(string(text), "127.0.0.1") {
			t.Errorf("%s: the token holds the correlation id or the client's address: %s", s.name, text)
		}
		if client := in[0].Header.Get("Sallyport-Client"); !strings.Contains(client, "127.0.0.1") {
			t.Errorf("%s: Sallyport-Client is %q, want the client's address beside the token", s.name, client)
		}
	}
}

// TestInsideTokenIsCached: the same credential has the same token for a while;
// another session, listener or set of roles has another.
func TestInsideTokenIsCached(t *testing.T) {
	t.Parallel()
	z, up, _ := startInside(t)
	alice := z.addUser("alice@shop.example")
	client, set := z.client(), z.insideKeys()
	token := func(session string) string {
		got := z.do(call{path: "/mine", bearer: session, client: client})
		in := up.of(got.ID)
		if len(in) != 1 {
			t.Fatalf("%d %s", got.Status, got.Body)
		}
		return in[0].Header.Get("Txn-Token")
	}
	one, two := z.login(alice), z.login(alice)
	first := token(one)
	if again := token(one); again != first {
		t.Error("the second request of a session had another token: minted for each request")
	}
	if other := token(two); other == first {
		t.Error("two sessions had the same token")
	}
	z.must("role", "grant", alice.Email, "support")
	changed := token(one)
	roles := verifyInside(t, set, changed)["tctx"].(map[string]any)["roles"]
	if changed == first || !reflect.DeepEqual(roles, []any{"support"}) {
		t.Errorf("after a change of roles the token says %v", roles)
	}
}
