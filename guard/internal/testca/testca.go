// Package testca is the CA of a test's zone, for package guardtest and the tests
// of guard. The product does not import it.
package testca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"

	"sallyport.dev/internal/svid"
)

// CA makes identities of one zone.
type CA struct {
	zone string
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Life is how long the root lives to both sides of the time it was made at.
const Life = 20 * 365 * 24 * time.Hour

// New returns the CA of a zone, whose root lives for years around now.
func New(t testing.TB, zone string, now time.Time) *CA {
	t.Helper()
	key := newP256(t)
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test root of " + zone}, NotBefore: now.Add(-Life), NotAfter: now.Add(Life),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return &CA{zone, sign(t, tmpl, tmpl, &key.PublicKey, key), key}
}

// Identity makes the SVID spiffe://ZONE/NAME for a time.
func (a *CA) Identity(t testing.TB, name string, from, end time.Time) *svid.Identity {
	t.Helper()
	key := newP256(t)
	leaf := sign(t, &x509.Certificate{
		NotBefore: from, NotAfter: end, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: a.zone, Path: "/" + name}},
	}, a.root, &key.PublicKey, a.key)
	i, err := svid.NewIdentity([][]byte{leaf.Raw}, key, []*x509.Certificate{a.root})
	if err != nil {
		t.Fatalf("testca: %v", err)
	}
	return i
}

// Source returns a source with an identity that lives for years around now.
func (a *CA) Source(t testing.TB, name string, clock func() time.Time) *svid.Source {
	t.Helper()
	s := svid.NewSource(clock)
	s.Set(a.Identity(t, name, clock().Add(-Life/2), clock().Add(Life/2)))
	return s
}

func newP256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("testca: %v", err)
	}
	return key
}

func sign(t testing.TB, tmpl, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	tmpl.SerialNumber, _ = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		t.Fatalf("testca: %v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("testca: %v", err)
	}
	return cert
}
