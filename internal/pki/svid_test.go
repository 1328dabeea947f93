package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// publicKey returns the public part of a new key.
func publicKey(t testing.TB) *ecdsa.PublicKey {
	t.Helper()
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	return &key.PublicKey
}

// issueSVID returns the chain of an SVID over a new key.
func issueSVID(t testing.TB, ca *CA, name string) []*x509.Certificate {
	t.Helper()
	der, notAfter, err := ca.IssueSVID(t.Context(), name, publicKey(t))
	if err != nil {
		t.Fatal(err)
	}
	var certs []*x509.Certificate
	for _, d := range der {
		cert, err := x509.ParseCertificate(d)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cert)
	}
	if len(certs) != 2 || !notAfter.Equal(certs[0].NotAfter) {
		t.Fatalf("%d certificates, end %s, want leaf and intermediate with the leaf's end", len(certs), notAfter)
	}
	return certs
}

// judged is what go-spiffe, which shares no code with us, says of a chain.
func judged(t testing.TB, ca *CA, domain string, at time.Time, certs []*x509.Certificate) (string, error) {
	t.Helper()
	bundle := x509bundle.FromX509Authorities(spiffeid.RequireTrustDomainFromString(domain), ca.Roots())
	id, chains, err := x509svid.Verify(certs, bundle, x509svid.WithTime(at))
	if err == nil && len(chains) == 0 {
		t.Fatal("go-spiffe: no error and no chain")
	}
	return id.String(), err
}

func TestSVIDProfile(t *testing.T) {
	at := &clock{start}
	ca := openCA(t, newGround(t), at.Now)
	pub := publicKey(t)
	der, _, err := ca.IssueSVID(t.Context(), "orders", pub)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der[0])
	if err != nil {
		t.Fatal(err)
	}
	signer, err := x509.ParseCertificate(der[1])
	if err != nil {
		t.Fatal(err)
	}
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	for _, c := range []struct {
		name  string
		cert  *x509.Certificate
		isCA  bool
		usage x509.KeyUsage
		uri   string
		life  time.Duration
	}{
		{"SVID", leaf, false, x509.KeyUsageDigitalSignature, "spiffe://shop.example/orders", time.Hour},
		{"SVID CA", signer, true, x509.KeyUsageCertSign | x509.KeyUsageCRLSign, "spiffe://shop.example", 90 * day},
	} {
		if c.cert.IsCA != c.isCA || !c.cert.BasicConstraintsValid || c.isCA && (c.cert.MaxPathLen != 0 || !c.cert.MaxPathLenZero) ||
			c.cert.KeyUsage != c.usage || !slices.Equal(c.cert.ExtKeyUsage, both) {
			t.Errorf("%s: CA %v, path length %d, usage %b, extended %v", c.name, c.cert.IsCA, c.cert.MaxPathLen, c.cert.KeyUsage, c.cert.ExtKeyUsage)
		}
		if len(c.cert.URIs) != 1 || c.cert.URIs[0].String() != c.uri || len(c.cert.DNSNames)+len(c.cert.IPAddresses)+len(c.cert.EmailAddresses) != 0 {
			t.Errorf("%s: names %v %v %v %v, want %s alone", c.name, c.cert.URIs, c.cert.DNSNames, c.cert.IPAddresses, c.cert.EmailAddresses, c.uri)
		}
		if !c.cert.NotBefore.Equal(start.Add(-time.Minute)) || !c.cert.NotAfter.Equal(start.Add(c.life)) {
			t.Errorf("%s: %s to %s, want a minute before now to %s after", c.name, c.cert.NotBefore, c.cert.NotAfter, c.life)
		}
		if bits := c.cert.SerialNumber.BitLen(); bits < 100 || bits > 128 || c.cert.SerialNumber.Sign() <= 0 {
			t.Errorf("%s: serial number of %d bits", c.name, bits)
		}
		if c.cert.SignatureAlgorithm != x509.ECDSAWithSHA256 {
			t.Errorf("%s: signed by %v", c.name, c.cert.SignatureAlgorithm)
		}
	}
	if !pub.Equal(leaf.PublicKey) {
		t.Error("the SVID is over another key")
	}
	if leaf.Subject.String() != "" || !critical(leaf, "2.5.29.17") {
		t.Errorf("subject %q, critical name %v, want no subject and a critical name", leaf.Subject, critical(leaf, "2.5.29.17"))
	}
	if !critical(signer, "2.5.29.30") {
		t.Error("the name constraints are not critical")
	}
	if !bytes.Equal(leaf.AuthorityKeyId, signer.SubjectKeyId) || !bytes.Equal(signer.AuthorityKeyId, ca.Roots()[0].SubjectKeyId) {
		t.Error("the authority key ids do not lead from leaf to root")
	}
	if id, err := x509svid.IDFromCert(leaf); err != nil || id.String() != "spiffe://shop.example/orders" {
		t.Errorf("go-spiffe reads %s, %v", id, err)
	}
	if a, b := issueSVID(t, ca, "orders")[0], issueSVID(t, ca, "orders")[0]; a.SerialNumber.Cmp(b.SerialNumber) == 0 {
		t.Error("two SVIDs share a serial number")
	}
}

func critical(c *x509.Certificate, oid string) bool {
	return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.String() == oid && e.Critical })
}

// An SVID is one for go-spiffe: in its time, with its chain, in its trust domain.
func TestSVIDStandsOutside(t *testing.T) {
	at := &clock{start}
	ca := openCA(t, newGround(t), at.Now)
	foreign := openCA(t, newGround(t), at.Now) // another CA of the same name
	svid := issueSVID(t, ca, "orders")
	web := chain(t, serverCertificate(t, ca, "shop.example"))
	for _, c := range []struct {
		name   string
		trust  *CA
		domain string
		at     time.Time
		certs  []*x509.Certificate
		ok     bool
	}{
		{"as issued", ca, "shop.example", start, svid, true},
		{"a minute of skew", ca, "shop.example", start.Add(-time.Minute), svid, true},
		{"at its end", ca, "shop.example", start.Add(time.Hour), svid, true},
		{"too early", ca, "shop.example", start.Add(-time.Minute - time.Second), svid, false},
		{"expired", ca, "shop.example", start.Add(time.Hour + time.Second), svid, false},
		{"foreign root", foreign, "shop.example", start, svid, false},
		{"bundle of another trust domain", ca, "bank.example", start, svid, false},
		{"without the intermediate", ca, "shop.example", start, svid[:1], false},
		{"the intermediate as a leaf", ca, "shop.example", start, svid[1:], false},
		{"a listener's certificate", ca, "shop.example", start, web, false},
	} {
		id, err := judged(t, c.trust, c.domain, c.at, c.certs)
		if (err == nil) != c.ok || c.ok && id != "spiffe://shop.example/orders" {
			t.Errorf("%s: %s, %v, want ok %v", c.name, id, err, c.ok)
		}
	}
}

func TestIssueSVIDRefuses(t *testing.T) {
	ca := openCA(t, newGround(t), (&clock{start}).Now)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edKey, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := publicKey(t)
	offCurve := ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}
	for _, c := range []struct {
		name string // of the workload
		pub  crypto.PublicKey
		want string // in the error; "": issued
	}{
		{"orders", good, ""},
		{"gateway", good, ""},
		{"a", good, ""},
		{"a-1", good, ""},
		{strings.Repeat("a", 63), good, ""},
		{strings.Repeat("a", 64), good, "not the name"},
		{"", good, "not the name"},
		{".", good, "not the name"},
		{"..", good, "not the name"},
		{"a/b", good, "not the name"},
		{"/a", good, "not the name"},
		{"a%2fb", good, "not the name"},
		{"A", good, "not the name"},
		{"1a", good, "not the name"},
		{"a_b", good, "not the name"},
		{"a b", good, "not the name"},
		{"a?b", good, "not the name"},
		{"ä", good, "not the name"},
		{"a\x00", good, "not the name"},
		{"orders", nil, "P-256"},
		{"orders", (*ecdsa.PublicKey)(nil), "P-256"},
		{"orders", &ecdsa.PublicKey{}, "P-256"},
		{"orders", *good, "P-256"}, // not a pointer: no crypto package hands out such
		{"orders", &offCurve, "P-256"},
		{"orders", &p384.PublicKey, "P-256"},
		{"orders", &rsaKey.PublicKey, "P-256"},
		{"orders", edKey, "P-256"},
		{"orders", "key", "P-256"},
	} {
		der, notAfter, err := ca.IssueSVID(t.Context(), c.name, c.pub)
		if c.want == "" {
			if err != nil || len(der) != 2 {
				t.Errorf("%q over %T: %v, want an SVID", c.name, c.pub, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || der != nil || !notAfter.IsZero() {
			t.Errorf("%q over %T: %v, want an error with %q", c.name, c.pub, err, c.want)
		}
	}
}

// An SVID never outlives its intermediate, whatever life is asked for and
// however late it is issued.
func TestSVIDLife(t *testing.T) {
	for _, c := range []struct {
		after, life, want time.Duration
	}{
		{0, 0, time.Hour},
		{0, 2 * time.Second, 2 * time.Second},
		{0, 365 * day, 90 * day},
		{90*day - 30*time.Minute, 0, 30 * time.Minute},
		{90*day - time.Second, 0, time.Second},
	} {
		at := &clock{start}
		g := newGround(t)
		ca, err := OpenCA(t.Context(), g.db, g.root, "shop.example", Options{Clock: at.Now, SVIDLife: c.life})
		if err != nil {
			t.Fatal(err)
		}
		dropRootKey(t, g) // or the intermediate would be renewed
		at.now = start.Add(c.after)
		certs := issueSVID(t, ca, "orders")
		if got := certs[0].NotAfter.Sub(at.now); got != c.want || certs[0].NotAfter.After(certs[1].NotAfter) {
			t.Errorf("after %s, asked for %s: %s, want %s; the intermediate ends %s", c.after, c.life, got, c.want, certs[1].NotAfter)
		}
		if id, err := judged(t, ca, "shop.example", at.now, certs); err != nil {
			t.Errorf("after %s: %s, %v", c.after, id, err)
		}
	}
}

// A year of SVIDs: every chain stands from its first moment to its last, also
// across the renewals of its intermediate.
func TestSVIDsOverAYear(t *testing.T) {
	at := &clock{start}
	ca := openCA(t, newGround(t), at.Now)
	pub := publicKey(t)
	signers := map[string]bool{}
	for ; at.now.Before(start.Add(365 * day)); at.now = at.now.Add(7 * time.Hour) {
		der, notAfter, err := ca.IssueSVID(t.Context(), "orders", pub)
		if err != nil {
			t.Fatalf("%s: %v", at.now, err)
		}
		var certs []*x509.Certificate
		for _, d := range der {
			cert, err := x509.ParseCertificate(d)
			if err != nil {
				t.Fatal(err)
			}
			certs = append(certs, cert)
		}
		signers[string(certs[1].Raw)] = true
		if notAfter.Sub(at.now) != time.Hour {
			t.Fatalf("%s: an SVID until %s, want a whole hour", at.now, notAfter)
		}
		for _, moment := range []time.Time{at.now, notAfter} {
			if _, err := judged(t, ca, "shop.example", moment, certs); err != nil {
				t.Fatalf("issued %s, at %s: %v", at.now, moment, err)
			}
		}
	}
	if len(signers) != 7 { // every 60 days
		t.Errorf("%d intermediates in a year, want 7", len(signers))
	}
}

// Many ask while the intermediate is renewed: all get one, of one renewal.
func TestIssueSVIDAtOnce(t *testing.T) {
	var mu sync.Mutex
	now := start
	ca := openCA(t, newGround(t), func() time.Time { mu.Lock(); defer mu.Unlock(); return now })
	mu.Lock()
	now = start.Add(61 * day)
	mu.Unlock()
	pub := publicKey(t)
	signers := make([]string, 32)
	var wg sync.WaitGroup
	for i := range signers {
		wg.Go(func() {
			der, _, err := ca.IssueSVID(t.Context(), "orders", pub)
			if err != nil {
				t.Error(err)
				return
			}
			signers[i] = string(der[1])
		})
	}
	wg.Wait()
	if len(slices.Compact(signers)) != 1 {
		t.Error("more than one intermediate signed")
	}
}

// Two workloads and mutual TLS, verified against the root alone.
func TestSVIDHandshake(t *testing.T) {
	ca := openCA(t, newGround(t), time.Now)
	foreign := openCA(t, newGround(t), time.Now)
	as := func(ca *CA, name string) tls.Certificate {
		key, err := newKey()
		if err != nil {
			t.Fatal(err)
		}
		der, _, err := ca.IssueSVID(t.Context(), name, &key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		return tls.Certificate{Certificate: der, PrivateKey: key}
	}
	for _, c := range []struct {
		name   string
		client []tls.Certificate
		ok     bool
	}{
		{"a workload", []tls.Certificate{as(ca, "gateway")}, true},
		{"a workload of another CA", []tls.Certificate{as(foreign, "gateway")}, false},
		{"nobody", nil, false},
	} {
		server := &tls.Config{Certificates: []tls.Certificate{as(ca, "orders")}, ClientCAs: trusting(t, ca),
			ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}
		client := &tls.Config{Certificates: c.client, MinVersion: tls.VersionTLS13,
			InsecureSkipVerify: true, // there is no host name: the chain is verified below
			VerifyConnection: func(s tls.ConnectionState) error {
				return verify(t, ca, time.Now(), x509.ExtKeyUsageServerAuth, s.PeerCertificates[0], s.PeerCertificates[1:]...)
			}}
		if err := connect(t, server, client); (err == nil) != c.ok {
			t.Errorf("%s: %v, want ok %v", c.name, err, c.ok)
		}
	}
}
