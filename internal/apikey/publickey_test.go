package apikey

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
)

// forms are the spellings of a public key that are taken.
func forms(t testing.TB, public ed25519.PublicKey) map[string]string {
	t.Helper()
	return map[string]string{
		"PEM":              pemOf(t, public),
		"base64":           base64.StdEncoding.EncodeToString(public),
		"base64, a line":   base64.StdEncoding.EncodeToString(public) + "\n",
		"base64, unpadded": base64.RawStdEncoding.EncodeToString(public),
		"base64url":        base64.RawURLEncoding.EncodeToString(public),
		"JWK":              jwkOf(public, ""),
		"JWK of a set":     jwkOf(public, `,"kid":"1","use":"sig","alg":"EdDSA"`),
	}
}

func pemOf(t testing.TB, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func jwkOf(public []byte, more string) string {
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q%s}`, base64.RawURLEncoding.EncodeToString(public), more)
}

func TestParsePublicKey(t *testing.T) {
	for i := range 8 { // with and without the characters in which the alphabets differ
		public, _ := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i)}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
		for name, text := range forms(t, public) {
			if got, err := ParsePublicKey(text); err != nil || !got.Equal(public) {
				t.Errorf("%s of key %d: %v, %v", name, i, got, err)
			}
		}
	}
}

func TestParsePublicKeyRefuses(t *testing.T) {
	public := testPublic()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	seed := base64.RawURLEncoding.EncodeToString(private.Seed())
	good := pemOf(t, public)
	for _, c := range []struct {
		what, text string
		want       error
	}{
		{"nothing", "", errPublicKey},
		{"words", "my key", errPublicKey},
		{"PEM of a private key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), errPrivateKey},
		{"PEM of OpenSSH", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", errPrivateKey},
		{"PEM of both halves", good + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), errPrivateKey},
		{"private JWK", jwkOf(public, `,"d":"`+seed+`"`), errPrivateKey},
		{"private key in base64", base64.StdEncoding.EncodeToString(private), errPrivateKey},
		{"PEM of two", good + good, errPublicKey},
		{"PEM of another kind", pemOf(t, other.Public()), errPublicKey},
		{"PEM of a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", errPublicKey},
		{"PEM without an end", good[:60], errPublicKey},
		{"JWK of another curve", strings.Replace(jwkOf(public, ""), "Ed25519", "X25519", 1), errPublicKey},
		{"JWK of another kind", strings.Replace(jwkOf(public, ""), "OKP", "EC", 1), errPublicKey},
		{"JWK to encrypt", jwkOf(public, `,"use":"enc"`), errPublicKey},
		{"JWK of another algorithm", jwkOf(public, `,"alg":"HS256"`), errPublicKey},
		{"JWK with more behind", jwkOf(public, "") + "{}", errPublicKey},
		{"JWK, padded", strings.Replace(jwkOf(public, ""), `"}`, `="}`, 1), errPublicKey},
		{"JWK that is short", jwkOf(public[:31], ""), errPublicKey},
		{"set of JWKs", `{"keys":[` + jwkOf(public, "") + `]}`, errPublicKey},
		{"31 bytes", base64.StdEncoding.EncodeToString(public[:31]), errPublicKey},
		{"33 bytes", base64.StdEncoding.EncodeToString(append([]byte{0}, public...)), errPublicKey},
		{"hexadecimal", hex.EncodeToString(public), errPublicKey},
		{"base64 with a line end within", base64.StdEncoding.EncodeToString(public)[:20] + "\n" + base64.StdEncoding.EncodeToString(public)[20:], errPublicKey},
		{"too long", good + strings.Repeat("\n", publicKeyMax), errPublicKey},
		{"zeroes", base64.StdEncoding.EncodeToString(make([]byte, 32)), errWeakKey},
	} {
		got, err := ParsePublicKey(c.text)
		if err != c.want || got != nil {
			t.Errorf("%s: %v, %v, want %v", c.what, got, err, c.want)
		}
	}
}

// TestSafePoint tries the points of small order, their second spellings and what
// is on no curve, against keys that are good.
func TestSafePoint(t *testing.T) {
	for _, bad := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000", // order 1
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 2
		"0000000000000000000000000000000000000000000000000000000000000000", // order 4
		"0000000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"0100000000000000000000000000000000000000000000000000000000000080", // second spellings
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = 3 + p: the point is good, the spelling is not
		"0200000000000000000000000000000000000000000000000000000000000000", // on no curve
	} {
		b, err := hex.DecodeString(bad)
		if err != nil {
			t.Fatal(err)
		}
		if safePoint(b) {
			t.Errorf("%s is taken", bad)
		}
	}
	// RFC 8032 section 7.1, and some of our own.
	good := []string{
		"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
		"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
		"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
		"278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e",
	}
	for range 20 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		good = append(good, hex.EncodeToString(public))
	}
	for _, text := range good {
		if b, err := hex.DecodeString(text); err != nil || !safePoint(b) {
			t.Errorf("%s is refused (%v)", text, err)
		}
	}
}

func FuzzParsePublicKey(f *testing.F) {
	for _, text := range forms(f, testPublic()) {
		f.Add(text)
	}
	f.Add(`{"kty":"OKP","crv":"Ed25519","x":"","d":null}`)
	f.Add("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----")
	f.Add("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParsePublicKey(text)
		if (err == nil) != (len(key) == ed25519.PublicKeySize) {
			t.Fatalf("ParsePublicKey(%q) = %v, %v", text, key, err)
		}
		if err != nil {
			if len(text) > 40 && strings.Contains(err.Error(), text) {
				t.Errorf("the error shows the text: %v", err)
			}
			return
		}
		if again, err := ParsePublicKey(base64.StdEncoding.EncodeToString(key)); err != nil || !again.Equal(key) {
			t.Errorf("%q: its key %x does not read back: %v", text, key, err)
		}
	})
}
