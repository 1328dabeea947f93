package gateway

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

func certPEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func TestParseClientCA(t *testing.T) {
	a, b := certPEM(theCA().cert), certPEM((&testCA{}).issue("another authority").Leaf)
	client := certPEM(theCA().issue("partner one").Leaf)
	for _, c := range []struct {
		name string
		in   string
		why  string // empty: it is taken
	}{
		{"one", a, ""},
		{"two", a + b, ""},
		{"text between", "Partner One\n" + a + "\nPartner Two\n\n" + b + "\n\n", ""},
		{"empty", "", "holds no certificate"},
		{"text only", "partners\n", "holds no certificate"},
		{"with a private key", a + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", `block 2 is "PRIVATE KEY"`},
		{"no CA", a + client, "block 2 (CN=partner one) is not a CA certificate"},
		{"cut at the end", a + b[:len(b)/2], "1 of 2 blocks are malformed"},
		{"damaged in the middle", strings.Replace(a, "-----END", "----END", 1) + b, "1 of 2 blocks are malformed"},
		{"not a certificate in it", a + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "block 2"},
	} {
		pool, err := parseClientCA([]byte(c.in))
		if (err == nil) != (c.why == "") || (pool != nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %q", c.name, err, c.why)
		}
	}
}

func FuzzParseClientCA(f *testing.F) {
	good := certPEM(theCA().cert)
	for _, seed := range []string{good, good + good, good[:len(good)/2], "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "", "text"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		pool, err := parseClientCA(content)
		if (pool == nil) == (err == nil) {
			t.Fatalf("pool %v with error %v", pool, err)
		}
		if err == nil && pool.Equal(x509.NewCertPool()) {
			t.Fatal("an empty pool without an error")
		}
	})
}
