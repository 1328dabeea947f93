package token

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/internal/problem"
)

// FuzzVerify throws whole tokens at a verifier whose key the fuzzer does not
// hold: only the seeds that were minted may pass.
func FuzzVerify(f *testing.F) {
	at := &clock{start}
	r := ring{newKey(f, "k1")}
	m := newMinter(f, r, at.Now)
	minted := map[string]bool{}
	for range 3 {
		minted[mint(f, m).Value] = true
	}
	for v := range minted {
		f.Add(v)
		f.Add(v[:len(v)-1])
		f.Add(v + ".")
	}
	f.Add("..")
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + ".e30.")
	v := newVerifier(f, r.set(f), at.Now)
	f.Fuzz(func(t *testing.T, value string) {
		claims, err := v.Verify(t.Context(), value)
		if (claims == nil) == (err == nil) {
			t.Fatalf("claims %v with error %v", claims, err)
		}
		if err != nil && problem.ReasonOf(err) != problem.InsideTokenInvalid {
			t.Fatalf("reason %v", problem.ReasonOf(err))
		}
		if err == nil && !minted[value] {
			t.Fatalf("accepted a token that was never minted: %q", value)
		}
	})
}

// FuzzClaims signs any payload with the right key: what is accepted keeps every
// promise of the package, and go-jose reads the same bytes.
func FuzzClaims(f *testing.F) {
	at := &clock{start}
	r := ring{newKey(f, "k1")}
	f.Add([]byte(goodPayload()))
	f.Add([]byte(`{"aud":["shop.example"]}`))
	f.Add([]byte(goodPayload() + "{}"))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		value := forge(t, goodHeader, string(payload), r[0].key)
		c, err := newVerifier(t, r.set(t), at.Now).Verify(t.Context(), value)
		if err != nil {
			return
		}
		if c.Audience != testZone || c.Issuer != testIssuer || c.Subject == "" || c.Transaction == "" ||
			c.Expires-c.IssuedAt > 300 || !c.ExpiresAt().After(start.Add(-5*time.Second)) || len(value) > MaxSize {
			t.Fatalf("accepted %s", payload)
		}
		jws, err := jose.ParseSignedCompact(value, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := jws.Verify(&r[0].key.PublicKey); err != nil || string(got) != string(payload) {
			t.Fatalf("go-jose reads %q, %v", got, err)
		}
	})
}
