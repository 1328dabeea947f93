package pki

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
)

// start is where hand-set clocks stand.
var start = time.Date(2026, 10, 17, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// clock is a hand-set clock.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// ground is what a CA stands on: a database and a root key.
type ground struct {
	db   *store.DB
	root *keys.Root
	dir  string
}

func newGround(t testing.TB) ground {
	t.Helper()
	empty, err := emptyDatabase()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "store.db"), empty, 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := keys.OpenRoot(filepath.Join(t.TempDir(), "data.root"), true)
	if err != nil {
		t.Fatal(err)
	}
	return ground{openDB(t, dir), root, dir}
}

// emptyDatabase is a migrated database without rows: to migrate one for every
// test would take most of the time.
var emptyDatabase = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "pki")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "store.db")
	db, err := store.OpenSQLite(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil { // the write-ahead log goes into the file
		return nil, err
	}
	return os.ReadFile(path)
})

func openDB(t testing.TB, dir string) *store.DB {
	t.Helper()
	db, err := pgtest.OpenAt(t, filepath.Join(dir, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func openCA(t testing.TB, g ground, now func() time.Time) *CA {
	t.Helper()
	ca, err := OpenCA(t.Context(), g.db, g.root, "shop.example", Options{Clock: now})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func serverCertificate(t testing.TB, ca *CA, hosts ...string) *Source {
	t.Helper()
	s, err := ca.ServerCertificate(t.Context(), hosts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// trusting returns a pool of the CA's root, as a client reads it from ca.pem.
func trusting(t testing.TB, ca *CA) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca.RootPEM()) {
		t.Fatal("RootPEM is no certificate")
	}
	return pool
}

// chain parses what a source serves.
func chain(t testing.TB, s *Source) []*x509.Certificate {
	t.Helper()
	c, err := s.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	var certs []*x509.Certificate
	for _, der := range c.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cert)
	}
	return certs
}

func TestHandshake(t *testing.T) {
	at := &clock{time.Now()}
	ca := openCA(t, newGround(t), at.Now)
	foreign := openCA(t, newGround(t), at.Now)
	s := serverCertificate(t, ca, "shop.example", "10.0.0.5", "2001:db8::1")
	own := trusting(t, ca)
	for _, c := range []struct {
		name  string
		trust *x509.CertPool
		host  string
		ok    bool
	}{
		{"declared name", own, "shop.example", true},
		{"declared address", own, "10.0.0.5", true},
		{"declared IPv6 address", own, "2001:db8::1", true},
		{"localhost", own, "localhost", true},
		{"loopback", own, "127.0.0.1", true},
		{"IPv6 loopback", own, "::1", true},
		{"another name", own, "bank.example", false},
		{"a name below", own, "www.shop.example", false},
		{"another address", own, "10.0.0.6", false},
		{"foreign root", trusting(t, foreign), "shop.example", false},
		{"no root", x509.NewCertPool(), "shop.example", false},
	} {
		err := handshake(t, s, &tls.Config{RootCAs: c.trust, ServerName: c.host, MinVersion: tls.VersionTLS12})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v, want ok %v", c.name, err, c.ok)
		}
	}
}

// What each certificate may do, and for how long.
func TestProfiles(t *testing.T) {
	at := &clock{start}
	ca := openCA(t, newGround(t), at.Now)
	served := chain(t, serverCertificate(t, ca, "shop.example"))
	if len(served) != 2 {
		t.Fatalf("%d certificates served, want leaf and intermediate", len(served))
	}
	leaf, web, root := served[0], served[1], ca.root
	for _, c := range []struct {
		name    string
		cert    *x509.Certificate
		isCA    bool
		pathLen int
		usage   x509.KeyUsage
		ext     []x509.ExtKeyUsage
		life    time.Duration
	}{
		{"root", root, true, 1, x509.KeyUsageCertSign | x509.KeyUsageCRLSign, nil, 10 * 365 * day},
		{"web", web, true, 0, x509.KeyUsageCertSign | x509.KeyUsageCRLSign, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, 365 * day},
		{"leaf", leaf, false, -1, x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, 7 * day},
	} {
		pathLen := c.cert.MaxPathLen
		if c.cert.IsCA != c.isCA || !c.cert.BasicConstraintsValid || (c.isCA && pathLen != c.pathLen) ||
			c.cert.KeyUsage != c.usage || !slices.Equal(c.cert.ExtKeyUsage, c.ext) {
			t.Errorf("%s: CA %v, path length %d, usage %b, extended %v", c.name, c.cert.IsCA, pathLen, c.cert.KeyUsage, c.cert.ExtKeyUsage)
		}
		if !c.cert.NotBefore.Equal(start.Add(-time.Minute)) || !c.cert.NotAfter.Equal(start.Add(c.life)) {
			t.Errorf("%s: %s to %s, want a minute before now to %s after", c.name, c.cert.NotBefore, c.cert.NotAfter, c.life)
		}
		if bits := c.cert.SerialNumber.BitLen(); bits < 121 || bits > 128 || c.cert.SerialNumber.Sign() <= 0 {
			t.Errorf("%s: serial number of %d bits", c.name, bits)
		}
		if c.cert.SignatureAlgorithm != x509.ECDSAWithSHA256 || len(c.cert.SubjectKeyId) == 0 && c.isCA {
			t.Errorf("%s: signed by %v, subject key id %x", c.name, c.cert.SignatureAlgorithm, c.cert.SubjectKeyId)
		}
	}
	if !bytes.Equal(leaf.AuthorityKeyId, web.SubjectKeyId) || !bytes.Equal(web.AuthorityKeyId, root.SubjectKeyId) {
		t.Error("the authority key ids do not lead from leaf to root")
	}
	block, rest := pem.Decode(ca.RootPEM())
	if block == nil || len(rest) != 0 || !bytes.Equal(block.Bytes, root.Raw) {
		t.Error("RootPEM is not the root and only the root")
	}
}

func TestRestartKeepsTheCA(t *testing.T) {
	at := &clock{start}
	g := newGround(t)
	before := openCA(t, g, at.Now)
	at.now = start.Add(59 * day)
	g.db = openDB(t, g.dir)
	after := openCA(t, g, at.Now)
	if !bytes.Equal(before.RootPEM(), after.RootPEM()) {
		t.Error("another root after a restart")
	}
	for _, c := range []struct{ before, after *intermediate }{{before.web, after.web}, {before.svid, after.svid}} {
		if !c.before.inUse.cert.Equal(c.after.inUse.cert) || !c.before.inUse.key.Equal(c.after.inUse.key) {
			t.Errorf("another %s after a restart", c.before.title)
		}
	}
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	at := &clock{start}
	g := newGround(t)
	openCA(t, g, at.Now)
	if _, err := OpenCA(t.Context(), g.db, newGround(t).root, "shop.example", Options{Clock: at.Now}); !errors.Is(err, keys.ErrWrongRoot) {
		t.Errorf("wrong root key: %v, want %v", err, keys.ErrWrongRoot)
	}
	if _, err := OpenCA(t.Context(), g.db, g.root, "bank.example", Options{Clock: at.Now}); err == nil ||
		!strings.Contains(err.Error(), "shop.example") || !strings.Contains(err.Error(), "bank.example") {
		t.Errorf("another zone: %v, want an error that names both", err)
	}
	for _, zone := range []string{"", "SHOP.example", "shop.example/x", "shop.example:443", "10.0.0.5", strings.Repeat("a.", 127)} {
		if _, err := OpenCA(t.Context(), g.db, g.root, zone, Options{Clock: at.Now}); err == nil || !strings.Contains(err.Error(), "not a domain") {
			t.Errorf("zone %q: %v, want an error that says it is no domain", zone, err)
		}
	}
	openCA(t, g, at.Now) // the twin, after all that
	at.now = start.Add(rootLife)
	if _, err := OpenCA(t.Context(), g.db, g.root, "shop.example", Options{Clock: at.Now}); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("expired root: %v, want an error that says so", err)
	}
}

// The data folder holds no private key in clear: neither the CA's nor a leaf's.
func TestNoPrivateKeyIsInClear(t *testing.T) {
	g := newGround(t)
	ca := openCA(t, g, (&clock{start}).Now)
	s := serverCertificate(t, ca, "shop.example")
	var root *certKey
	err := g.db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return ca.withRootKey(ctx, tx, func(c *certKey) error { root = c; return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	leaf := s.current.Load().PrivateKey.(*ecdsa.PrivateKey)
	for name, key := range map[string]*ecdsa.PrivateKey{"root": root.key, "web": ca.web.inUse.key, "svid": ca.svid.inUse.key, "leaf": leaf} {
		secret, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		inPEM := []byte(base64.StdEncoding.EncodeToString(pkcs8)[:60]) // up to the line break of PEM: half of the key
		if inFolder(t, g.dir, secret) || inFolder(t, g.dir, inPEM) {
			t.Errorf("the %s key is in the data folder", name)
		}
		planted := t.TempDir() // the control: the same search finds both forms
		if err := os.WriteFile(filepath.Join(planted, "der"), pkcs8, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(planted, "pem"), pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: pkcs8}), 0o600); err != nil {
			t.Fatal(err)
		}
		if !inFolder(t, planted, secret) || !inFolder(t, planted, inPEM) {
			t.Errorf("the %s key is not found where it was planted: the test proves nothing", name)
		}
	}
}

func inFolder(t *testing.T, dir string, what []byte) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s, %v", dir, err)
	}
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, what) {
			return true
		}
	}
	return false
}

func TestParseNames(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want string // names, then addresses; "": refused
	}{
		{nil, "localhost 127.0.0.1 ::1"},
		{[]string{"shop.example", "localhost", "127.0.0.1"}, "shop.example localhost 127.0.0.1 ::1"},
		{[]string{"a.example", "a.example", "10.0.0.5", "::ffff:10.0.0.5"}, "a.example localhost 10.0.0.5 127.0.0.1 ::1"},
		{[]string{"xn--bcher-kva.example", "1.a"}, "xn--bcher-kva.example 1.a localhost 127.0.0.1 ::1"},
		{[]string{""}, ""},
		{[]string{"*.shop.example"}, ""},
		{[]string{"SHOP.example"}, ""},
		{[]string{"shop.example."}, ""},
		{[]string{"-a.example"}, ""},
		{[]string{"a..example"}, ""},
		{[]string{"a b"}, ""},
		{[]string{"a_b.example"}, ""},
		{[]string{"bücher.example"}, ""},
		{[]string{"shop.example:443"}, ""},
		{[]string{"fe80::1%eth0"}, ""},
		{[]string{"300.1.1.1"}, ""},
		{[]string{strings.Repeat("a", 64) + ".example"}, ""},
		{[]string{strings.Repeat("a.", 127) + "aa"}, ""},
		{slices.Repeat([]string{"a.example"}, maxHosts+1), ""},
	} {
		n, err := parseNames(c.in)
		got := n.dns
		for _, ip := range n.ips {
			got = append(got, ip.String())
		}
		if s := strings.Join(got, " "); s != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v, want %q", c.in, s, err, c.want)
		}
	}
}
