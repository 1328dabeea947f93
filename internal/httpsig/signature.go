package httpsig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"time"
)

// signatureSize is r and s, 32 bytes each (RFC 9421 section 3.3.4).
const signatureSize = 64

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
	public, err := p256(key.Public())
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
	signature, err := sign(s.key, out[end:])
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

// sign is ecdsa-p256-sha256. Keys outside the process sign as crypto.Signer
// says, in ASN.1, so all do.
func sign(key crypto.Signer, base []byte) (out [signatureSize]byte, err error) {
	sum := sha256.Sum256(base)
	der, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return out, err
	}
	var point struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &point); err != nil || len(rest) > 0 ||
		point.R.Sign() < 1 || point.S.Sign() < 1 || point.R.BitLen() > 256 || point.S.BitLen() > 256 {
		return out, errors.New("the key made no P-256 signature")
	}
	point.R.FillBytes(out[:32])
	point.S.FillBytes(out[32:])
	return out, nil
}

func verify(key *ecdsa.PublicKey, base []byte, signature *[signatureSize]byte) bool {
	sum := sha256.Sum256(base)
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(key, sum[:], r, s)
}

func p256(key crypto.PublicKey) (*ecdsa.PublicKey, error) {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok || k == nil || k.Curve != elliptic.P256() {
		return nil, fmt.Errorf("a key of type %T is not ECDSA P-256", key)
	}
	return k, nil
}
