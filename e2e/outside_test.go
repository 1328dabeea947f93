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
