package svid

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

const testZone = "shop.example"

// authority is a root with one intermediate for SVIDs, as the zone's pki has it.
type authority struct {
	t         testing.TB
	zone      string
	root, mid *x509.Certificate
	rootKey   *ecdsa.PrivateKey
	midKey    *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, zone string, now time.Time) *authority {
	t.Helper()
	a := &authority{t: t, zone: zone}
	a.root, a.rootKey = a.signer("root of "+zone, now, nil, nil, nil)
	a.mid, a.midKey = a.signer("SVIDs of "+zone, now, a.root, a.rootKey, nil)
	return a
}

// signer makes a CA under parent; nil: self-signed.
func (a *authority) signer(name string, now time.Time, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, change func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey) {
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(24 * time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if change != nil {
		change(tmpl)
	}
	key := testKey(a.t)
	if parent == nil {
		parent, parentKey = tmpl, key
	}
	return sign(a.t, tmpl, parent, &key.PublicKey, parentKey), key
}

// leaf makes a certificate for spiffe://ZONE/NAME that change may spoil.
func (a *authority) leaf(name string, from time.Time, life time.Duration, change func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	tmpl := &x509.Certificate{
		NotBefore: from, NotAfter: from.Add(life),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: a.zone, Path: "/" + name}},
	}
	if change != nil {
		change(tmpl)
	}
	key := testKey(a.t)
	return sign(a.t, tmpl, a.mid, &key.PublicKey, a.midKey), key
}

func (a *authority) identity(name string, from time.Time, life time.Duration) *Identity {
	a.t.Helper()
	leaf, key := a.leaf(name, from, life, nil)
	i, err := NewIdentity([][]byte{leaf.Raw, a.mid.Raw}, key, []*x509.Certificate{a.root})
	if err != nil {
		a.t.Fatal(err)
	}
	return i
}

// source returns a source with an identity of an hour.
func (a *authority) source(name string, clock func() time.Time) *Source {
	a.t.Helper()
	s := NewSource(clock)
	s.Set(a.identity(name, clock(), time.Hour))
	return s
}

func testKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, tmpl, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	tmpl.SerialNumber, _ = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// uriNamesRaw replaces the names of a template by URIs as they stand.
func uriNamesRaw(t testing.TB, uris ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		var names []asn1.RawValue
		for _, u := range uris {
			names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(u)})
		}
		value, err := asn1.Marshal(names)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs = nil
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value, Critical: true})
	}
}

// memory is a network of one listener, for bubbles of synctest.
type memory struct {
	queue chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newMemory() *memory { return &memory{queue: make(chan net.Conn), done: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.queue:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { m.once.Do(func() { close(m.done) }); return nil }
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := pipe()
	select {
	case m.queue <- theirs:
		return ours, nil
	case <-m.done:
		return nil, errors.New("nobody listens")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// shake makes one connection, on which the server says a word when it has
// accepted the client, and returns how both sides ended.
func shake(t testing.TB, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	a, b := pipe()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("hello"))
		}
		_ = a.Close()
		done <- err
	}()
	c := tls.Client(b, client)
	clientErr = c.Handshake()
	if clientErr == nil {
		var word []byte
		if word, clientErr = io.ReadAll(c); string(word) == "hello" {
			clientErr = nil // the server closes without TLS's farewell
		}
	}
	_ = b.Close()
	return <-done, clientErr
}

func allowAll(Peer) error { return nil }

func mustID(t testing.TB, name string) ID {
	t.Helper()
	id, err := ServiceID(testZone, name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// fixed is a clock that stands.
func fixed(at time.Time) func() time.Time { return func() time.Time { return at } }

func day() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
