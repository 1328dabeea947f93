package reqsig

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	remitly "github.com/remitly-oss/httpsig-go"
	yaronf "github.com/yaronf/httpsign"

	"sallyport.dev/internal/problem"
)

var at = time.Unix(1_780_000_000, 0)

var secret = bytes.Repeat([]byte{7}, 64)

// received is a request as the door sees it.
func received(r *http.Request) *Request {
	return &Request{
		Method: r.Method, Scheme: "https", Authority: r.Host, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, HasQuery: r.URL.RawQuery != "" || r.URL.ForceQuery,
		Header: r.Header, Credential: "authorization", Body: r.ContentLength > 0,
	}
}

func request() *http.Request {
	r := httptest.NewRequest("POST", "https://shop.example/orders?a=b%20c", strings.NewReader("body"))
	r.Header.Set("Authorization", "Bearer spk_x")
	r.Header.Set("Content-Digest", "sha-256=:I0TFY5CYUvBJxzCoTLZDcyXkQR0LsAcwMJ0DyRKYCHs=:")
	return r
}

const components = `("@method" "@authority" "@path" "@query" "authorization" "content-digest")`

func params(over string) string {
	if over == "" {
		over = `;created=1780000000;keyid="k1";nonce="n1"`
	}
	return components + over
}

// sign signs what a request holds, whatever the input says.
func sign(t testing.TB, r *http.Request, in string, key ed25519.PrivateKey) *http.Request {
	t.Helper()
	r.Header.Set(InputHeader, "sig1="+in)
	parsed, err := parseInput("sig1=" + in)
	if err != nil {
		r.Header.Set(SignatureHeader, "sig1=:AAAA:")
		return r
	}
	s := Signature{in: parsed}
	base, err := s.base(received(r))
	if err != nil {
		r.Header.Set(SignatureHeader, "sig1=:AAAA:")
		return r
	}
	r.Header.Set(SignatureHeader, fmt.Sprintf("sig1=:%s:", encode(ed25519.Sign(key, base))))
	return r
}

func check(r *http.Request, key Key) problem.Reason {
	q := received(r)
	s, err := Parse(q, at)
	if err == nil {
		err = s.Verify(q, key)
	}
	return problem.ReasonOf(err)
}

func TestProfile(t *testing.T) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := Key{Algorithm: Ed25519, Public: pub}
	const rest = `;created=1780000000;keyid="k1";nonce="n1"`
	for _, c := range []struct {
		name, in string
		want     problem.Reason
	}{
		{"the whole", params(""), problem.OK},
		{"with alg and tag", params(rest + `;alg="ed25519";tag="shop"`), problem.OK},
		{"another alg", params(rest + `;alg="hmac-sha256"`), problem.ProofInvalid},
		{"target-uri alone", `("@method" "@target-uri" "authorization" "content-digest")` + rest, problem.OK},
		{"request-target", `("@method" "@authority" "@request-target" "authorization" "content-digest")` + rest, problem.OK},
		{"more fields", `("@method" "@target-uri" "@scheme" "authorization" "content-digest" "content-type")` + rest, problem.ProofInvalid}, // covered, not there
		{"no method", `("@target-uri" "authorization" "content-digest")` + rest, problem.ProofInvalid},
		{"no authority", `("@method" "@path" "@query" "authorization" "content-digest")` + rest, problem.ProofInvalid},
		{"no query", `("@method" "@authority" "@path" "authorization" "content-digest")` + rest, problem.ProofInvalid},
		{"no credential", `("@method" "@target-uri" "content-digest")` + rest, problem.ProofInvalid},
		{"no digest", `("@method" "@target-uri" "authorization")` + rest, problem.ProofInvalid},
		{"nothing", `()` + rest, problem.ProofInvalid},
		{"component twice", `("@method" "@method" "@target-uri" "authorization" "content-digest")` + rest, problem.ProofInvalid},
		{"component with parameter", `("@method" "@target-uri" "authorization";bs "content-digest")` + rest, problem.ProofInvalid},
		{"of the answer", `("@method" "@status" "@target-uri" "authorization" "content-digest")` + rest, problem.ProofInvalid},
		{"in capitals", `("@method" "@target-uri" "Authorization" "content-digest")` + rest, problem.ProofInvalid},
		{"no created", params(`;keyid="k1";nonce="n1"`), problem.ProofInvalid},
		{"no keyid", params(`;created=1780000000;nonce="n1"`), problem.ProofInvalid},
		{"no nonce", params(`;created=1780000000;keyid="k1"`), problem.ProofInvalid},
		{"parameter twice", params(rest + `;nonce="n2"`), problem.ProofInvalid},
		{"unknown parameter", params(rest + `;req="x"`), problem.ProofInvalid},
		{"fraction", params(`;created=1780000000.5;keyid="k1";nonce="n1"`), problem.ProofInvalid},
		{"leading zero", params(`;created=01780000000;keyid="k1";nonce="n1"`), problem.ProofInvalid},
		{"escape", params(`;created=1780000000;keyid="k\"1";nonce="n1"`), problem.ProofInvalid},
		{"spaces", params(` ;created=1780000000;keyid="k1";nonce="n1"`), problem.ProofInvalid},
		{"two signatures", params(rest) + `, sig2=()`, problem.ProofInvalid},
		{"old", params(`;created=1779999670;keyid="k1";nonce="n1"`), problem.OK},
		{"too old", params(`;created=1779999669;keyid="k1";nonce="n1"`), problem.ProofExpired},
		{"ahead", params(`;created=1780000030;keyid="k1";nonce="n1"`), problem.OK},
		{"of the future", params(`;created=1780000031;keyid="k1";nonce="n1"`), problem.ProofExpired},
		{"short life", params(`;created=1779999900;expires=1779999970;keyid="k1";nonce="n1"`), problem.OK},
		{"over", params(`;created=1779999900;expires=1779999969;keyid="k1";nonce="n1"`), problem.ProofExpired},
		{"long life", params(`;created=1780000000;expires=1780000301;keyid="k1";nonce="n1"`), problem.ProofInvalid},
		{"no life", params(`;created=1780000000;expires=1780000000;keyid="k1";nonce="n1"`), problem.ProofInvalid},
	} {
		if got := check(sign(t, request(), c.in, priv), key); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestChanged changes what was signed, after it was signed.
func TestChanged(t *testing.T) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*http.Request){
		"nothing":    func(*http.Request) {},
		"method":     func(r *http.Request) { r.Method = "PUT" },
		"host":       func(r *http.Request) { r.Host = "evil.example" },
		"path":       func(r *http.Request) { r.URL.Path = "/refunds" },
		"query":      func(r *http.Request) { r.URL.RawQuery = "a=c" },
		"no query":   func(r *http.Request) { r.URL.RawQuery = "" },
		"credential": func(r *http.Request) { r.Header.Set("Authorization", "Bearer spk_y") },
		"second":     func(r *http.Request) { r.Header.Add("Authorization", "Bearer spk_y") },
		"digest":     func(r *http.Request) { r.Header.Set("Content-Digest", "sha-256=:AAAA:") },
		"parameters": func(r *http.Request) {
			r.Header.Set(InputHeader, "sig1="+params(`;created=1780000001;keyid="k1";nonce="n1"`))
		},
		"label":      func(r *http.Request) { r.Header.Set(InputHeader, "sig2="+params("")) },
		"signature":  func(r *http.Request) { r.Header.Set(SignatureHeader, "sig1=:AAAA:") },
		"two inputs": func(r *http.Request) { r.Header.Add(InputHeader, "sig1="+params("")) },
		"none":       func(r *http.Request) { r.Header.Del(InputHeader); r.Header.Del(SignatureHeader) },
	} {
		want := problem.ProofInvalid
		switch name {
		case "nothing":
			want = problem.OK
		case "none":
			want = problem.ProofMissing
		}
		r := sign(t, request(), params(""), priv)
		change(r)
		if got := check(r, Key{Algorithm: Ed25519, Public: pub}); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	r := sign(t, request(), params(""), priv)
	for name, key := range map[string]Key{"another key": {Algorithm: Ed25519, Public: other}, "none": {}, "no public key": {Algorithm: Ed25519}, "no secret": {Algorithm: HMACSHA256}, "the public key as secret": {Algorithm: HMACSHA256, Secret: pub}} {
		if got := check(r, key); got != problem.ProofInvalid {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestOracles has two other implementations sign.
func TestOracles(t *testing.T) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	fields := yaronf.Headers("@method", "@authority", "@path", "@query", "authorization", "content-digest")
	config := yaronf.NewSignConfig().SetKeyID("k1").SetNonce("n1")
	ed, err := yaronf.NewEd25519Signer(priv, config, fields)
	if err != nil {
		t.Fatal(err)
	}
	mac, err := yaronf.NewHMACSHA256Signer(secret, config, fields)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		signer *yaronf.Signer
		key    Key
	}{"ed25519": {ed, Key{Algorithm: Ed25519, Public: pub}}, "hmac": {mac, Key{Algorithm: HMACSHA256, Secret: secret}}} {
		r := request()
		in, value, err := yaronf.SignRequest("sig1", *c.signer, r)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(InputHeader, in)
		r.Header.Set(SignatureHeader, value)
		q := received(r)
		s, err := Parse(q, time.Now()) // the oracle's clock
		if err != nil {
			t.Fatalf("%s: %s: %v", name, in, err)
		}
		if err := s.Verify(q, c.key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	signer, err := remitly.NewSigner(remitly.SigningProfile{
		Algorithm: remitly.Algo_ED25519, Fields: remitly.Fields("@method", "@authority", "@path", "@query", "authorization", "content-digest"),
		Metadata: []remitly.Metadata{remitly.MetaCreated, remitly.MetaKeyID, remitly.MetaNonce}, Label: "sig1",
	}, remitly.SigningKey{Key: priv, MetaKeyID: "k1"})
	if err != nil {
		t.Fatal(err)
	}
	r := request().WithContext(context.Background())
	if err := signer.Sign(r); err != nil {
		t.Fatal(err)
	}
	q := received(r)
	s, err := Parse(q, time.Now())
	if err != nil {
		t.Fatalf("%s: %v", r.Header.Get(InputHeader), err)
	}
	if err := s.Verify(q, Key{Algorithm: Ed25519, Public: pub}); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("sig1="+params(""), "sig1=:AAAA:")
	f.Add(`a=();created=1`, `a=::`)
	f.Fuzz(func(t *testing.T, in, value string) {
		r := request()
		r.Header[InputHeader], r.Header[SignatureHeader] = []string{in}, []string{value}
		q := received(r)
		s, err := Parse(q, at)
		if err != nil {
			return
		}
		if s.KeyID == "" || s.Nonce == "" {
			t.Errorf("%q has no keyid or nonce", in)
		}
		if s.Verify(q, Key{Algorithm: HMACSHA256, Secret: secret}) == nil {
			t.Errorf("%q %q holds", in, value)
		}
	})
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
