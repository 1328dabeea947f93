package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY" // PKCS #8 (RFC 5208)
)

// marshal writes certificate and key as PEM, to be sealed. The caller clears it.
func (c *certKey) marshal() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	defer clear(der)
	var b bytes.Buffer
	b.Grow(8 << 10) // so that it never moves and leaves a copy behind
	for _, block := range []*pem.Block{{Type: pemCertificate, Bytes: c.cert.Raw}, {Type: pemKey, Bytes: der}} {
		if err := pem.Encode(&b, block); err != nil {
			return nil, fmt.Errorf("encode key: %w", err)
		}
	}
	return b.Bytes(), nil
}

// parseCertKey reads what marshal wrote.
func parseCertKey(bundle []byte) (*certKey, error) {
	certBlock, rest := pem.Decode(bundle)
	keyBlock, rest := pem.Decode(rest)
	if certBlock == nil || keyBlock == nil || certBlock.Type != pemCertificate || keyBlock.Type != pemKey || len(rest) != 0 {
		return nil, errors.New("not a certificate with its key")
	}
	defer clear(keyBlock.Bytes)
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyBlock.Bytes)
	if err != nil {
		return nil, err
	}
	c := &certKey{cert, key}
	return c, c.matches()
}

func parseKey(der []byte) (*ecdsa.PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("private key does not parse")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("private key is not ECDSA")
	}
	return key, nil
}
