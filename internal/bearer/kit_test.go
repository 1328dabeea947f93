package bearer

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// clock stands still until it is moved.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return start.Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// signer is a key pair with its name. The tests sign by hand: what the package
// verifies with another library is made here.
type signer struct {
	id        string
	algorithm string
	private   crypto.Signer
}

var rsaKeys = sync.OnceValue(func() []*rsa.PrivateKey {
	keys := make([]*rsa.PrivateKey, 2)
	for n := range keys {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[n] = k
	}
	return keys
})

func newSigner(t testing.TB, id, algorithm string) signer {
	t.Helper()
	var k crypto.Signer
	var err error
	switch algorithm {
	case "ES256":
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		k, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		k, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, k, err = ed25519.GenerateKey(rand.Reader)
	case "RS256", "PS256", "RS512":
		k = rsaKeys()[0]
	}
	if err != nil || k == nil {
		t.Fatalf("no key for %s: %v", algorithm, err)
	}
	return signer{id, algorithm, k}
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// jwk is the public key as it is published.
func (s signer) jwk() map[string]any {
	m := map[string]any{"use": "sig"}
	if s.id != "" {
		m["kid"] = s.id
	}
	switch k := s.private.Public().(type) {
	case *ecdsa.PublicKey:
		size := (k.Curve.Params().BitSize + 7) / 8
		raw, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		m["kty"], m["crv"] = "EC", k.Curve.Params().Name
		m["x"], m["y"] = b64(raw[1:1+size]), b64(raw[1+size:])
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), "AQAB"
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k)
	}
	return m
}

// signature is that of RFC 7518 section 3 and RFC 8037 section 3.1.
func (s signer) signature(t testing.TB, algorithm, input string) []byte {
	t.Helper()
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[algorithm[2:]]
	data, opts := []byte(input), crypto.SignerOpts(hash)
	if hash != 0 {
		h := hash.New()
		h.Write(data)
		data = h.Sum(nil)
	}
	if algorithm[0] == 'P' {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	if k, ok := s.private.(*ecdsa.PrivateKey); ok {
		size := (k.Curve.Params().BitSize + 7) / 8
		r, v, err := ecdsa.Sign(rand.Reader, k, data)
		if err != nil {
			t.Fatal(err)
		}
		return append(r.FillBytes(make([]byte, size)), v.FillBytes(make([]byte, size))...)
	}
	signature, err := s.private.Sign(rand.Reader, data, opts)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func hmacSHA256(secret []byte, input string) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(input))
	return m.Sum(nil)
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

type object = map[string]any

// with returns a copy of an object with members changed; nil takes one away.
func with(o object, changes object) object {
	o = maps.Clone(o)
	for name, v := range changes {
		if o[name] = v; v == nil {
			delete(o, name)
		}
	}
	return o
}

// token signs any two texts as header and claims.
func (s signer) raw(t testing.TB, header, payload []byte) string {
	t.Helper()
	input := b64(header) + "." + b64(payload)
	return input + "." + b64(s.signature(t, s.algorithm, input))
}

func (s signer) header() object { return object{"alg": s.algorithm, "typ": "JWT", "kid": s.id} }

func (s signer) token(t testing.TB, header, payload object) string {
	t.Helper()
	return s.raw(t, mustJSON(t, header), mustJSON(t, payload))
}

// world is Issuers with what a test looks at.
type world struct {
	*Issuers
	t     testing.TB
	clock *clock
	log   *lines
}

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func newWorld(t testing.TB, cfg Config, providers ...zone.Provider) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{}, log: &lines{}}
	cfg.Providers, cfg.Clock = providers, w.clock.now
	cfg.Timeout = cmp.Or(cfg.Timeout, time.Minute) // a slow machine decides nothing
	cfg.Log = obs.NewLogger(w.log, slog.LevelDebug, false)
	var err error
	if w.Issuers, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, i := range w.list {
			i.client.HTTP().CloseIdleConnections()
		}
	})
	return w
}

func (w *world) accepted(what, token string) policy.Principal {
	w.t.Helper()
	p, until, err := w.Verify(context.Background(), token)
	if err != nil {
		w.t.Fatalf("%s: %v, want accepted\n%s", what, err, w.log)
	}
	if !until.After(w.clock.now()) {
		w.t.Errorf("%s: accepted until %v, which is over", what, until)
	}
	return p
}

func (w *world) refused(what, token string, want problem.Reason) {
	w.t.Helper()
	p, until, err := w.Verify(context.Background(), token)
	if got := problem.ReasonOf(err); got != want {
		w.t.Errorf("%s: %v (%s as %q), want %s", what, err, got, p.Subject, want)
	}
	if err != nil && (p.Kind != policy.Anonymous || p.Subject != "" || !until.IsZero()) {
		w.t.Errorf("%s: refused with the principal %+v until %v", what, p, until)
	}
}
