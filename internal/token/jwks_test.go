package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

func TestJWKSRoundTrip(t *testing.T) {
	r := ring{newKey(t, "k1"), newKey(t, "k2")}
	keys, _ := r.PublicKeys(t.Context())
	data, err := MarshalJWKS(keys)
	if err != nil {
		t.Fatal(err)
	}
	set, err := ParseJWKS(data)
	if err != nil {
		t.Fatalf("ParseJWKS: %v", err)
	}
	if got, want := set.IDs(), []string{"k1", "k2"}; !slices.Equal(got, want) || set.Len() != 2 {
		t.Errorf("kids %v, want %v", got, want)
	}
	for _, k := range keys {
		if got, err := set.Key(t.Context(), k.ID); err != nil || !got.Equal(k.Key) {
			t.Errorf("key %s: %v, %v, want the one marshalled", k.ID, got, err)
		}
	}
	if _, err := set.Key(t.Context(), "k3"); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("unknown kid: %v, want %v", err, ErrUnknownKey)
	}
	if _, err := (KeySet{}).Key(context.Background(), ""); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("zero set: %v, want %v", err, ErrUnknownKey)
	}
}

func TestJWKSAgreesWithGoJOSE(t *testing.T) {
	k := newKey(t, "k1")
	ours, err := MarshalJWKS([]PublicKey{{ID: "k1", Key: &k.key.PublicKey}})
	if err != nil {
		t.Fatal(err)
	}
	var read jose.JSONWebKeySet
	if err := json.Unmarshal(ours, &read); err != nil || len(read.Keys) != 1 {
		t.Fatalf("go-jose reads %d keys of ours, %v", len(read.Keys), err)
	}
	got := read.Keys[0]
	if pub, ok := got.Key.(*ecdsa.PublicKey); !ok || !pub.Equal(&k.key.PublicKey) || got.KeyID != "k1" || got.Algorithm != "ES256" || got.Use != "sig" {
		t.Errorf("go-jose reads %+v", got)
	}
	theirs, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &k.key.PublicKey, KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	if set, err := ParseJWKS(theirs); err != nil || set.Len() != 1 {
		t.Errorf("ParseJWKS of go-jose's set: %d keys, %v", set.Len(), err)
	}

	thumb, err := (&jose.JSONWebKey{Key: &k.key.PublicKey}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := KeyID(&k.key.PublicKey); err != nil || id != base64.RawURLEncoding.EncodeToString(thumb) {
		t.Errorf("KeyID = %s, %v, go-jose's thumbprint is %x", id, err, thumb)
	}
}

// The key of RFC 7517 appendix A.1, dressed with our alg and use.
const rfcX, rfcY = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"

func jwkText(members string) string {
	return `{"kty":"EC","crv":"P-256","x":"` + rfcX + `","y":"` + rfcY + `",` + members + `}`
}

func TestParseJWKSSkipsAndRefuses(t *testing.T) {
	good := jwkText(`"kid":"a","alg":"ES256","use":"sig"`)
	for _, c := range []struct {
		name string
		in   string
		want []string // nil: refused
	}{
		{"one", `{"keys":[` + good + `]}`, []string{"a"}},
		{"unknown members", `{"keys":[` + jwkText(`"kid":"a","alg":"ES256","use":"sig","x5t":"x","key_ops":["verify"]`) + `],"more":1}`, []string{"a"}},

		{"skips another kty", `{"keys":[{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB","alg":"RS256","use":"sig"},` + good + `]}`, []string{"a"}},
		{"skips another curve", `{"keys":[{"kty":"EC","crv":"P-384","kid":"b","alg":"ES256","use":"sig"},` + good + `]}`, []string{"a"}},
		{"skips another alg", `{"keys":[` + jwkText(`"kid":"b","alg":"ECDH-ES","use":"sig"`) + `,` + good + `]}`, []string{"a"}},
		{"skips another use", `{"keys":[` + jwkText(`"kid":"b","alg":"ES256","use":"enc"`) + `,` + good + `]}`, []string{"a"}},
		{"skips a key without alg", `{"keys":[` + jwkText(`"kid":"b","use":"sig"`) + `,` + good + `]}`, []string{"a"}},
		{"skips a key without use", `{"keys":[` + jwkText(`"kid":"b","alg":"ES256"`) + `,` + good + `]}`, []string{"a"}},
		{"skips a key without kid", `{"keys":[` + jwkText(`"alg":"ES256","use":"sig"`) + `,` + good + `]}`, []string{"a"}},
		{"skips a kid that is no string", `{"keys":[` + jwkText(`"kid":7,"alg":"ES256","use":"sig"`) + `,` + good + `]}`, []string{"a"}},
		{"skips a kid too long", `{"keys":[` + jwkText(`"kid":"`+strings.Repeat("k", maxKeyID+1)+`","alg":"ES256","use":"sig"`) + `,` + good + `]}`, []string{"a"}},

		{"private EC key", `{"keys":[` + jwkText(`"kid":"b","alg":"ES256","use":"sig","d":"AA"`) + `,` + good + `]}`, nil},
		{"private part null", `{"keys":[` + jwkText(`"kid":"b","alg":"ES256","use":"sig","d":null`) + `,` + good + `]}`, nil},
		{"private part of a skipped key", `{"keys":[{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB","p":"AQ"},` + good + `]}`, nil},
		{"secret key", `{"keys":[{"kty":"oct","k":"AAAA"},` + good + `]}`, nil},
		{"same kid twice", `{"keys":[` + good + `,` + good + `]}`, nil},
		{"name twice", `{"keys":[` + jwkText(`"kid":"a","kid":"b","alg":"ES256","use":"sig"`) + `]}`, nil},
		{"keys twice", `{"keys":[` + good + `],"keys":[]}`, nil},
		{"off the curve", `{"keys":[` + strings.Replace(good, rfcY, rfcX, 1) + `]}`, nil},
		{"at infinity", `{"keys":[` + strings.NewReplacer(rfcX, strings.Repeat("A", 43), rfcY, strings.Repeat("A", 43)).Replace(good) + `]}`, nil},
		{"short coordinate", `{"keys":[` + strings.Replace(good, rfcX, rfcX[:40], 1) + `]}`, nil},
		{"no y", `{"keys":[` + strings.Replace(good, `"y"`, `"z"`, 1) + `]}`, nil},
		{"none left", `{"keys":[]}`, nil},
		{"no keys", `{}`, nil},
		{"null", `null`, nil},
		{"a list", `[]`, nil},
		{"trailing data", `{"keys":[` + good + `]}{}`, nil},
		{"empty", ``, nil},
		{"too many", `{"keys":[` + strings.Repeat(`{"kty":"x"},`, maxSetKeys) + good + `]}`, nil},
		{"too large", `{"keys":[` + good + `]` + strings.Repeat(" ", maxSetSize) + `}`, nil},
	} {
		set, err := ParseJWKS([]byte(c.in))
		if c.want == nil {
			if err == nil || set.Len() != 0 {
				t.Errorf("%s: got %v, %v, want an error", c.name, set.IDs(), err)
			}
			continue
		}
		if err != nil || !slices.Equal(set.IDs(), c.want) {
			t.Errorf("%s: got %v, %v, want %v", c.name, set.IDs(), err, c.want)
		}
	}
}

func TestMarshalJWKSRefuses(t *testing.T) {
	p256 := newKey(t, "a").key
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := PublicKey{ID: "a", Key: &p256.PublicKey}
	for _, c := range []struct {
		name string
		keys []PublicKey
		ok   bool
	}{
		{"one", []PublicKey{good}, true},
		{"twice", []PublicKey{good, good}, false},
		{"no kid", []PublicKey{{Key: &p256.PublicKey}}, false},
		{"no key", []PublicKey{{ID: "a"}}, false},
		{"P-384", []PublicKey{{ID: "a", Key: &p384.PublicKey}}, false},
	} {
		if _, err := MarshalJWKS(c.keys); (err == nil) != c.ok {
			t.Errorf("%s: %v, want ok %v", c.name, err, c.ok)
		}
	}
}

func FuzzParseJWKS(f *testing.F) {
	good := jwkText(`"kid":"a","alg":"ES256","use":"sig"`)
	for _, seed := range []string{
		`{"keys":[` + good + `]}`,
		`{"keys":[` + good + `,{"kty":"RSA"}]}`,
		`{"keys":[{"kty":"oct","k":"AAAA"}]}`,
		`{"keys":[` + strings.Replace(good, rfcY, rfcX, 1) + `]}`,
		`null`, `{`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := ParseJWKS(data)
		if err != nil {
			return
		}
		// What was accepted is public, on the curve, and survives being written again.
		var keys []PublicKey
		for _, id := range set.IDs() {
			k, err := set.Key(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, PublicKey{ID: id, Key: k})
		}
		out, err := MarshalJWKS(keys)
		if err != nil {
			t.Fatalf("accepted but not marshalled: %v", err)
		}
		again, err := ParseJWKS(out)
		if err != nil || fmt.Sprint(again.IDs()) != fmt.Sprint(set.IDs()) {
			t.Fatalf("second reading: %v, %v, want %v", again.IDs(), err, set.IDs())
		}
	})
}
