package bearer

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxRoots bounds a file of roots: the ones of systems have under 300 KiB.
const maxRoots = 1 << 20

// readRoots reads the certificates that an issuer's must come from: a PEM file
// of certificates and nothing else, for what was dropped in silence would be
// missed when it is needed.
func readRoots(path string) (*x509.CertPool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // #nosec G304 -- the map names it; of a pipe nothing is waited for
	if err != nil {
		return nil, fmt.Errorf("read ca: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	content, err := io.ReadAll(io.LimitReader(f, maxRoots+1))
	if err != nil {
		return nil, fmt.Errorf("read ca: %w", err)
	}
	if len(content) > maxRoots {
		return nil, fmt.Errorf("read ca %s: longer than %d bytes", path, maxRoots)
	}
	pool, err := parseRoots(content)
	if err != nil {
		return nil, fmt.Errorf("read ca %s: %w", path, err)
	}
	return pool, nil
}

func parseRoots(content []byte) (*x509.CertPool, error) {
	pool, n := x509.NewCertPool(), 0
	for rest := content; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("block %d is %q, want certificates only", n+1, block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", n+1, err)
		}
		pool.AddCert(certificate)
	}
	// Go's decoder takes a malformed certificate for text between others.
	if begun := bytes.Count(content, []byte("-----BEGIN")); begun != n {
		return nil, fmt.Errorf("%d of %d blocks are malformed", begun-n, begun)
	}
	if n == 0 {
		return nil, errors.New("no certificate in it")
	}
	return pool, nil
}
