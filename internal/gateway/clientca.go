package gateway

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// readClientCA reads the authorities of the listener's clients.
func (l *listener) readClientCA() (err error) {
	if l.ClientCA == "" {
		return nil
	}
	if l.clientCA, err = os.ReadFile(l.ClientCA); err != nil { // #nosec G304 -- a path of the map, which is the operator's
		return fmt.Errorf("read client_ca: %w", err)
	}
	if l.clientPool, err = parseClientCA(l.clientCA); err != nil {
		return fmt.Errorf("client_ca %s: %w; write certificates of authorities there, as PEM, and nothing else", l.ClientCA, err)
	}
	return nil
}

// parseClientCA reads a PEM file of CA certificates and nothing else. What is not
// one is an error: a CA that was dropped in silence would shut its clients out, and
// one that was taken by mistake would let strangers in.
func parseClientCA(content []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	n := 0
	for rest := content; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("block %d is %q", n+1, block.Type)
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
		return nil, errors.New("it holds no certificate")
	}
	return pool, nil
}
