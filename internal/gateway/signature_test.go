package gateway

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/reqsig"
	"sallyport.dev/zone"
)

// oneSigner knows the signing keys of a test: by id, with the API key that each is of.
type oneSigner map[string]struct {
	key ed25519.PublicKey
	of  string
}

func (s oneSigner) SigningKey(_ context.Context, id string) (reqsig.Key, string, error) {
	k, ok := s[id]
	if !ok {
		return reqsig.Key{}, "", problem.New(problem.ProofInvalid, nil)
	}
	return reqsig.Key{Algorithm: reqsig.Ed25519, Public: k.key}, k.of, nil
}

// TestSignedRoute sends requests to a route with `signed: true`.
func TestSignedRoute(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := openDoor(t, []*zone.Route{
		{Method: "POST", Path: "/charges", Allow: zone.AllowKey | zone.AllowUser, Scopes: []string{"things.read"}, Signed: true},
	}, func(c *Config) {
		c.Once, c.Spool = kv.NewMemory(time.Now, 1000), t.TempDir()
		c.Signing = oneSigner{"k1": {public, "1"}, "k2": {public, "2"}}
	})
	h, n := d.client(false), 0
	sign := func(keyID, digest, target string) []string {
		n++
		params := fmt.Sprintf(`("@method" "@authority" "@request-target" "x-api-key" "content-digest");created=%d;keyid=%q;nonce="n%d"`, time.Now().Unix(), keyID, n)
		base := fmt.Sprintf("\"@method\": POST\n\"@authority\": %s\n\"@request-target\": %s\n\"x-api-key\": %s\n\"content-digest\": %s\n\"@signature-params\": %s",
			"shop.example", target, keyValue, digest, params)
		return []string{
			"X-Api-Key: " + keyValue, "Content-Digest: " + digest, "Signature-Input: sig1=" + params,
			"Signature: sig1=:" + base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(base))) + ":",
		}
	}
	digest := httpsig.Digest([]byte("body"))
	once := sign("k1", digest, "/charges?a=b")
	for _, c := range []struct {
		what, target, body string
		fields             []string
		want               problem.Reason
	}{
		{"signed", "/charges?a=b", "body", once, problem.OK},
		{"sent again", "/charges?a=b", "body", once, problem.ProofReplayed},
		{"signed anew", "/charges?a=b", "body", sign("k1", digest, "/charges?a=b"), problem.OK},
		{"an empty body", "/charges?a=b", "", sign("k1", httpsig.EmptyDigest, "/charges?a=b"), problem.OK},
		{"not signed", "/charges?a=b", "body", []string{"X-Api-Key: " + keyValue}, problem.ProofMissing},
		{"another query", "/charges?a=c", "body", sign("k1", digest, "/charges?a=b"), problem.ProofInvalid},
		{"another body", "/charges?a=b", "bodY", sign("k1", digest, "/charges?a=b"), problem.ProofDigest},
		{"a body where none was", "/charges?a=b", "body", sign("k1", httpsig.EmptyDigest, "/charges?a=b"), problem.ProofDigest},
		{"the body taken away", "/charges?a=b", "", sign("k1", digest, "/charges?a=b"), problem.ProofDigest},
		{"another key's signing key", "/charges?a=b", "body", sign("k2", digest, "/charges?a=b"), problem.ProofInvalid},
		{"an unknown signing key", "/charges?a=b", "body", sign("k3", digest, "/charges?a=b"), problem.ProofInvalid},
		{"a session", "/charges?a=b", "body", []string{"Authorization: Bearer " + aliceToken}, problem.AccessKind},
	} {
		got := d.do(h, "POST", c.target, c.body, c.fields...)
		if last := d.last(); got.status != c.want.Status() || last.Reason != c.want.Code() {
			t.Errorf("%s: %d, record %s; want %s", c.what, got.status, last.Reason, c.want.Code())
		}
	}
	served := d.service.all()
	if len(served) != 3 {
		t.Fatalf("%d requests reached the service, want 3", len(served))
	}
	for _, r := range served {
		for name := range r.header {
			if strings.HasPrefix(name, "Signature") || name == "X-Api-Key" {
				t.Errorf("the service was shown %s", name)
			}
		}
	}
}

// TestUnkeptNonce: what cannot be remembered is refused.
func TestUnkeptNonce(t *testing.T) {
	d := openDoor(t, []*zone.Route{{Method: "POST", Path: "/charges", Allow: zone.AllowKey, Scopes: []string{"things.read"}, Signed: true}},
		func(c *Config) { c.Spool = t.TempDir() })
	got := d.do(d.client(false), "POST", "/charges", "body", "X-Api-Key: "+keyValue)
	d.refused("no memory of nonces", got, problem.AccessKind)
}

// slowSigner takes so long to find a key that the nonce of a signature which is
// just good could be forgotten meanwhile.
type slowSigner struct {
	oneSigner
	find func()
}

func (s slowSigner) SigningKey(ctx context.Context, id string) (reqsig.Key, string, error) {
	s.find()
	return s.oneSigner.SigningKey(ctx, id)
}

// TestSignatureOutlivesNoLook: a signature at the end of its life counts once,
// also when the look at its key takes a while.
func TestSignatureOutlivesNoLook(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	clock, slow := &stepped{start: time.Now().Truncate(time.Second)}, time.Duration(0)
	d := openDoor(t, []*zone.Route{{Method: "POST", Path: "/charges", Allow: zone.AllowKey, Scopes: []string{"things.read"}, Signed: true}}, func(c *Config) {
		c.Clock, c.Once, c.Spool = clock.wall, kv.NewMemory(clock.elapsed, 1000), t.TempDir()
		c.Signing = slowSigner{oneSigner{"k1": {public, "1"}}, func() { clock.set(clock.elapsed().Sub(clock.start)+slow, 0) }}
	})
	params := fmt.Sprintf(`("@method" "@authority" "@request-target" "x-api-key");created=%d;keyid="k1";nonce="n1"`, clock.start.Add(30*time.Second).Unix())
	base := "\"@method\": POST\n\"@authority\": shop.example\n\"@request-target\": /charges\n\"x-api-key\": " + keyValue + "\n\"@signature-params\": " + params
	fields := []string{
		"X-Api-Key: " + keyValue, "Signature-Input: sig1=" + params,
		"Signature: sig1=:" + base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(base))) + ":",
	}
	h := d.client(false)
	for _, c := range []struct {
		passed, slow time.Duration
		want         problem.Reason
	}{
		{0, 0, problem.OK},
		{6*time.Minute - time.Second, 0, problem.ProofReplayed},
		{6 * time.Minute, 3 * time.Second, problem.ProofReplayed},
		{6*time.Minute + time.Second, 0, problem.ProofExpired},
	} {
		clock.set(c.passed, 0)
		slow = c.slow
		d.do(h, "POST", "/charges", "", fields...)
		if last := d.last(); last.Reason != c.want.Code() {
			t.Errorf("after %v, a look of %v: %s, want %s", c.passed, c.slow, last.Reason, c.want.Code())
		}
	}
}
