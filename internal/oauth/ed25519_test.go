package oauth_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/internal/oauth"
	"sallyport.dev/zone"
)

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return k
}

// edSign signs with an algorithm by any name.
func edSign(t testing.TB, key ed25519.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		must(t, err)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	input := part(header) + "." + part(claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(input)))
}

// edProof makes a DPoP proof whose header names the algorithm as it is given.
func (w *world) edProof(key ed25519.PrivateKey, name, method, path string, more map[string]any) request {
	w.t.Helper()
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": issuer + path, "iat": time.Now().Unix(), "nonce": w.Nonces().At(time.Now())}
	for n, v := range more {
		claims[n] = v
	}
	return header("DPoP", edSign(w.t, key, map[string]any{"typ": "dpop+jwt", "alg": name, "jwk": jose.JSONWebKey{Key: key.Public()}}, claims))
}

// TestEdwards: EdDSA is taken by both of its names (RFC 9864), in proofs and in
// assertions, at every endpoint; a key that signs by one may go on by the other.
func TestEdwards(t *testing.T) {
	w := newWorld(t)
	key := edKey(t)
	for _, c := range []struct {
		name string
		good bool
	}{{"Ed25519", true}, {"EdDSA", true}, {"ed25519", false}, {"Ed448", false}, {"ES256", false}, {"none", false}} {
		form := redeem(w.browser().code(authorization("spa", "https://spa.example/cb", "openid", "dpop_jkt", thumbprint(t, key))), "https://spa.example/cb", "client_id", "spa")
		a := w.post("/oauth/token", form, w.edProof(key, c.name, "POST", "/oauth/token", nil))
		if !c.good {
			a.want(t, 400, "invalid_dpop_proof")
			continue
		}
		a.want(t, 200, "")
		token := a.text("access_token")
		if r, err := w.Resolve(t.Context(), token); err != nil || r.JKT != thumbprint(t, key) || a.text("token_type") != "DPoP" {
			t.Errorf("%s: %+v %v, %s", c.name, r, err, a.Body)
		}
		for name, status := range map[string]int{"Ed25519": 200, "EdDSA": 200, "Ed448": 401} {
			r := httptest.NewRequest(http.MethodGet, issuer+"/oauth/userinfo", nil)
			r.Header.Set("Authorization", "DPoP "+token)
			w.edProof(key, name, "GET", "/oauth/userinfo", map[string]any{"ath": challenge(token)})(r)
			info := httptest.NewRecorder()
			w.mux.ServeHTTP(info, r)
			if info.Code != status {
				t.Errorf("userinfo by %s: %d %s", name, info.Code, info.Body)
			}
		}
		next := refresh(a.text("refresh_token"), "client_id", "spa")
		w.post("/oauth/token", next, w.edProof(edKey(t), "Ed25519", "POST", "/oauth/token", nil)).want(t, 400, "invalid_dpop_proof")
		w.post("/oauth/token", next).want(t, 400, "invalid_dpop_proof")
		w.post("/oauth/token", next, w.edProof(key, "Ed25519", "POST", "/oauth/token", nil)).want(t, 200, "")
	}
}

func TestEdwardsAssertions(t *testing.T) {
	w := newWorld(t)
	key := edKey(t)
	for declared, names := range map[string][]string{"": {"Ed25519", "EdDSA"}, "EdDSA": {"Ed25519", "EdDSA"}, "Ed25519": {"Ed25519", "EdDSA"}, "ES256": nil} {
		id := "ed-" + declared
		if declared == "" {
			id = "ed"
		}
		set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "e1", Algorithm: declared}}})
		must(t, err)
		_, err = w.AddClient(t.Context(), oauth.NewClient{Client: zone.Client{ID: id, Kind: "confidential", Grants: []string{"client_credentials"}, Scopes: []string{"orders.read"}}, Keys: set})
		must(t, err)
		for _, name := range []string{"Ed25519", "EdDSA", "ES256", "ed25519"} {
			now := time.Now().Unix()
			for kid, good := range map[string]bool{"e1": slices.Contains(names, name), "": slices.Contains(names, name), "e2": false} {
				header := map[string]any{"alg": name}
				if kid != "" {
					header["kid"] = kid
				}
				text := edSign(t, key, header, map[string]any{"iss": id, "sub": id, "aud": issuer, "jti": rand.Text(), "exp": now + 60})
				a := w.post("/oauth/token", url.Values{"grant_type": {"client_credentials"}, "client_assertion": {text}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}})
				if (a.Code == 200) != good || !good && (a.Code != 401 || a.text("error") != "invalid_client") {
					t.Errorf("key for %q, %s by kid %q: %d %s", declared, name, kid, a.Code, a.Body)
				}
			}
		}
	}
	var doc map[string]any
	a := httptest.NewRecorder()
	w.mux.ServeHTTP(a, httptest.NewRequest(http.MethodGet, issuer+"/.well-known/openid-configuration", nil))
	must(t, json.Unmarshal(a.Body.Bytes(), &doc))
	for _, name := range []string{"token_endpoint_auth_signing_alg_values_supported", "dpop_signing_alg_values_supported"} {
		if list, _ := doc[name].([]any); !slices.Contains(list, any("Ed25519")) || !slices.Contains(list, any("EdDSA")) {
			t.Errorf("%s is %v", name, doc[name])
		}
	}
}

// TestBoundElsewhere: what the library does not know of, a grant's key, is asked for
// wherever the grant is used.
func TestBoundElsewhere(t *testing.T) {
	w := newWorld(t)
	key, other := newKey(t), newKey(t)
	client := basic("web-app", secret)
	bound := func() answer {
		form := redeem(w.browser().code(authorization("web-app", callback, "openid offline_access")), callback)
		return w.post("/oauth/token", form, client, w.proves(key, "/oauth/token")).want(t, 200, "")
	}
	// A client that shows who it is may move its refresh token to another key, and
	// not to none; the new token is bound to the key that came with it.
	a := bound()
	w.post("/oauth/token", refresh(a.text("refresh_token")), client).want(t, 400, "invalid_dpop_proof")
	moved := w.post("/oauth/token", refresh(a.text("refresh_token")), client, w.proves(other, "/oauth/token")).want(t, 200, "")
	if r, err := w.Resolve(t.Context(), moved.text("access_token")); err != nil || r.JKT != thumbprint(t, other) {
		t.Errorf("moved: %+v %v", r, err)
	}
	w.post("/oauth/token", refresh(moved.text("refresh_token")), client).want(t, 400, "invalid_dpop_proof") // still bound
	// A grant that is not bound stays so.
	plain := w.tokens("openid")
	again := w.post("/oauth/token", refresh(plain.text("refresh_token")), client, w.proves(key, "/oauth/token")).want(t, 200, "")
	if r, err := w.Resolve(t.Context(), again.text("access_token")); err != nil || r.JKT != "" || again.text("token_type") != "Bearer" {
		t.Errorf("a plain grant, refreshed with a proof: %+v %v", r, err)
	}
	// A code bound before it was made is not lost by one that has not its key, and
	// ends its grant when it comes again, by whatever key.
	form := redeem(w.browser().code(authorization("web-app", callback, "openid", "dpop_jkt", thumbprint(t, key))), callback)
	w.post("/oauth/token", form, client).want(t, 400, "invalid_dpop_proof")
	w.post("/oauth/token", form, client, w.proves(other, "/oauth/token")).want(t, 400, "invalid_dpop_proof")
	good := w.post("/oauth/token", form, client, w.proves(key, "/oauth/token")).want(t, 200, "")
	w.good(good.text("access_token"), true)
	w.post("/oauth/token", form, client, w.proves(other, "/oauth/token")).want(t, 400, "invalid_grant")
	w.good(good.text("access_token"), false)
	// Nobody else learns of a key that it is one: the code of another client is none.
	form = redeem(w.browser().code(authorization("web-app", callback, "openid", "dpop_jkt", thumbprint(t, key))), callback)
	w.post("/oauth/token", form, basic("report", secret)).want(t, 400, "invalid_grant")
}
