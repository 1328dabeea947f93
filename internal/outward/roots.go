package outward

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

// ReadFile reads a file that the map names. Of a pipe nothing is waited for.
func ReadFile(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // #nosec G304 -- the map names it
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return data, nil
}

// readRoots reads the certificates that an issuer's must come from.
func readRoots(path string) (*x509.CertPool, error) {
	data, err := ReadFile(path, maxRoots)
	if err != nil {
		return nil, fmt.Errorf("read ca: %w", err)
	}
	pool, err := parseRoots(data)
	if err != nil {
		return nil, fmt.Errorf("read ca %s: %w", path, err)
	}
	return pool, nil
}

// parseRoots reads a PEM file of certificates and nothing else: what is dropped in
// silence is missed when it is needed.
func parseRoots(data []byte) (*x509.CertPool, error) {
	pool, blocks := x509.NewCertPool(), 0
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		blocks++
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("block %d is %q, want certificates only", blocks, block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", blocks, err)
		}
		pool.AddCert(certificate)
	}
	// Go's decoder takes a malformed certificate for text between others.
	if begun := bytes.Count(data, []byte("-----BEGIN")); begun != blocks {
		return nil, fmt.Errorf("%d of %d blocks are malformed", begun-blocks, begun)
	}
	if blocks == 0 {
		return nil, errors.New("no certificate in it")
	}
	return pool, nil
}
