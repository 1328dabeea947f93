package bearer

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/zone"
)

// realIssuer is an issuer over TLS with a CA of its own, as a self-hosted one
// has it: a discovery document, a JWK Set, and keys that sign.
type realIssuer struct {
	URL         string
	ca          string // file
	discoveries atomic.Int64
	keySets     atomic.Int64
	asked       chan struct{} // of each look at the keys; may be full

	mu        sync.Mutex
	document  object           // guarded by mu; nil: the right one
	published []map[string]any // guarded by mu
	answer    http.HandlerFunc // guarded by mu; instead of the right answers
}

func startIssuer(t testing.TB, signers ...signer) *realIssuer {
	t.Helper()
	r := &realIssuer{asked: make(chan struct{}, 1000)}
	r.publish(signers...)
	server := httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that tests break
	authority, certificate := newAuthority(t)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	r.URL = server.URL
	r.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(r.ca, authority, 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *realIssuer) serve(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	answer, document, published := r.answer, r.document, r.published
	r.mu.Unlock()
	switch q.URL.Path {
	case "/.well-known/openid-configuration":
		r.discoveries.Add(1)
	case "/keys":
		r.keySets.Add(1)
		select {
		case r.asked <- struct{}{}:
		default:
		}
	}
	switch {
	case answer != nil:
		answer(w, q)
	case q.URL.Path == "/.well-known/openid-configuration":
		if document == nil {
			document = object{"issuer": r.URL, "jwks_uri": r.URL + "/keys", "authorization_endpoint": r.URL + "/login"}
		}
		_ = json.NewEncoder(w).Encode(document)
	case q.URL.Path == "/keys":
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_ = json.NewEncoder(w).Encode(object{"keys": published})
	default:
		http.NotFound(w, q)
	}
}

func (r *realIssuer) publish(signers ...signer) {
	keys := make([]map[string]any, 0, len(signers))
	for _, s := range signers {
		keys = append(keys, s.jwk())
	}
	r.publishRaw(keys...)
}

func (r *realIssuer) publishRaw(keys ...map[string]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published = keys
}

// answers sets another answer to everything; nil sets the right ones.
func (r *realIssuer) answers(h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = h
}

func (r *realIssuer) discloses(document object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.document = document
}

func (r *realIssuer) provider(name string) zone.Provider {
	return zone.Provider{
		Name: name, Kind: Kind, Issuer: r.URL, Audience: "shop-api", CA: r.ca,
		Algorithms: []string{"ES256", "ES384", "EdDSA", "PS256", "RS256"},
	}
}

// claims are those of a good token.
func (r *realIssuer) claims() object {
	return object{
		"iss": r.URL, "aud": "shop-api", "sub": "alice", "azp": "shop-web",
		"iat": start.Unix(), "exp": start.Add(5 * time.Minute).Unix(),
	}
}

// newAuthority makes a CA and a certificate of it for loopback.
func newAuthority(t testing.TB) (authority []byte, certificate tls.Certificate) {
	t.Helper()
	root, leaf := newSigner(t, "", "ES256").private, newSigner(t, "", "ES256").private
	now := time.Now()
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA of the issuer's own"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, of, of, root.Public(), root)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, of, leaf.Public(), root)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}), tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leaf}
}
