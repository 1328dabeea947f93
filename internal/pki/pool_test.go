package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// partner is a CA of somebody else and a client certificate of it.
func partner(t *testing.T) (ca *certKey, client tls.Certificate) {
	t.Helper()
	ca, err := newRoot("partner.example", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	tmpl := template(subject("billing", ""), time.Now(), day)
	tmpl.KeyUsage, tmpl.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	cert, err := ca.sign(tmpl, &key.PublicKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca, tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

func certPEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func TestClientPool(t *testing.T) {
	ours := openCA(t, newGround(t), time.Now)
	server := serverCertificate(t, ours, "partners.shop.example")
	good, goodClient := partner(t)
	_, badClient := partner(t)
	path := filepath.Join(t.TempDir(), "partners.pem")
	if err := os.WriteFile(path, []byte(certPEM(good.cert)), 0o600); err != nil {
		t.Fatal(err)
	}
	pool, err := ClientPool(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		cert []tls.Certificate
		ok   bool
	}{
		{"client of the partner", []tls.Certificate{goodClient}, true},
		{"client of another CA of that name", []tls.Certificate{badClient}, false},
		{"no certificate", nil, false},
		{"the listener's own certificate", []tls.Certificate{*server.current.Load()}, false},
	} {
		err := connect(t,
			&tls.Config{GetCertificate: server.GetCertificate, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13},
			&tls.Config{RootCAs: trusting(t, ours), ServerName: "partners.shop.example", Certificates: c.cert, MinVersion: tls.VersionTLS13})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v, want ok %v", c.name, err, c.ok)
		}
	}
}

func TestParsePool(t *testing.T) {
	one, client := partner(t)
	two, _ := partner(t)
	key, err := one.marshal()
	if err != nil {
		t.Fatal(err)
	}
	a, b := certPEM(one.cert), certPEM(two.cert)
	for _, c := range []struct {
		name string
		in   string
		ok   bool
	}{
		{"one", a, true},
		{"two", a + b, true},
		{"text between", "Partner One\n" + a + "\nPartner Two\n\n" + b + "\n\n", true},
		{"empty", "", false},
		{"text only", "partners\n", false},
		{"with its private key", string(key), false},
		{"no CA", a + certPEM(client.Leaf), false},
		{"cut at the end", a + b[:len(b)/2], false},
		{"damaged in the middle", strings.Replace(a, "-----END", "----END", 1) + b, false},
		{"not a certificate in it", a + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", false},
	} {
		pool, err := parsePool([]byte(c.in))
		if (err == nil) != c.ok || (pool != nil) != c.ok {
			t.Errorf("%s: %v, want ok %v", c.name, err, c.ok)
		}
	}
	if _, err := ClientPool(filepath.Join(t.TempDir(), "none.pem")); err == nil || !strings.Contains(err.Error(), "none.pem") {
		t.Errorf("no file: %v, want an error that names it", err)
	}
}

func FuzzParsePool(f *testing.F) {
	ca, err := newRoot("partner.example", time.Unix(1_800_000_000, 0))
	if err != nil {
		f.Fatal(err)
	}
	good := certPEM(ca.cert)
	for _, seed := range []string{good, good + good, good[:len(good)/2], "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "", "text"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		pool, err := parsePool(content)
		if (pool == nil) == (err == nil) {
			t.Fatalf("pool %v with error %v", pool, err)
		}
		if err == nil && pool.Equal(x509.NewCertPool()) {
			t.Fatal("an empty pool without an error")
		}
	})
}
