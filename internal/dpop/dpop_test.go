package dpop

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var now = time.Unix(1_780_000_000, 0)

var want = Expect{Method: "POST", URL: "https://shop.example/orders/7", Now: now}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sign makes a proof of claims as they are written.
func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, typ string, payload string) string {
	t.Helper()
	opts := (&jose.SignerOptions{EmbedJWK: true}).WithType(jose.ContentType(typ))
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	c, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fullySpecified makes a proof of EdDSA by another name.
func fullySpecified(t testing.TB, key ed25519.PrivateKey, name string) string {
	t.Helper()
	jwk, err := (&jose.JSONWebKey{Key: key.Public()}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	input := encode(fmt.Appendf(nil, `{"typ":"dpop+jwt","alg":%q,"jwk":%s}`, name, jwk)) + "." + encode([]byte(payload("")))
	return input + "." + encode(ed25519.Sign(key, []byte(input)))
}

func payload(over string) string {
	p := fmt.Sprintf(`"jti":"j1","htm":"POST","htu":"https://shop.example/orders/7","iat":%d`, now.Unix())
	if over != "" {
		name, _, _ := strings.Cut(over, ":")
		var kept []string
		for _, pair := range []string{`"jti":"j1"`, `"htm":"POST"`, `"htu":"https://shop.example/orders/7"`, fmt.Sprintf(`"iat":%d`, now.Unix())} {
			if !strings.HasPrefix(pair, name+":") {
				kept = append(kept, pair)
			}
		}
		p = strings.Join(append(kept, over), ",")
	}
	return "{" + p + "}"
}

func TestProofs(t *testing.T) {
	key := ecKey(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	token := want
	token.Token = "spa_x"
	for _, c := range []struct {
		name   string
		proof  string
		expect Expect
		good   bool
	}{
		{"as it should be", sign(t, jose.ES256, key, "dpop+jwt", payload("")), want, true},
		{"EdDSA", sign(t, jose.EdDSA, ed, "dpop+jwt", payload("")), want, true},
		{"Ed25519 (RFC 9864)", fullySpecified(t, ed, "Ed25519"), want, true},
		{"Ed25519 in other letters", fullySpecified(t, ed, "ed25519"), want, false},
		{"Ed448 with that key", fullySpecified(t, ed, "Ed448"), want, false},
		{"ES256 with that key", fullySpecified(t, ed, "ES256"), want, false},
		{"PS256", sign(t, jose.PS256, big, "dpop+jwt", payload("")), want, true},
		{"a small RSA key", sign(t, jose.PS256, small, "dpop+jwt", payload("")), want, false},
		{"another curve", sign(t, jose.ES384, p384, "dpop+jwt", payload("")), want, false},
		{"another typ", sign(t, jose.ES256, key, "JWT", payload("")), want, false},
		{"default port, case, query", sign(t, jose.ES256, key, "dpop+jwt", payload(`"htu":"HTTPS://Shop.Example:443/orders/%37?a=b#c"`)), want, true},
		{"another host", sign(t, jose.ES256, key, "dpop+jwt", payload(`"htu":"https://evil.example/orders/7"`)), want, false},
		{"user information", sign(t, jose.ES256, key, "dpop+jwt", payload(`"htu":"https://shop.example@evil.example/orders/7"`)), want, false},
		{"another path", sign(t, jose.ES256, key, "dpop+jwt", payload(`"htu":"https://shop.example/orders/8"`)), want, false},
		{"an escaped slash", sign(t, jose.ES256, key, "dpop+jwt", payload(`"htu":"https://shop.example/orders%2F7"`)), want, false},
		{"plain http", sign(t, jose.ES256, key, "dpop+jwt", payload(`"htu":"http://shop.example/orders/7"`)), want, false},
		{"no htu", sign(t, jose.ES256, key, "dpop+jwt", payload(`"htu":""`)), want, false},
		{"another method", sign(t, jose.ES256, key, "dpop+jwt", payload(`"htm":"GET"`)), want, false},
		{"the method in lower case", sign(t, jose.ES256, key, "dpop+jwt", payload(`"htm":"post"`)), want, false},
		{"a minute old", sign(t, jose.ES256, key, "dpop+jwt", payload(fmt.Sprintf(`"iat":%d`, now.Unix()-60))), want, true},
		{"too old", sign(t, jose.ES256, key, "dpop+jwt", payload(fmt.Sprintf(`"iat":%d`, now.Unix()-61))), want, false},
		{"ahead", sign(t, jose.ES256, key, "dpop+jwt", payload(fmt.Sprintf(`"iat":%d`, now.Unix()+10))), want, true},
		{"of the future", sign(t, jose.ES256, key, "dpop+jwt", payload(fmt.Sprintf(`"iat":%d`, now.Unix()+11))), want, false},
		{"iat as text", sign(t, jose.ES256, key, "dpop+jwt", payload(fmt.Sprintf(`"iat":"%d"`, now.Unix()))), want, false},
		{"iat null", sign(t, jose.ES256, key, "dpop+jwt", payload(`"iat":null`)), want, false},
		{"no jti", sign(t, jose.ES256, key, "dpop+jwt", payload(`"jti":""`)), want, false},
		{"a huge jti", sign(t, jose.ES256, key, "dpop+jwt", payload(`"jti":"`+strings.Repeat("x", 257)+`"`)), want, false},
		{"a claim twice", sign(t, jose.ES256, key, "dpop+jwt", strings.Replace(payload(""), `"htm":"POST"`, `"htm":"GET","htm":"POST"`, 1)), want, false},
		{"a claim in other letters", sign(t, jose.ES256, key, "dpop+jwt", strings.Replace(payload(""), `"htm":`, `"HTM":`, 1)), want, false},
		{"a claim twice, once in other letters", sign(t, jose.ES256, key, "dpop+jwt", strings.Replace(payload(""), `"jti":"j1"`, `"jti":"j1","Jti":"j2"`, 1)), want, true},
		{"a claim that nobody knows", sign(t, jose.ES256, key, "dpop+jwt", strings.Replace(payload(""), `"jti"`, `"x":{"htm":["a"]},"jti"`, 1)), want, true},
		{"trailing data", sign(t, jose.ES256, key, "dpop+jwt", payload("")+"{}"), want, false},
		{"no object", sign(t, jose.ES256, key, "dpop+jwt", `["jti"]`), want, false},
		{"of this token", sign(t, jose.ES256, key, "dpop+jwt", payload(`"ath":"`+hash("spa_x")+`"`)), token, true},
		{"of another token", sign(t, jose.ES256, key, "dpop+jwt", payload(`"ath":"`+hash("spa_y")+`"`)), token, false},
		{"of no token", sign(t, jose.ES256, key, "dpop+jwt", payload("")), token, false},
		{"of a token where there is none", sign(t, jose.ES256, key, "dpop+jwt", payload(`"ath":"`+hash("spa_x")+`"`)), want, false},
		{"empty", "", want, false},
		{"too long", strings.Repeat("a", maxProof+1), want, false},
		{"two", sign(t, jose.ES256, key, "dpop+jwt", payload("")) + "," + sign(t, jose.ES256, key, "dpop+jwt", payload("")), want, false},
	} {
		got, err := Verify(c.proof, c.expect)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.good && (got.ID != "j1" || len(got.JKT) != 43) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestForged holds what an attacker makes of the header.
func TestForged(t *testing.T) {
	key := ecKey(t)
	good := sign(t, jose.ES256, key, "dpop+jwt", payload(""))
	part := strings.Split(good, ".")
	public := jose.JSONWebKey{Key: &key.PublicKey}
	private := jose.JSONWebKey{Key: key}
	secret := jose.JSONWebKey{Key: []byte("0123456789abcdef0123456789abcdef")}
	header := func(alg string, jwk any) string {
		b, ok := jwk.(jose.JSONWebKey)
		text := ""
		if ok {
			raw, err := b.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			text = `,"jwk":` + string(raw)
		}
		return base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"dpop+jwt","alg":"` + alg + `"` + text + `}`))
	}
	for name, proof := range map[string]string{
		"alg none":           header("none", public) + "." + part[1] + ".",
		"HS256":              header("HS256", secret) + "." + part[1] + "." + part[2],
		"no key":             header("ES256", nil) + "." + part[1] + "." + part[2],
		"a private key":      header("ES256", private) + "." + part[1] + "." + part[2],
		"another's key":      header("ES256", jose.JSONWebKey{Key: &ecKey(t).PublicKey}) + "." + part[1] + "." + part[2],
		"no signature":       part[0] + "." + part[1] + ".",
		"a changed claim":    part[0] + "." + part[1][:len(part[1])-2] + "AA." + part[2],
		"a changed sign":     part[0] + "." + part[1] + "." + strings.Repeat("A", len(part[2])),
		"two parts":          part[0] + "." + part[1],
		"JSON serialization": `{"payload":"` + part[1] + `","protected":"` + part[0] + `","signature":"` + part[2] + `"}`,
	} {
		if _, err := Verify(proof, want); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := Verify(good, want); err != nil {
		t.Fatalf("positive control: %v", err)
	}
}

func TestNonces(t *testing.T) {
	n, other := NewNonces(make([]byte, 32)), NewNonces([]byte("0123456789abcdef0123456789abcdef"))
	at := n.At(now)
	for _, c := range []struct {
		nonce string
		after time.Duration
		good  bool
	}{
		{at, 0, true}, {at, 2 * time.Minute, true}, {at, 3 * time.Minute, false}, {at, -time.Minute, false},
		{other.At(now), 0, false}, {"", 0, false}, {at[:len(at)-1], 0, false}, {at + "A", 0, false},
	} {
		if got := n.Good(c.nonce, now.Add(c.after)); got != c.good {
			t.Errorf("%q after %v: %v", c.nonce, c.after, got)
		}
	}
}

// TestZeroNonces: without a secret everybody could make nonces.
func TestZeroNonces(t *testing.T) {
	var none Nonces
	if none.Good(none.At(now), now) || none.Good(NewNonces(nil).At(now), now) {
		t.Error("a nonce of no secret is good")
	}
}

func FuzzVerify(f *testing.F) {
	key := ecKey(f)
	good := sign(f, jose.ES256, key, "dpop+jwt", payload(""))
	f.Add(good)
	f.Add("..")
	f.Add(strings.Replace(good, ".", "..", 1))
	f.Fuzz(func(t *testing.T, proof string) {
		p, err := Verify(proof, want)
		if err == nil && (p.ID == "" || p.JKT == "") {
			t.Errorf("%q holds without id or key", proof)
		}
	})
}
