package workload

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

const testZone = "shop.example"

// authority is a CA of root and intermediate, as small as it can be.
type authority struct {
	mu           sync.Mutex
	life         time.Duration
	meanwhile    func()        // called by IssueSVID, once; nil: nothing
	broken       error         // what IssueSVID returns
	refused      chan struct{} // holds one when it has returned that
	roots        []*x509.Certificate
	intermediate *x509.Certificate
	key          *ecdsa.PrivateKey
	issued       int
}

func newAuthority(tb testing.TB, life time.Duration) *authority {
	tb.Helper()
	a := &authority{life: life, refused: make(chan struct{}, 1)}
	root, rootKey := newRoot(tb)
	a.key = newKey(tb)
	a.roots = []*x509.Certificate{root}
	a.intermediate = sign(tb, &x509.Certificate{
		Subject: pkix.Name{CommonName: "intermediate"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, root, a.key.Public(), rootKey)
	return a
}

func newRoot(tb testing.TB) (*x509.Certificate, *ecdsa.PrivateKey) {
	tb.Helper()
	key := newKey(tb)
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "root"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return sign(tb, template, template, key.Public(), key), key
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func sign(tb testing.TB, template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	tb.Helper()
	template.SerialNumber = big.NewInt(1)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// IssueSVID is Issuer's.
func (a *authority) IssueSVID(_ context.Context, name string, pub crypto.PublicKey) ([][]byte, time.Time, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.meanwhile != nil {
		a.meanwhile()
		a.meanwhile = nil
	}
	if a.broken != nil {
		select {
		case a.refused <- struct{}{}:
		default:
		}
		return nil, time.Time{}, a.broken
	}
	a.issued++
	end := time.Now().Add(a.life).Truncate(time.Second)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(int64(1000 + a.issued)),
		NotBefore:    time.Now().Add(-time.Minute), NotAfter: end,
		URIs:     []*url.URL{{Scheme: "spiffe", Host: testZone, Path: "/" + name}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}, a.intermediate, pub, a.key)
	if err != nil {
		return nil, time.Time{}, err
	}
	return [][]byte{der, a.intermediate.Raw}, end, nil
}

// Roots is Issuer's.
func (a *authority) Roots() []*x509.Certificate {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.roots
}

// logText is a log that can be read while it is written.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logText) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// wantText fails if text lacks one of the parts.
func wantText(tb testing.TB, text string, parts ...string) {
	tb.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			tb.Errorf("%q is missing in:\n%s", p, text)
		}
	}
}
