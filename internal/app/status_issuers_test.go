package app

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// TestStatusOfIssuers: whether the keys of an outside issuer are there, since when
// not, and why, in words of ours.
func TestStatusOfIssuers(t *testing.T) {
	var down atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			http.Error(w, "geheim", http.StatusBadGateway)
			return
		}
		_, _ = w.Write([]byte(`{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","kid":"k","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`)) // RFC 7515 appendix A.3
	}))
	t.Cleanup(server.Close)
	z := parsed(t)
	z.Identity.Providers = append(z.Identity.Providers, zone.Provider{
		Name: "sso", Kind: "bearer", Issuer: server.URL, JWKS: server.URL + "/keys", Audience: "a", Algorithms: []string{"ES256"},
	})
	s, err := build(t.Context(), z, Options{Data: filepath.Join(socketDir(t), "data"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() })
	check := func(what string, want IssuerStatus, had bool) {
		t.Helper()
		got := s.issuerStatus()
		if len(got) != 1 || (got[0].Had != "") != had {
			t.Fatalf("%s: %+v, want had %v", what, got, had)
		}
		if got[0].Had = ""; got[0] != want {
			t.Errorf("%s: %+v, want %+v", what, got[0], want)
		}
	}
	look := func() { // as a request makes them, which brings a token of the issuer
		t.Helper()
		fresh, err := s.newIssuers(z)
		if err != nil {
			t.Fatal(err)
		}
		s.creds.issuers.Store(fresh)
		part := base64.RawURLEncoding.EncodeToString
		claims := fmt.Sprintf(`{"iss":%q,"aud":"a","sub":"u","iat":%d,"exp":%d}`, server.URL, time.Now().Unix(), time.Now().Add(time.Minute).Unix())
		_, _, err = fresh.Verify(t.Context(), part([]byte(`{"alg":"ES256","kid":"k"}`))+"."+part([]byte(claims))+"."+part(make([]byte, 64)))
		want := problem.AuthInvalid
		if down.Load() {
			want = problem.AuthUnavailable
		}
		if problem.ReasonOf(err) != want {
			t.Fatalf("a token that is not signed: %v, want %s", err, want)
		}
	}
	check("not asked yet", IssuerStatus{Name: "sso"}, false)
	s.creds.issuers.Store(nil) // nothing is taken over
	look()
	check("up", IssuerStatus{Name: "sso", Usable: true, Keys: 1}, true)
	down.Store(true)
	s.creds.issuers.Store(nil)
	look()
	check("down", IssuerStatus{Name: "sso", Cause: "it answers 502"}, false)
}
