package store_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
)

// selfSigned returns a certificate of a host, which is its own CA, and its key.
func selfSigned(t *testing.T, host string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a database"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// verify-full is what it says: the server is the one of the certificate, or
// nothing is sent to it.
func TestPostgresOverTLS(t *testing.T) {
	s := pgtest.Start(t)
	name, _, _ := strings.Cut(strings.TrimPrefix(s.Database(t), "postgres://"), "?")
	_, name, _ = strings.Cut(name, "/")
	certificate, key := selfSigned(t, "127.0.0.1")
	other, _ := selfSigned(t, "127.0.0.1")
	dir := t.TempDir()
	right, wrong := filepath.Join(dir, "right.pem"), filepath.Join(dir, "wrong.pem")
	if err := errors.Join(os.WriteFile(right, certificate, 0o600), os.WriteFile(wrong, other, 0o600)); err != nil {
		t.Fatal(err)
	}
	full := func(ca string) string {
		return strings.Replace(s.TCP(name, s.Password()), "sslmode=disable", "sslmode=verify-full&sslrootcert="+ca, 1)
	}
	if _, err := store.OpenPostgres(t.Context(), full(right), store.PostgresOptions{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a server without TLS: %v, want ErrUnavailable", err)
	}
	s.Stop(t)
	s.Restart(t, "ssl=on", "ssl_cert_file="+s.File(t, "server.crt", certificate), "ssl_key_file="+s.File(t, "server.key", key))
	if _, err := store.OpenPostgres(t.Context(), full(wrong), store.PostgresOptions{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a server of another CA: %v, want ErrUnavailable", err)
	}
	if _, err := store.OpenPostgres(t.Context(), strings.Replace(full(right), "127.0.0.1", "localhost", 1), store.PostgresOptions{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a server of another name: %v, want ErrUnavailable", err)
	}
	db := open(t, full(right), store.PostgresOptions{}) // control
	if err := revoke(t.Context(), db, "u"); err != nil {
		t.Error(err)
	}

	// What may lose what it has acknowledged is not used.
	s.Stop(t)
	s.Restart(t, "synchronous_commit=off")
	if _, err := store.OpenPostgres(t.Context(), full(right), store.PostgresOptions{}); err == nil || !strings.Contains(err.Error(), "synchronous_commit is off") {
		t.Errorf("a server that acknowledges too early: %v, want it refused", err)
	}
}
