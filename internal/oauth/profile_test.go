package oauth_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/internal/oauth"
	"sallyport.dev/zone"
)

// TestProfile holds lines of RFC 9700 and of the FAPI 2.0 security profile that no
// other test does; docs/guide/oauth.md has all of them.
func TestProfile(t *testing.T) {
	w := newWorld(t)
	b := w.browser()

	t.Run("requests that were not pushed", func(t *testing.T) {
		q := leads(t, b.get("/oauth/authorize?"+authorization("bank", "https://bank.example/cb", "openid").Encode())).Query()
		if q.Get("error") != "invalid_request" || q.Get("iss") != issuer {
			t.Errorf("%v", q)
		}
		w.post("/oauth/par", authorization("bank", "https://bank.example/cb", "openid", "client_id", "bank")).want(t, 401, "invalid_client")
	})
	t.Run("tokens that are not bound", func(t *testing.T) {
		uri := w.post("/oauth/par", with(authorization("bank", "https://bank.example/cb", "openid"), w.asserts(nil))).want(t, 201, "").text("request_uri")
		code := leads(t, b.get("/oauth/authorize?"+url.Values{"client_id": {"bank"}, "request_uri": {uri}}.Encode())).Query().Get("code")
		form := func() url.Values { return with(redeem(code, "https://bank.example/cb"), w.asserts(nil)) }
		w.post("/oauth/token", form()).want(t, 400, "invalid_dpop_proof")
		w.post("/oauth/token", form(), w.proves(newKey(t), "/oauth/token")).want(t, 200, "")
	})
	t.Run("a code bound at the push", func(t *testing.T) {
		k := newKey(t)
		v := with(authorization("bank", "https://bank.example/cb", "openid"), w.asserts(nil))
		uri := w.post("/oauth/par", v, w.proves(k, "/oauth/par")).want(t, 201, "").text("request_uri")
		code := leads(t, b.get("/oauth/authorize?"+url.Values{"client_id": {"bank"}, "request_uri": {uri}}.Encode())).Query().Get("code")
		w.post("/oauth/token", with(redeem(code, "https://bank.example/cb"), w.asserts(nil)), w.proves(newKey(t), "/oauth/token")).want(t, 400, "invalid_dpop_proof")
	})
	t.Run("answers of the browser", func(t *testing.T) {
		a := b.get("/oauth/authorize?" + authorization("web-app", callback, "openid").Encode())
		h := a.Header()
		if a.Code != http.StatusSeeOther || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%d %v", a.Code, h)
		}
		if to := leads(t, a); to.Fragment != "" || to.Query().Get("access_token") != "" || len(to.Query().Get("code")) != 43 {
			t.Errorf("%s", to)
		}
		a = b.get("/oauth/authorize?" + authorization("spa", "https://spa.example/cb", "openid").Encode())
		if p := a.Header().Get("Content-Security-Policy"); !strings.Contains(p, "frame-ancestors 'none'") {
			t.Errorf("consent page: %q", p)
		}
		if a = b.decide(a, "allow"); a.Code != http.StatusOK || a.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("after the consent: %d %v", a.Code, a.Header())
		}
	})
	t.Run("entropy", func(t *testing.T) {
		seen := map[string]bool{}
		for range 4 {
			a := w.tokens("openid")
			for _, token := range []string{strings.TrimPrefix(a.text("access_token"), "spa_"), strings.TrimPrefix(a.text("refresh_token"), "spr_")} {
				if len(token) != 43 || seen[token] {
					t.Errorf("%d characters, seen %v", len(token), seen[token])
				}
				seen[token] = true
			}
		}
	})
	t.Run("keys", func(t *testing.T) {
		for bits, good := range map[int]bool{1024: false, 2048: true} {
			k, err := rsa.GenerateKey(rand.Reader, bits)
			must(t, err)
			set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &k.PublicKey, KeyID: "r", Algorithm: "PS256", Use: "sig"}}})
			must(t, err)
			_, err = w.AddClient(t.Context(), oauth.NewClient{Client: zone.Client{ID: "rsa", Kind: "confidential", Grants: []string{"client_credentials"}}, Keys: set})
			if (err == nil) != good {
				t.Errorf("RSA of %d bits: %v", bits, err)
			}
		}
		set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: newKey(t), KeyID: "private"}}})
		must(t, err)
		if _, err := w.AddClient(t.Context(), oauth.NewClient{Client: zone.Client{ID: "private", Kind: "confidential", Grants: []string{"client_credentials"}}, Keys: set}); err == nil {
			t.Error("a private key is taken")
		}
	})
	t.Run("no CORS at the authorization endpoint", func(t *testing.T) {
		r := httptest.NewRequest("OPTIONS", issuer+"/oauth/authorize", nil)
		a := httptest.NewRecorder()
		w.mux.ServeHTTP(a, r)
		if a.Code != 405 || a.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%d %v", a.Code, a.Header())
		}
	})
}

// TestGuideNamesTests: each test that the guide's tables name is there.
func TestGuideNamesTests(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "guide", "oauth.md"))
	must(t, err)
	var all strings.Builder
	files, err := filepath.Glob("*_test.go")
	must(t, err)
	for _, f := range files {
		text, err := os.ReadFile(f) // #nosec G304 -- of this package
		must(t, err)
		all.Write(text)
	}
	names := regexp.MustCompile(`\b(Test|Fuzz)[A-Z][A-Za-z]+`).FindAllString(string(guide), -1)
	if len(names) < 40 {
		t.Fatalf("the guide names %d tests", len(names))
	}
	for _, name := range names {
		if !strings.Contains(all.String(), "func "+name+"(") {
			t.Errorf("the guide names %s", name)
		}
	}
	rows := 0
	for line := range strings.SplitSeq(string(guide), "\n") {
		if regexp.MustCompile(`^\| [0-9]+\.[0-9]`).MatchString(line) {
			rows++
			if !regexp.MustCompile(`(Test|Fuzz)[A-Z]`).MatchString(line) {
				t.Errorf("a line without a test: %s", line)
			}
		}
	}
	if rows < 40 {
		t.Errorf("%d lines", rows)
	}
}
