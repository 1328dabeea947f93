package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ca is a certificate authority of a test.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newCA(t testing.TB, name string) ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return ca{cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// client makes a client certificate that ends at the given time.
func (c ca) client(t testing.TB, until time.Time, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "partner"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{usage}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestClientCertificates: the right one opens the partner's door; none, one of
// another CA, an expired one and one for servers do not, nor does a session
// that such a client would resume.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	z, up, partners := startDoors(t)
	foreign := newCA(t, "partners") // of the same name
	later := time.Now().Add(time.Hour)
	right := partners.client(t, later, x509.ExtKeyUsageClientAuth)
	cache := tls.NewLRUClientSessionCache(8)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, s := range []struct {
			name  string
			certs []tls.Certificate
			ok    bool
		}{
			{"the right one", []tls.Certificate{right}, true},
			{"none", nil, false},
			{"of another CA", []tls.Certificate{foreign.client(t, later, x509.ExtKeyUsageClientAuth)}, false},
			{"expired", []tls.Certificate{partners.client(t, time.Now().Add(-time.Minute), x509.ExtKeyUsageClientAuth)}, false},
			{"for servers", []tls.Certificate{partners.client(t, later, x509.ExtKeyUsageServerAuth)}, false},
			{"the right one again", []tls.Certificate{right}, true},
			{"none, with the session of the right one", nil, false},
		} {
			client := z.client(func(tr *http.Transport) {
				tr.TLSClientConfig.Certificates = s.certs
				tr.TLSClientConfig.MinVersion, tr.TLSClientConfig.MaxVersion = version, version
				tr.TLSClientConfig.ClientSessionCache = cache
				tr.DisableKeepAlives = true
			})
			for range 2 { // the second would be resumed
				got := z.ask(call{listener: "partner", host: "partners.shop.example", method: "POST", path: "/callback", client: client})
				if ok := got.Err == nil && got.Status == 200; ok != s.ok || (len(up.of(got.ID)) == 1) != s.ok {
					t.Errorf("TLS %x, %s: %d %v, want in: %v", version, s.name, got.Status, got.Err, s.ok)
				}
			}
		}
	}
}

// TestCertificateFiles: a listener with a certificate of its own.
func TestCertificateFiles(t *testing.T) {
	t.Parallel()
	own := newCA(t, "own")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(3), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, own.cert, key.Public(), own.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	up := startUpstream(t, nil)
	z := newZone(t, strings.Replace(trapsMap, `{address: "@public@", `, `{address: "@public@", hosts: [localhost], certificate: {cert: tls.pem, key: tls.key}, `, 1), map[string]string{"plain": up.address})
	z.write("tls.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	z.write("tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	z.start()
	trusting := func(pem string) *http.Client {
		return z.client(func(tr *http.Transport) {
			tr.TLSClientConfig.RootCAs = x509.NewCertPool()
			tr.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(pem))
		})
	}
	if got := z.ask(call{path: "/open", client: trusting(own.pem)}); got.Status != 200 {
		t.Errorf("by its own CA: %d %v", got.Status, got.Err)
	}
	if got := z.try(call{path: "/open"}); got.Err == nil {
		t.Errorf("by the zone's CA (%s): %d, want an error", filepath.Join(z.data, "ca.pem"), got.Status)
	}
}
