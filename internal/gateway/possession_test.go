package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/internal/dpop"
	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// holder is a client that holds the key its token is bound to.
type holder struct {
	t   testing.TB
	key *ecdsa.PrivateKey
	n   int
}

func newHolder(t testing.TB) *holder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &holder{t: t, key: key}
}

func (h *holder) jkt() string {
	sum, err := (&jose.JSONWebKey{Key: &h.key.PublicKey}).Thumbprint(5) // crypto.SHA256
	if err != nil {
		h.t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// proof makes one for a token, with an id of its own.
func (h *holder) proof(method, url, token, nonce string) string {
	h.t.Helper()
	h.n++
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: h.key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	if err != nil {
		h.t.Fatal(err)
	}
	ath := sha256.Sum256([]byte(token))
	o, err := s.Sign(fmt.Appendf(nil, `{"jti":"%d","htm":%q,"htu":%q,"iat":%d,"ath":%q,"nonce":%q}`,
		h.n, method, url, time.Now().Unix(), base64.RawURLEncoding.EncodeToString(ath[:]), nonce))
	if err != nil {
		h.t.Fatal(err)
	}
	text, err := o.CompactSerialize()
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

const boundToken = "spa_bound"

func openBoundDoor(t testing.TB, alice *holder) (*door, dpop.Nonces) {
	nonces := dpop.NewNonces([]byte("0123456789abcdef0123456789abcdef"))
	d := openDoor(t, []*zone.Route{{Method: "GET", Path: "/things", Allow: zone.AllowUser, Scopes: []string{"things.read"}}}, func(c *Config) {
		c.Nonces, c.Once = nonces, kv.NewMemory(time.Now, 1000)
	})
	d.auth.set(boundToken, policy.Principal{
		Kind: policy.User, Subject: "alice", OAuth: true, Scopes: []string{"things.read"}, Level: 1, Bound: policy.Bound{JKT: alice.jkt()},
	})
	d.auth.set("spa_free", policy.Principal{Kind: policy.User, Subject: "alice", OAuth: true, Scopes: []string{"things.read"}, Level: 1})
	d.auth.set("spa_certificate", policy.Principal{
		Kind: policy.User, Subject: "alice", OAuth: true, Scopes: []string{"things.read"}, Level: 1, Bound: policy.Bound{X5T: strings.Repeat("A", 43)},
	})
	return d, nonces
}

// TestPossession is control CL-02: a stolen token is of no use without its key.
func TestPossession(t *testing.T) {
	alice, thief := newHolder(t), newHolder(t)
	d, nonces := openBoundDoor(t, alice)
	h := d.client(false)
	url := "https://shop.example/things"
	nonce := nonces.At(time.Now())
	once := alice.proof("GET", url, boundToken, nonce)
	for _, c := range []struct {
		what, scheme, token string
		proofs              []string
		want                problem.Reason
	}{
		{"its holder", "DPoP", boundToken, []string{once}, problem.OK},
		{"the same proof again", "DPoP", boundToken, []string{once}, problem.AuthProof},
		{"its holder again", "dpop", boundToken, []string{alice.proof("GET", url, boundToken, nonce)}, problem.OK},
		{"as a bearer", "Bearer", boundToken, nil, problem.AuthInvalid},
		{"as a bearer, with a proof", "Bearer", boundToken, []string{alice.proof("GET", url, boundToken, nonce)}, problem.AuthInvalid},
		{"without a proof", "DPoP", boundToken, nil, problem.AuthProof},
		{"by another's key", "DPoP", boundToken, []string{thief.proof("GET", url, boundToken, nonce)}, problem.AuthProof},
		{"two proofs", "DPoP", boundToken, []string{alice.proof("GET", url, boundToken, nonce), thief.proof("GET", url, boundToken, nonce)}, problem.AuthProof},
		{"of another address", "DPoP", boundToken, []string{alice.proof("GET", url+"s", boundToken, nonce)}, problem.AuthProof},
		{"of another host", "DPoP", boundToken, []string{alice.proof("GET", "https://evil.example/things", boundToken, nonce)}, problem.AuthProof},
		{"of another method", "DPoP", boundToken, []string{alice.proof("POST", url, boundToken, nonce)}, problem.AuthProof},
		{"of another token", "DPoP", boundToken, []string{alice.proof("GET", url, "spa_free", nonce)}, problem.AuthProof},
		{"without a nonce", "DPoP", boundToken, []string{alice.proof("GET", url, boundToken, "")}, problem.AuthNonce},
		{"with an old nonce", "DPoP", boundToken, []string{alice.proof("GET", url, boundToken, nonces.At(time.Now().Add(-10*time.Minute)))}, problem.AuthNonce},
		{"a free token as a bearer", "Bearer", "spa_free", nil, problem.OK},
		{"a free token with a proof", "DPoP", "spa_free", []string{alice.proof("GET", url, "spa_free", nonce)}, problem.AuthInvalid},
		{"one of a certificate, without it", "Bearer", "spa_certificate", nil, problem.AuthProof},
	} {
		fields := []string{"Authorization: " + c.scheme + " " + c.token}
		for _, p := range c.proofs {
			fields = append(fields, "DPoP: "+p)
		}
		got := d.do(h, "GET", "/things", "", fields...)
		if last := d.last(); got.status != c.want.Status() || last.Reason != c.want.Code() {
			t.Errorf("%s: %d, record %s; want %s", c.what, got.status, last.Reason, c.want.Code())
		}
		challenge := got.header.Get("WWW-Authenticate")
		switch c.want {
		case problem.AuthNonce:
			if got.header.Get("DPoP-Nonce") == "" || !strings.Contains(challenge, `DPoP `) || !strings.Contains(challenge, `error="use_dpop_nonce"`) {
				t.Errorf("%s: nonce %q, challenge %q", c.what, got.header.Get("DPoP-Nonce"), challenge)
			}
		case problem.AuthProof:
			if !strings.Contains(challenge, `error="invalid_dpop_proof"`) {
				t.Errorf("%s: challenge %q", c.what, challenge)
			}
		}
	}
	if strings.Contains(d.log.String(), "ERROR") { // a client's fault is none of ours
		t.Errorf("logged: %s", d.log)
	}
	for _, r := range d.service.all() {
		if r.header.Get("Authorization") != "" || r.header.Get("DPoP") != "" {
			t.Errorf("the service was shown the credential: %v", r.header)
		}
	}
}

// stepped is a wall clock of the door that was set back, beside the time that has
// passed for what keeps ids and nonces.
type stepped struct {
	mu           sync.Mutex
	passed, back time.Duration
	start        time.Time
}

func (s *stepped) wall() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.start.Add(s.passed - s.back)
}

func (s *stepped) elapsed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.start.Add(s.passed)
}

func (s *stepped) set(passed, back time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passed, s.back = passed, back
}

// TestProofOutlivesNoClock: a proof counts once, also when the clock of the door
// is set back while it is good, or another door of the zone goes after.
func TestProofOutlivesNoClock(t *testing.T) {
	alice, clock := newHolder(t), &stepped{start: time.Now()}
	nonces := dpop.NewNonces([]byte("0123456789abcdef0123456789abcdef"))
	d := openDoor(t, []*zone.Route{{Method: "GET", Path: "/things", Allow: zone.AllowUser, Scopes: []string{"things.read"}}}, func(c *Config) {
		c.Clock, c.Nonces, c.Once = clock.wall, nonces, kv.NewMemory(clock.elapsed, 1000)
	})
	d.auth.set(boundToken, policy.Principal{
		Kind: policy.User, Subject: "alice", OAuth: true, Scopes: []string{"things.read"}, Level: 1, Bound: policy.Bound{JKT: alice.jkt()},
	})
	h := d.client(false)
	proof := alice.proof("GET", "https://shop.example/things", boundToken, nonces.At(clock.wall()))
	for _, c := range []struct {
		passed, back time.Duration
		want         problem.Reason
	}{
		{0, 0, problem.OK},
		{50 * time.Second, 0, problem.AuthProof},
		{80 * time.Second, 30 * time.Second, problem.AuthProof},
		{110 * time.Second, 55 * time.Second, problem.AuthProof},
	} {
		clock.set(c.passed, c.back)
		d.do(h, "GET", "/things", "", "Authorization: DPoP "+boundToken, "DPoP: "+proof)
		if last := d.last(); last.Reason != c.want.Code() {
			t.Errorf("after %v, set back %v: %s, want %s", c.passed, c.back, last.Reason, c.want.Code())
		}
	}
}

// TestNonceReachesScripts: a page of another origin, which the route names, may
// read the nonce that it is asked for; a page of any other may not.
func TestNonceReachesScripts(t *testing.T) {
	alice := newHolder(t)
	d := openDoor(t, []*zone.Route{{Method: "GET", Path: "/things", Allow: zone.AllowUser, Scopes: []string{"things.read"}, CORS: &zone.CORS{Origins: []string{app}}}}, func(c *Config) {
		c.Nonces, c.Once = dpop.NewNonces([]byte("0123456789abcdef0123456789abcdef")), kv.NewMemory(time.Now, 1000)
	})
	d.auth.set(boundToken, policy.Principal{
		Kind: policy.User, Subject: "alice", OAuth: true, Scopes: []string{"things.read"}, Level: 1, Bound: policy.Bound{JKT: alice.jkt()},
	})
	h := d.client(false)
	for origin, want := range map[string]bool{app: true, "https://evil.example": false} {
		proof := alice.proof("GET", "https://shop.example/things", boundToken, "")
		got := d.do(h, "GET", "/things", "", "Origin: "+origin, "Authorization: DPoP "+boundToken, "DPoP: "+proof)
		fields := got.header.Get("Access-Control-Expose-Headers")
		if got.status != 401 || got.header.Get(headerNonce) == "" {
			t.Fatalf("%s: %d %v, want to be asked for a nonce", origin, got.status, got.header)
		}
		if strings.Contains(fields, "DPoP-Nonce") != want || strings.Contains(fields, "WWW-Authenticate") != want {
			t.Errorf("%s: may read %q", origin, fields)
		}
	}
}
