package pki

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
)

// maxCSR bounds a certification request, in bytes; one over P-256 has some 200.
const maxCSR = 8 << 10

// ParseCSR returns the public key of a certification request (RFC 2986, DER)
// whose sender holds the private one. Nothing else in it counts: who asks is
// known by other means, and names come from the zone. It refuses any key but
// P-256, a signature that does not hold, and one over SHA-1.
func ParseCSR(der []byte) (crypto.PublicKey, error) {
	if len(der) > maxCSR {
		return nil, fmt.Errorf("pki: certification request of %d bytes, want at most %d", len(der), maxCSR)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("pki: parse certification request: %w", err)
	}
	pub, err := p256(csr.PublicKey) // before the signature: another kind of key may cost much to verify
	if err != nil {
		return nil, fmt.Errorf("pki: certification request: %w", err)
	}
	switch csr.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
	default:
		return nil, fmt.Errorf("pki: certification request signed by %s, want ECDSA with SHA-2", csr.SignatureAlgorithm)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, errors.New("pki: certification request: the signature does not hold")
	}
	return pub, nil
}
