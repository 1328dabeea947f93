package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
)

const goodHeader = `{"alg":"ES256","kid":"k1","typ":"txntoken+jwt"}`

// goodPayload is a payload that holds at start.
func goodPayload() string {
	return fmt.Sprintf(`{"iss":"https://shop.example","iat":%d,"exp":%d,"aud":"shop.example","txn":"t","sub":"ann","scope":"",`+
		`"tctx":{"roles":[],"level":1,"client":""},"rctx":{"listener":"public","method":"session"},"req_wl":"spiffe://shop.example/gateway"}`,
		start.Unix(), start.Unix()+60)
}

// with replaces a piece of the good payload and fails when it is not there.
func with(t *testing.T, old, replacement string) string {
	t.Helper()
	p := goodPayload()
	if !strings.Contains(p, old) {
		t.Fatalf("the payload does not hold %s", old)
	}
	return strings.Replace(p, old, replacement, 1)
}

// Every row is signed well by the zone's own key, except where the row says so:
// what is refused is refused for the one thing that the row changes.
func TestVerifyRefuses(t *testing.T) {
	at := &clock{start}
	r := ring{newKey(t, "k1")}
	own, other := r[0].key, newKey(t, "k1").key
	enc := base64.RawURLEncoding
	long := strings.Repeat("x", MaxSize)

	for _, c := range []struct {
		name  string
		value string
	}{
		// signature and key
		{"foreign key under our kid", forge(t, goodHeader, goodPayload(), other)},
		{"unknown kid", forge(t, `{"alg":"ES256","kid":"k2","typ":"txntoken+jwt"}`, goodPayload(), own)},
		{"kid is a path", forge(t, `{"alg":"ES256","kid":"../../k1","typ":"txntoken+jwt"}`, goodPayload(), own)},
		{"no kid", forge(t, `{"alg":"ES256","typ":"txntoken+jwt"}`, goodPayload(), own)},
		{"empty kid", forge(t, `{"alg":"ES256","kid":"","typ":"txntoken+jwt"}`, goodPayload(), own)},
		{"embedded jwk of the attacker", forge(t, `{"alg":"ES256","jwk":`+jwkOf(t, other)+`,"kid":"k1","typ":"txntoken+jwt"}`, goodPayload(), other)},
		{"embedded jwk of our own", forge(t, `{"alg":"ES256","jwk":`+jwkOf(t, own)+`,"kid":"k1","typ":"txntoken+jwt"}`, goodPayload(), own)},
		{"jku", forge(t, `{"alg":"ES256","jku":"https://evil.example/k","kid":"k1","typ":"txntoken+jwt"}`, goodPayload(), own)},
		{"x5c", forge(t, `{"alg":"ES256","x5c":["AAAA"],"kid":"k1","typ":"txntoken+jwt"}`, goodPayload(), own)},
		{"crit of an unknown name", forge(t, `{"alg":"ES256","crit":["exp"],"kid":"k1","typ":"txntoken+jwt"}`, goodPayload(), own)},
		{"crit b64", forge(t, `{"alg":"ES256","b64":true,"crit":["b64"],"kid":"k1","typ":"txntoken+jwt"}`, goodPayload(), own)},
		{"empty signature", dot(enc, goodHeader, goodPayload()) + "."},
		{"signature of zeros", dot(enc, goodHeader, goodPayload()) + "." + enc.EncodeToString(make([]byte, 64))},
		{"signature in DER", derSigned(t, own)},

		// algorithm
		{"alg none, no signature", dot(enc, `{"alg":"none","kid":"k1","typ":"txntoken+jwt"}`, goodPayload()) + "."},
		{"alg None", dot(enc, `{"alg":"None","kid":"k1","typ":"txntoken+jwt"}`, goodPayload()) + "."},
		{"alg none, our signature", forge(t, `{"alg":"none","kid":"k1","typ":"txntoken+jwt"}`, goodPayload(), own)},
		{"no alg", forge(t, `{"kid":"k1","typ":"txntoken+jwt"}`, goodPayload(), own)},
		{"alg twice", forge(t, `{"alg":"none","alg":"ES256","kid":"k1","typ":"txntoken+jwt"}`, goodPayload(), own)},
		{"alg es256", forge(t, `{"alg":"es256","kid":"k1","typ":"txntoken+jwt"}`, goodPayload(), own)},
		{"HS256, secret is the public key in PEM", hs256(t, pemOf(t, own))},
		{"HS256, secret is the public key in DER", hs256(t, derOf(t, own))},
		{"HS256, secret is the public key as a point", hs256(t, pointOf(t, own))},
		{"HS256, secret is the public key as JWK", hs256(t, []byte(jwkOf(t, own)))},
		{"RS256 named", forge(t, `{"alg":"RS256","kid":"k1","typ":"txntoken+jwt"}`, goodPayload(), own)},

		// type
		{"typ JWT", forge(t, `{"alg":"ES256","kid":"k1","typ":"JWT"}`, goodPayload(), own)},
		{"no typ", forge(t, `{"alg":"ES256","kid":"k1"}`, goodPayload(), own)},
		{"typ in upper case", forge(t, `{"alg":"ES256","kid":"k1","typ":"TXNTOKEN+JWT"}`, goodPayload(), own)},
		{"typ null", forge(t, `{"alg":"ES256","kid":"k1","typ":null}`, goodPayload(), own)},

		// claims
		{"foreign issuer", forge(t, goodHeader, with(t, `"iss":"https://shop.example"`, `"iss":"https://evil.example"`), own)},
		{"no issuer", forge(t, goodHeader, with(t, `"iss":"https://shop.example",`, ``), own)},
		{"foreign zone", forge(t, goodHeader, with(t, `"aud":"shop.example"`, `"aud":"bank.example"`), own)},
		{"zone in upper case", forge(t, goodHeader, with(t, `"aud":"shop.example"`, `"aud":"SHOP.example"`), own)},
		{"no aud", forge(t, goodHeader, with(t, `"aud":"shop.example",`, ``), own)},
		{"empty aud", forge(t, goodHeader, with(t, `"aud":"shop.example"`, `"aud":""`), own)},
		{"aud is a list with our zone", forge(t, goodHeader, with(t, `"aud":"shop.example"`, `"aud":["shop.example"]`), own)},
		{"aud is a list of two", forge(t, goodHeader, with(t, `"aud":"shop.example"`, `"aud":["shop.example","bank.example"]`), own)},
		{"aud twice", forge(t, goodHeader, with(t, `"aud":"shop.example"`, `"aud":"bank.example","aud":"shop.example"`), own)},
		{"AUD beside a foreign aud", forge(t, goodHeader, with(t, `"aud":"shop.example"`, `"aud":"bank.example","AUD":"shop.example"`), own)},
		{"empty sub", forge(t, goodHeader, with(t, `"sub":"ann"`, `"sub":""`), own)},
		{"no sub", forge(t, goodHeader, with(t, `"sub":"ann",`, ``), own)},
		{"sub null", forge(t, goodHeader, with(t, `"sub":"ann"`, `"sub":null`), own)},
		{"sub a number", forge(t, goodHeader, with(t, `"sub":"ann"`, `"sub":1`), own)},
		{"sub twice", forge(t, goodHeader, with(t, `"sub":"ann"`, `"sub":"ann","sub":"eve"`), own)},
		{"sub twice by escape", forge(t, goodHeader, with(t, `"sub":"ann"`, `"sub":"ann","s\u0075b":"eve"`), own)},
		{"sub is not UTF-8", forge(t, goodHeader, with(t, `"sub":"ann"`, "\"sub\":\"a\xffn\""), own)},
		{"roles twice", forge(t, goodHeader, with(t, `"roles":[]`, `"roles":[],"roles":["admin"]`), own)},
		{"roles a string", forge(t, goodHeader, with(t, `"roles":[]`, `"roles":"admin"`), own)},
		{"no txn", forge(t, goodHeader, with(t, `"txn":"t",`, ``), own)},
		{"malformed scope", forge(t, goodHeader, with(t, `"scope":""`, `"scope":"a  b"`), own)},
		{"workload of another zone", forge(t, goodHeader, with(t, `spiffe://shop.example/`, `spiffe://bank.example/`), own)},
		{"workload of a zone that starts like ours", forge(t, goodHeader, with(t, `spiffe://shop.example/`, `spiffe://shop.example.evil/`), own)},
		{"no workload", forge(t, goodHeader, with(t, `,"req_wl":"spiffe://shop.example/gateway"`, ``), own)},
		{"trailing data", forge(t, goodHeader, goodPayload()+"{}", own)},
		{"claims null", forge(t, goodHeader, "null", own)},
		{"claims a list", forge(t, goodHeader, "["+goodPayload()+"]", own)},
		{"claims empty", forge(t, goodHeader, "", own)},

		// life
		{"no exp", forge(t, goodHeader, with(t, fmt.Sprintf(`"exp":%d,`, start.Unix()+60), ""), own)},
		{"no iat", forge(t, goodHeader, with(t, fmt.Sprintf(`"iat":%d,`, start.Unix()), ""), own)},
		{"exp before iat", forge(t, goodHeader, with(t, fmt.Sprint(start.Unix()+60), fmt.Sprint(start.Unix()-1)), own)},
		{"life over the bound", forge(t, goodHeader, with(t, fmt.Sprint(start.Unix()+60), fmt.Sprint(start.Unix()+301)), own)},
		{"life that overflows", forge(t, goodHeader, strings.Replace(with(t, fmt.Sprint(start.Unix()+60), "9223372036854775807"), fmt.Sprintf(`"iat":%d`, start.Unix()), `"iat":-9223372036854775808`, 1), own)},
		{"exp beyond int64", forge(t, goodHeader, with(t, fmt.Sprint(start.Unix()+60), "9223372036854775808"), own)},
		{"exp a string", forge(t, goodHeader, with(t, fmt.Sprintf(`"exp":%d`, start.Unix()+60), fmt.Sprintf(`"exp":"%d"`, start.Unix()+60)), own)},
		{"exp a fraction", forge(t, goodHeader, with(t, fmt.Sprint(start.Unix()+60), fmt.Sprintf("%d.5", start.Unix()+60)), own)},

		// form
		{"empty", ""},
		{"two segments", dot(enc, goodHeader, goodPayload())},
		{"four segments", forge(t, goodHeader, goodPayload(), own) + ".x"},
		{"JWS in JSON", `{"payload":"` + enc.EncodeToString([]byte(goodPayload())) + `"}`},
		{"too long", long},
		{"too long, well formed", forge(t, goodHeader, with(t, `"sub":"ann"`, `"sub":"`+long+`"`), own)},
		{"leading space", " " + forge(t, goodHeader, goodPayload(), own)},
		{"trailing line break", forge(t, goodHeader, goodPayload(), own) + "\n"},
		{"line break inside", breakLine(forge(t, goodHeader, goodPayload(), own))},
		{"padding", forge(t, goodHeader, goodPayload(), own) + "=="},
		{"second spelling of the signature", respell(t, forge(t, goodHeader, goodPayload(), own))},
	} {
		v := newVerifier(t, r.set(t), at.Now)
		claims, err := v.Verify(t.Context(), c.value)
		if claims != nil || problem.ReasonOf(err) != problem.InsideTokenInvalid {
			t.Errorf("%s: got %+v, %v, want %v", c.name, claims, err, problem.InsideTokenInvalid)
		}
		if n := v.cache.size(); n != 0 {
			t.Errorf("%s: %d refused tokens are remembered", c.name, n)
		}
	}

	// The positive control: the same workshop makes tokens that pass.
	for _, c := range []struct{ name, value string }{
		{"as it is", forge(t, goodHeader, goodPayload(), own)},
		{"header in another order", forge(t, `{"typ":"txntoken+jwt", "kid":"k1","alg":"ES256"}`, goodPayload(), own)},
		{"unknown claim", forge(t, goodHeader, with(t, `"txn":"t"`, `"txn":"t","new":{"a":1}`), own)},
		{"life at the bound", forge(t, goodHeader, with(t, fmt.Sprint(start.Unix()+60), fmt.Sprint(start.Unix()+300)), own)},
	} {
		if _, err := newVerifier(t, r.set(t), at.Now).Verify(t.Context(), c.value); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Any single changed character of any segment is refused.
func TestTamperedTokenIsRefused(t *testing.T) {
	at := &clock{start}
	r := ring{newKey(t, "k1")}
	value := forge(t, goodHeader, goodPayload(), r[0].key)
	for _, warm := range []bool{false, true} {
		v := newVerifier(t, r.set(t), at.Now)
		if warm { // the good one is remembered: its neighbours must not profit
			if _, err := v.Verify(t.Context(), value); err != nil {
				t.Fatal(err)
			}
		}
		for i := range len(value) {
			b := []byte(value)
			if b[i] == 'A' {
				b[i] = 'B'
			} else {
				b[i] = 'A'
			}
			if _, err := v.Verify(t.Context(), string(b)); problem.ReasonOf(err) != problem.InsideTokenInvalid {
				t.Fatalf("character %d changed (warm %v): %v, want %v", i, warm, err, problem.InsideTokenInvalid)
			}
		}
	}
}

func TestMovedKeyID(t *testing.T) {
	at := &clock{start}
	r := ring{newKey(t, "k1"), newKey(t, "k2")}
	v := newVerifier(t, r.set(t), at.Now)
	moved := forge(t, goodHeader, goodPayload(), r[1].key) // says k1, signed by k2
	if _, err := v.Verify(t.Context(), moved); problem.ReasonOf(err) != problem.InsideTokenInvalid {
		t.Errorf("moved kid: %v, want %v", err, problem.InsideTokenInvalid)
	}
	kept := forge(t, strings.Replace(goodHeader, "k1", "k2", 1), goodPayload(), r[1].key)
	if _, err := v.Verify(t.Context(), kept); err != nil {
		t.Errorf("right kid: %v", err)
	}
}

func TestClockSkew(t *testing.T) {
	r := ring{newKey(t, "k1")}
	value := mint(t, newMinter(t, r, (&clock{start}).Now)).Value // lives [start, start+60 s)
	for _, c := range []struct {
		leeway, at time.Duration
		want       problem.Reason
	}{
		{0, 0, problem.OK}, // default leeway, 5 s
		{0, 59 * time.Second, problem.OK},
		{0, 65*time.Second - 1, problem.OK},
		{0, 65 * time.Second, problem.InsideTokenExpired},
		{0, -5 * time.Second, problem.OK},
		{0, -5*time.Second - 1, problem.InsideTokenExpired},
		{time.Nanosecond, 60 * time.Second, problem.OK},
		{time.Nanosecond, 60*time.Second + 1, problem.InsideTokenExpired},
		{MaxLeeway, 2*time.Minute - 1, problem.OK},
		{MaxLeeway, 2 * time.Minute, problem.InsideTokenExpired},
		{MaxLeeway, -time.Minute, problem.OK},
		{MaxLeeway, -time.Minute - 1, problem.InsideTokenExpired},
		{MaxLeeway, 100 * 365 * 24 * time.Hour, problem.InsideTokenExpired},
	} {
		for _, warm := range []bool{false, true} {
			at := &clock{start}
			v, err := NewVerifier(VerifierConfig{Zone: testZone, Issuer: testIssuer, Keys: r.set(t), Leeway: c.leeway, Clock: at.Now})
			if err != nil {
				t.Fatal(err)
			}
			if warm {
				if _, err := v.Verify(t.Context(), value); err != nil {
					t.Fatal(err)
				}
			}
			at.now = start.Add(c.at)
			_, err = v.Verify(t.Context(), value)
			if got := problem.ReasonOf(err); got != c.want {
				t.Errorf("leeway %s, at start%+v, warm %v: %v (%v), want %v", c.leeway, c.at, warm, got, err, c.want)
			}
		}
	}
}

// source is a KeySource whose answer can be changed.
type source struct {
	key *ecdsa.PublicKey
	err error
}

func (s *source) Key(context.Context, string) (*ecdsa.PublicKey, error) { return s.key, s.err }

func TestWithdrawnKeyEndsRememberedTokens(t *testing.T) {
	at := &clock{start}
	r := ring{newKey(t, "k1")}
	value := mint(t, newMinter(t, r, at.Now)).Value
	down := problem.New(problem.InsideUnavailable, errors.New("no keys yet"))
	for _, c := range []struct {
		name string
		then source
		want problem.Reason
	}{
		{"kept", source{key: &r[0].key.PublicKey}, problem.OK},
		{"withdrawn", source{err: ErrUnknownKey}, problem.InsideTokenInvalid},
		{"replaced under the same kid", source{key: &newKey(t, "k1").key.PublicKey}, problem.InsideTokenInvalid},
		{"source answers nothing", source{}, problem.InsideTokenInvalid},
		{"source is down", source{err: fmt.Errorf("guard: %w", down)}, problem.InsideUnavailable},
	} {
		s := &source{key: &r[0].key.PublicKey}
		v := newVerifier(t, s, at.Now)
		for range 2 {
			if _, err := v.Verify(t.Context(), value); err != nil {
				t.Fatal(err)
			}
		}
		if v.cache.size() != 1 {
			t.Fatal("the token is not remembered: the test proves nothing")
		}
		*s = c.then
		if _, err := v.Verify(t.Context(), value); problem.ReasonOf(err) != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if want := map[bool]int{true: 1, false: 0}[c.want == problem.OK]; v.cache.size() != want {
			t.Errorf("%s: %d tokens remembered, want %d", c.name, v.cache.size(), want)
		}
	}
}

// Errors name what is wrong, never the token.
func TestErrorsDoNotShowTheToken(t *testing.T) {
	r := ring{newKey(t, "k1")}
	value := forge(t, goodHeader, with(t, `"aud":"shop.example"`, `"aud":"bank.example"`), r[0].key)
	_, err := newVerifier(t, r.set(t), (&clock{start}).Now).Verify(t.Context(), value)
	if err == nil || !strings.Contains(err.Error(), "bank.example") {
		t.Errorf("error %v, want the audience in it", err)
	}
	for _, part := range strings.Split(value, ".") {
		if strings.Contains(err.Error(), part) {
			t.Errorf("error %v shows a segment of the token", err)
		}
	}
}

func dot(enc *base64.Encoding, header, payload string) string {
	return enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(payload))
}

func breakLine(s string) string { return s[:len(s)-10] + "\n" + s[len(s)-10:] }

// respell sets an unused bit of the signature's last character: lenient decoders
// read the same 64 bytes.
func respell(t *testing.T, value string) string {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, value[len(value)-1])
	again := value[:len(value)-1] + string(alphabet[last|1])
	sig := again[strings.LastIndexByte(again, '.')+1:]
	if b, err := base64.RawURLEncoding.DecodeString(sig); err != nil || len(b) != 64 || again == value {
		t.Fatalf("not another spelling: %d bytes, %v", len(b), err)
	}
	return again
}

func hs256(t *testing.T, secret []byte) string {
	t.Helper()
	input := dot(base64.RawURLEncoding, `{"alg":"HS256","kid":"k1","typ":"txntoken+jwt"}`, goodPayload())
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func derSigned(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	input := dot(base64.RawURLEncoding, goodHeader, goodPayload())
	sum := sha256.Sum256([]byte(input))
	sig, err := ecdsa.SignASN1(nil, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func derOf(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func pemOf(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: derOf(t, key)})
}

func pointOf(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	b, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func jwkOf(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	x, y, err := coordinates(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return `{"kty":"EC","crv":"P-256","x":"` + x + `","y":"` + y + `"}`
}
