package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// issuer is somebody else's identity provider, as far as a zone asks it: discovery
// and keys. It lies in the test's own process.
type issuer struct {
	*httptest.Server
	t      testing.TB
	signer jose.Signer
}

func startIssuer(t testing.TB) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t}
	if i.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, (&jose.SignerOptions{}).WithType("at+jwt")); err != nil {
		t.Fatal(err)
	}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
		case "/keys":
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Use: "sig", Algorithm: "ES256"}}})
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(i.Close)
	return i
}

// token is a JWT of the issuer; claims come over those of a good one.
func (i *issuer) token(claims map[string]any) string {
	i.t.Helper()
	all := map[string]any{"iss": i.URL, "aud": "shop-api", "sub": "carol", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}
	for name, value := range claims {
		all[name] = value
	}
	text, err := jwt.Signed(i.signer).Claims(all).Serialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

// TestOutsideIssuer: a JWT of an issuer of the map counts as its user, with the
// roles that the map gives it; the service sees PROVIDER:SUB and never the JWT.
func TestOutsideIssuer(t *testing.T) {
	t.Parallel()
	known, stranger := startIssuer(t), startIssuer(t)
	up := startUpstream(t, nil)
	text := head + `
identity:
  listener: public
  providers:
    sso: {kind: bearer, issuer: ` + known.URL + `, audience: shop-api, roles: {claim: groups, map: {helpers: support}}}
services:
  plain:
    upstream: http://@plain@
    plain_headers: true
    routes:
      GET /mine: user
      GET /staff: {allow: user, roles: [support]}
      GET /users/{user}/things: {allow: user, owner: "path:user"}
`
	z := startZone(t, text, map[string]string{"plain": up.address})
	good := known.token(nil)
	until(t, "the keys of the issuer are known", func() bool { return z.do(call{path: "/mine", bearer: good}).Status == 200 })
	for _, c := range []struct {
		what, path, token string
		status            int
		reason            string
	}{
		{"its user", "/mine", good, 200, ""},
		{"without the role", "/staff", good, 403, "access.role"},
		{"with a role of the map", "/staff", known.token(map[string]any{"groups": []string{"helpers"}}), 200, ""},
		{"with a role that the map does not give", "/staff", known.token(map[string]any{"groups": []string{"support"}}), 403, "access.role"},
		{"for somebody else", "/mine", known.token(map[string]any{"aud": "other"}), 401, "auth.invalid"},
		{"of another issuer", "/mine", stranger.token(nil), 401, "auth.invalid"},
		{"of another issuer in its name", "/mine", stranger.token(map[string]any{"iss": known.URL}), 401, "auth.invalid"},
		{"over", "/mine", known.token(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), 401, "auth.expired"},
		{"cut", "/mine", good[:len(good)-4], 401, "auth.invalid"},
	} {
		got := z.do(call{path: c.path, bearer: c.token})
		if got.Status != c.status || c.reason != "" && got.reason() != c.reason {
			t.Errorf("%s: %d %s, want %d %s", c.what, got.Status, got.Body, c.status, c.reason)
		}
		for _, in := range up.of(got.ID) {
			if strings.Contains(strings.Join(in.Header.Values("Authorization"), ""), c.token) || in.Header.Get("X-User-Id") != "sso:carol" {
				t.Errorf("%s: the service received %v", c.what, in.Header)
			}
		}
	}
	if got := z.do(call{path: "/auth/me", bearer: good}); got.Status != 200 || !strings.Contains(string(got.Body), `"sso:carol"`) {
		t.Errorf("me: %d %s", got.Status, got.Body)
	}
	for _, path := range []string{"/auth/sessions"} {
		if got := z.do(call{path: path, bearer: good}); got.Status != 403 || got.reason() != "access.kind" {
			t.Errorf("%s: %d %s; want 403: it has no account here", path, got.Status, got.Body)
		}
	}
	// The provider leaves the map, and its users with it.
	begin, end := strings.Index(z.text, "  providers:"), strings.Index(z.text, "services:")
	z.rewrite(z.text[:begin] + z.text[end:])
	until(t, "users of a provider that is gone are refused", func() bool { return z.do(call{path: "/mine", bearer: good}).Status == 401 })
}

// TestOutsideIssuerBounds: a JWT counts in one place alone, its user owns what
// bears the whole of its name, and a provider that gets another name in the map
// is another one at once.
func TestOutsideIssuerBounds(t *testing.T) {
	t.Parallel()
	first, second := startIssuer(t), startIssuer(t)
	up := startUpstream(t, nil)
	z := startZone(t, head+`
identity:
  providers:
    sso: {kind: bearer, issuer: `+first.URL+`, audience: shop-api}
    old: {kind: bearer, issuer: `+second.URL+`, audience: shop-api}
services:
  plain:
    upstream: http://@plain@
    plain_headers: true
    routes:
      GET /mine: user
      GET /users/{user}/things: {allow: user, owner: "path:user"}
`, map[string]string{"plain": up.address})
	good := first.token(nil)
	until(t, "the keys of both are known", func() bool {
		return z.do(call{path: "/mine", bearer: good}).Status == 200 && z.do(call{path: "/mine", bearer: second.token(nil)}).Status == 200
	})
	alice := z.addUser("alice@shop.example")
	deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
	for _, c := range []struct {
		what   string
		call   call
		status int
	}{
		{"as a cookie", call{path: "/mine", cookie: good}, 401},
		{"as an API key", call{path: "/mine", header: http.Header{"X-Api-Key": {good}}}, 401},
		{"twice", call{path: "/mine", bearer: good, header: http.Header{"X-Api-Key": {good}}}, 400},
		{"with deep claims", call{path: "/mine", bearer: first.token(map[string]any{"deep": json.RawMessage(deep)})}, 200},
		{"with huge claims", call{path: "/mine", bearer: first.token(map[string]any{"huge": strings.Repeat("a", 9<<10)})}, 401},
		{"an owner", call{path: "/users/sso:carol/things", bearer: good}, 200},
		{"an owner, escaped", call{path: "/users/sso%3Acarol/things", bearer: good}, 200},
		{"without the provider", call{path: "/users/carol/things", bearer: good}, 404},
		{"of the other provider", call{path: "/users/old:carol/things", bearer: good}, 404},
		{"a sub like a user of the zone", call{path: "/users/" + alice.ID + "/things", bearer: first.token(map[string]any{"sub": alice.ID})}, 404},
		{"a sub like a user of the other", call{path: "/users/old:carol/things", bearer: first.token(map[string]any{"sub": "old:carol"})}, 404},
		{"a sub with an end of line", call{path: "/mine", bearer: first.token(map[string]any{"sub": "carol\r\nX-User-Id: root"})}, 401},
	} {
		if got := z.do(c.call); got.Status != c.status {
			t.Errorf("%s: %d %s, want %d", c.what, got.Status, got.Body, c.status)
		}
	}

	z.rewrite(strings.NewReplacer("sso:", "old:", "old:", "sso:").Replace(z.text))
	mine := func() (user string) {
		got := z.do(call{path: "/mine", bearer: good})
		if got.Status == 503 {
			return "" // the keys of the issuer took long
		}
		if got.Status != 200 {
			t.Fatalf("after the reload: %d %s", got.Status, got.Body)
		}
		for _, in := range up.of(got.ID) {
			user = in.Header.Get("X-User-Id")
		}
		return user
	}
	until(t, "the provider has its new name", func() bool { return mine() == "old:carol" })
	if got := z.do(call{path: "/users/sso:carol/things", bearer: good}); got.Status != 404 || got.reason() != "owner.denied" {
		t.Errorf("what its user owned under the old name, which is another's now: %d", got.Status)
	}
}

// TestExportJSONL: records of the zone arrive in the file of the map, each whole.
func TestExportJSONL(t *testing.T) {
	t.Parallel()
	z := startZone(t, head+`
export: [{jsonl: out.jsonl}]
services:
  plain: {upstream: "http://@plain@", routes: {GET /open: anonymous}}
`, map[string]string{"plain": startUpstream(t, nil).address})
	ids := map[string]int{z.do(call{path: "/open"}).ID: 200, z.do(call{path: "/none"}).ID: 404}
	until(t, "both records are there", func() bool {
		f, err := os.Open(filepath.Join(z.dir, "out.jsonl"))
		if err != nil {
			return false
		}
		defer f.Close()
		found := 0
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var rec struct {
				ID     string `json:"correlation_id"`
				Status int
			}
			if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
				return false // it is being written
			}
			if want, ours := ids[rec.ID]; ours {
				if rec.Status != want {
					t.Fatalf("record %+v, want status %d", rec, want)
				}
				found++
			}
		}
		return found == len(ids)
	})
}
