package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// signed makes a JWS whose header names an algorithm as it is given.
func signed(t testing.TB, name string, key ed25519.PrivateKey) *jose.JSONWebSignature {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	input := encode([]byte(`{"alg":"`+name+`"}`)) + "." + encode([]byte("payload"))
	return parsed(t, input+"."+encode(ed25519.Sign(key, []byte(input))))
}

func parsed(t testing.TB, text string) *jose.JSONWebSignature {
	t.Helper()
	s, err := jose.ParseSignedCompact(text, Names([]jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.RS256, jose.PS256}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func by(t testing.TB, name jose.SignatureAlgorithm, key any) *jose.JSONWebSignature {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: name, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Sign([]byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, text)
}

func TestVerify(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		signed *jose.JSONWebSignature
		key    crypto.PublicKey
		good   bool
	}{
		{"EdDSA", signed(t, "EdDSA", private), public, true},
		{"Ed25519", signed(t, "Ed25519", private), public, true},
		{"EdDSA, another key", signed(t, "EdDSA", private), other, false},
		{"Ed25519, another key", signed(t, "Ed25519", private), other, false},
		{"ES256", by(t, jose.ES256, ec), ec.Public(), true},
		{"ES256 by the name of Ed25519", signed(t, "ES256", private), public, false},
		{"Ed25519 with a key of ES256", signed(t, "Ed25519", private), ec.Public(), false},
		{"PS256", by(t, jose.PS256, of), of.Public(), true},
		{"a small key", by(t, jose.RS256, small), small.Public(), false},
		{"a secret", by(t, jose.ES256, ec), []byte("0123456789abcdef0123456789abcdef"), false},
		{"a private key", signed(t, "Ed25519", private), private, false},
		{"no key", signed(t, "Ed25519", private), nil, false},
	} {
		payload, err := Verify(c.signed, c.key)
		if (err == nil) != c.good || c.good && string(payload) != "payload" {
			t.Errorf("%s: %q, %v", c.name, payload, err)
		}
	}
	two := signed(t, "EdDSA", private)
	two.Signatures = append(two.Signatures, two.Signatures[0])
	if _, err := Verify(two, public); err == nil {
		t.Error("two signatures")
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ list, want []jose.SignatureAlgorithm }{
		{nil, nil},
		{[]jose.SignatureAlgorithm{jose.ES256}, []jose.SignatureAlgorithm{jose.ES256}},
		{[]jose.SignatureAlgorithm{jose.EdDSA, jose.ES256}, []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, Ed25519}},
		{[]jose.SignatureAlgorithm{Ed25519, jose.EdDSA}, []jose.SignatureAlgorithm{Ed25519, jose.EdDSA}},
	} {
		if got := Names(c.list); !slices.Equal(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.list, got, c.want)
		}
	}
	for from, want := range map[jose.SignatureAlgorithm]jose.SignatureAlgorithm{Ed25519: jose.EdDSA, jose.EdDSA: jose.EdDSA, "ed25519": "ed25519", "Ed448": "Ed448", jose.ES256: jose.ES256} {
		if got := Name(from); got != want {
			t.Errorf("%s: got %s, want %s", from, got, want)
		}
	}
}

func TestStrongRSA(t *testing.T) {
	for _, c := range []struct {
		bits uint
		e    int
		good bool
	}{{2048, 65537, true}, {8192, 3, true}, {2047, 65537, false}, {8193, 65537, false}, {2048, 1, false}, {2048, 65536, false}, {2048, 1<<31 + 1, false}} {
		k := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), c.bits-1), E: c.e}
		if got := StrongRSA(k) == nil; got != c.good {
			t.Errorf("%d bits, exponent %d: %v, want %v", c.bits, c.e, got, c.good)
		}
	}
}
