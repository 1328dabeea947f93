package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// certKey is a certificate with its private key: a CA's or a listener's. Nobody changes it once
// it is made.
type certKey struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newRoot makes a self-signed root.
func newRoot(zone string, now time.Time) (*certKey, error) {
	tmpl := template(subject("Sallyport root CA", zone), now, rootLife)
	tmpl.IsCA, tmpl.MaxPathLen = true, 1
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := sign(tmpl, tmpl, &key.PublicKey, key)
	return &certKey{cert, key}, err
}

// issueCA makes an intermediate that can sign what its purpose says and nothing else.
func (c *certKey) issueCA(p purpose, zone string, now time.Time) (*certKey, error) {
	tmpl := template(subject("Sallyport "+p.title, zone), now, p.life)
	tmpl.IsCA, tmpl.MaxPathLen, tmpl.MaxPathLenZero = true, 0, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	tmpl.PermittedDNSDomainsCritical = true // of all name constraints, whatever its name says
	p.confine(tmpl)
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := c.sign(tmpl, &key.PublicKey, now)
	return &certKey{cert, key}, err
}

// issueLeaf makes a server certificate for the names. Clients look at the
// subject alternative names only (RFC 9525 section 2); the subject is for people.
func (c *certKey) issueLeaf(n names, now time.Time) (*certKey, error) {
	tmpl := template(subject("Sallyport listener", ""), now, leafLife)
	tmpl.DNSNames, tmpl.IPAddresses = n.dns, n.ips
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := c.sign(tmpl, &key.PublicKey, now)
	return &certKey{cert, key}, err
}

// sign signs a child within the parent's life.
func (c *certKey) sign(tmpl *x509.Certificate, pub *ecdsa.PublicKey, now time.Time) (*x509.Certificate, error) {
	if !now.Before(c.cert.NotAfter) {
		return nil, fmt.Errorf("%s expired on %s", c.cert.Subject.CommonName, c.cert.NotAfter.Format(time.DateOnly))
	}
	if tmpl.NotAfter.After(c.cert.NotAfter) {
		tmpl.NotAfter = c.cert.NotAfter
	}
	return sign(tmpl, c.cert, pub, c.key)
}

// sign makes a certificate of the template and reads it back.
func sign(tmpl, parent *x509.Certificate, pub *ecdsa.PublicKey, parentKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	var serial [16]byte
	_, _ = rand.Read(serial[:]) // crypto/rand.Read never fails (Go 1.24)
	serial[0] |= 1              // 127 random bits, never zero; 20 octets at most (RFC 5280 section 4.1.2.2)
	tmpl.SerialNumber = new(big.Int).SetBytes(serial[:])
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, parentKey)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

func template(name pkix.Name, now time.Time, life time.Duration) *x509.Certificate {
	return &x509.Certificate{
		Subject:               name,
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(life),
		BasicConstraintsValid: true,
		SignatureAlgorithm:    x509.ECDSAWithSHA256,
	}
}

// subject names a certificate. A name is 64 characters at most (RFC 5280
// appendix A.1, ub-organization-name): a longer zone is left out.
func subject(common, zone string) pkix.Name {
	n := pkix.Name{CommonName: common}
	if zone != "" && len(zone) <= 64 {
		n.Organization = []string{zone}
	}
	return n
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return key, nil
}

// renewal is when a certificate should be replaced: at two thirds of its life.
func renewal(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 3 * 2)
}

// matches says whether the key is the certificate's.
func (c *certKey) matches() error {
	if pub, ok := c.cert.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(&c.key.PublicKey) {
		return errors.New("key and certificate do not belong together")
	}
	return nil
}
