package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func request(t testing.TB, tmpl x509.CertificateRequest, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &tmpl, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// flipped is b with one bit changed, counted from its end.
func flipped(b []byte, fromEnd int) []byte {
	b = slices.Clone(b)
	b[len(b)-fromEnd] ^= 1
	return b
}

func TestParseCSR(t *testing.T) {
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	greedy := x509.CertificateRequest{
		Subject:        pkix.Name{CommonName: "control"},
		URIs:           []*url.URL{{Scheme: "spiffe", Host: "shop.example", Path: "/control"}},
		DNSNames:       []string{"shop.example"},
		IPAddresses:    []net.IP{net.IPv4(10, 0, 0, 5)},
		EmailAddresses: []string{"root@shop.example"},
	}
	plain := request(t, x509.CertificateRequest{}, key)
	large := request(t, x509.CertificateRequest{Subject: pkix.Name{CommonName: strings.Repeat("a", maxCSR)}}, key)
	for _, c := range []struct {
		name string
		der  []byte
		want string // in the error; "": taken
	}{
		{"plain", plain, ""},
		{"with names of its own", request(t, greedy, key), ""},
		{"over SHA-384", request(t, x509.CertificateRequest{SignatureAlgorithm: x509.ECDSAWithSHA384}, key), ""},
		{"over SHA-1", request(t, x509.CertificateRequest{SignatureAlgorithm: x509.ECDSAWithSHA1}, key), "SHA-2"},
		{"P-384", request(t, x509.CertificateRequest{}, p384), "P-256"},
		{"RSA", request(t, x509.CertificateRequest{}, rsaKey), "P-256"},
		{"Ed25519", request(t, x509.CertificateRequest{}, edKey), "P-256"},
		{"signature changed", flipped(plain, 1), "does not hold"},
		{"subject changed", []byte(strings.Replace(string(request(t, greedy, key)), "control", "gateway", 1)), "does not hold"},
		{"more after it", append(slices.Clone(plain), 0), "trailing"},
		{"cut", plain[:len(plain)-1], "parse"},
		{"empty", nil, "parse"},
		{"too large", large, "at most"},
		{"a certificate", openCA(t, newGround(t), (&clock{start}).Now).Roots()[0].Raw, "parse"},
	} {
		pub, err := ParseCSR(c.der)
		if c.want == "" {
			if err != nil || !key.PublicKey.Equal(pub) {
				t.Errorf("%s: %v, %v, want the key", c.name, pub, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || pub != nil {
			t.Errorf("%s: %v, %v, want an error with %q", c.name, pub, err, c.want)
		}
	}
}

// What a request asks for has no way into the certificate.
func TestCSRNamesAreIgnored(t *testing.T) {
	ca := openCA(t, newGround(t), (&clock{start}).Now)
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ParseCSR(request(t, x509.CertificateRequest{Subject: pkix.Name{CommonName: "control"}, DNSNames: []string{"control"}}, key))
	if err != nil {
		t.Fatal(err)
	}
	der, _, err := ca.IssueSVID(t.Context(), "orders", pub)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(der[0]), "control") || !strings.Contains(string(der[0]), "spiffe://shop.example/orders") {
		t.Errorf("the SVID holds what the request asked for: %q", der[0])
	}
}

func FuzzParseCSR(f *testing.F) {
	key, err := newKey()
	if err != nil {
		f.Fatal(err)
	}
	plain := request(f, x509.CertificateRequest{}, key)
	f.Add(plain)
	f.Add(request(f, x509.CertificateRequest{DNSNames: []string{"a"}, URIs: []*url.URL{{Scheme: "spiffe", Host: "a", Path: "/b"}}}, key))
	f.Add(flipped(plain, 1))
	f.Add(plain[:len(plain)/2])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, der []byte) {
		pub, err := ParseCSR(der)
		if (pub == nil) == (err == nil) {
			t.Fatalf("key %v with error %v", pub, err)
		}
		if err == nil && pub.(*ecdsa.PublicKey).Curve != elliptic.P256() {
			t.Fatalf("key %v is not of P-256", pub)
		}
	})
}
