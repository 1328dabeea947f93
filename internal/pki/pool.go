package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ClientPool reads the CAs whose client certificates a listener takes: a PEM
// file of CA certificates and nothing else. What is not one is an error, for a
// CA that was dropped in silence would shut its clients out, and one that was
// taken by mistake would let strangers in.
func ClientPool(path string) (*x509.CertPool, error) {
	content, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("pki: client CAs: %w", err)
	}
	pool, err := parsePool(content)
	if err != nil {
		return nil, fmt.Errorf("pki: client CAs %s: %w", path, err)
	}
	return pool, nil
}

func parsePool(content []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	n := 0
	for rest := content; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != pemCertificate {
			return nil, fmt.Errorf("block %d is %q, want certificates only", n+1, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", n+1, err)
		}
		if !cert.BasicConstraintsValid || !cert.IsCA {
			return nil, fmt.Errorf("block %d (%s) is not a CA certificate", n+1, cert.Subject)
		}
		pool.AddCert(cert)
	}
	// Text between certificates is allowed (RFC 7468 section 2), and Go's
	// decoder takes a malformed certificate for text.
	if begun := bytes.Count(content, []byte("-----BEGIN")); begun != n {
		return nil, fmt.Errorf("%d of %d blocks are malformed", begun-n, begun)
	}
	if n == 0 {
		return nil, errors.New("no certificate in it")
	}
	return pool, nil
}
