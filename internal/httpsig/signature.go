package httpsig

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"sallyport.dev/internal/es256"
)

// Signer proves requests with the key of one SVID. A new SVID is a new Signer.
// Safe for concurrent use when its key is.
type Signer struct {
	key         crypto.Signer
	certificate []byte // the Sallyport-Certificate line
}

// NewSigner returns a signer for a P-256 key and the chain of its certificate,
// leaf first and without root.
func NewSigner(key crypto.Signer, chain [][]byte) (*Signer, error) {
	if key == nil || len(chain) == 0 || len(chain) > maxChain {
		return nil, fmt.Errorf("httpsig: signer without key, or with a chain of %d certificates", len(chain))
	}
	public, err := es256.PublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("httpsig: signer: %w", err)
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("httpsig: signer: %w", err)
	}
	if !public.Equal(leaf.PublicKey) {
		return nil, errors.New("httpsig: signer: the certificate is of another key")
	}
	value := appendCertificates(nil, chain)
	if len(value) > maxCertificate {
		return nil, fmt.Errorf("httpsig: signer: a chain of %d bytes", len(value))
	}
	line := append([]byte(CertificateHeader+": "), value...)
	return &Signer{key: key, certificate: append(line, "\r\n"...)}, nil
}

// Append appends the header lines of the proof, each with its line break, to the
// head of a request that is being written. Spare room of dst is overwritten. On
// an error dst is returned as it was.
func (s *Signer) Append(dst []byte, m *Message, p Profile, now time.Time) ([]byte, error) {
	if err := p.Accepts(Signature); err != nil {
		return dst, err
	}
	cs, n, err := m.components(p)
	if err != nil {
		return dst, unsigned(err)
	}
	created := now.Unix()
	in := parameters{created: created, expires: created + lifeSeconds, nonce: newNonce()}
	out, end := appendUnsigned(dst, Signature, p, &in, cs[:n])
	signature, err := es256.Sign(s.key, out[end:])
	if err != nil {
		return dst, unsigned(err)
	}
	out = appendSignature(out[:end], Signature, signature[:])
	return append(out, s.certificate...), nil
}

// Set puts the proof into h, in place of any that is there.
func (s *Signer) Set(h http.Header, m *Message, p Profile, now time.Time) error {
	lines, err := s.Append(nil, m, p, now)
	if err != nil {
		return err
	}
	setLines(h, lines)
	return nil
}

func newNonce() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(random[:])
}
