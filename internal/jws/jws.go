// Package jws says which signatures of others are taken, and verifies them: JWS of
// asymmetric algorithms, each by a key that is the algorithm's own (RFC 8725
// section 3.1). What a header says chooses neither the key nor a use that the key is
// not for.
//
// EdDSA with a key on the curve Ed25519 has two names: that of RFC 8037 and, since
// RFC 9864, Ed25519. They are one algorithm here: where a list allows EdDSA, headers
// and keys may say either.
package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Ed25519 is the name that RFC 9864 gives to EdDSA on that curve.
const Ed25519 = jose.SignatureAlgorithm("Ed25519")

// The bounds of RSA keys, in bits: RFC 7518 section 3.3, and what a look at a
// signature may cost.
const (
	minRSA = 2048
	maxRSA = 8192
)

// Name is an algorithm by the name that lists have of it.
func Name(a jose.SignatureAlgorithm) jose.SignatureAlgorithm {
	if a == Ed25519 {
		return jose.EdDSA
	}
	return a
}

// Names returns a list of algorithms by all the names that headers have of them.
func Names(list []jose.SignatureAlgorithm) []jose.SignatureAlgorithm {
	if !slices.Contains(list, jose.EdDSA) || slices.Contains(list, Ed25519) {
		return list
	}
	return append(slices.Clip(list), Ed25519)
}

var errKind = errors.New("its type is not for signatures here")

// Algorithms returns what a public key is for (RFC 7518 section 3.1, RFC 8037
// section 3.1).
func Algorithms(public crypto.PublicKey) ([]jose.SignatureAlgorithm, error) {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []jose.SignatureAlgorithm{jose.ES256}, nil
		case elliptic.P384():
			return []jose.SignatureAlgorithm{jose.ES384}, nil
		case elliptic.P521():
			return []jose.SignatureAlgorithm{jose.ES512}, nil
		}
	case *rsa.PublicKey:
		if err := StrongRSA(k); err != nil {
			return nil, err
		}
		return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}, nil
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return []jose.SignatureAlgorithm{jose.EdDSA}, nil
		}
	}
	return nil, errKind
}

// StrongRSA says why an RSA key is not taken.
func StrongRSA(k *rsa.PublicKey) error {
	if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA {
		return fmt.Errorf("an RSA key of %d bits is not within %d and %d", bits, minRSA, maxRSA)
	}
	if k.E < 3 || k.E%2 == 0 || k.E > math.MaxInt32 {
		return errors.New("the exponent of an RSA key is out of range")
	}
	return nil
}

// Verify returns the payload of a JWS with one signature, which must be by this key
// and of an algorithm that is the key's own.
func Verify(signed *jose.JSONWebSignature, public crypto.PublicKey) ([]byte, error) {
	if len(signed.Signatures) != 1 {
		return nil, fmt.Errorf("it has %d signatures, want one", len(signed.Signatures))
	}
	name := jose.SignatureAlgorithm(signed.Signatures[0].Protected.Algorithm)
	own, err := Algorithms(public)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(own, Name(name)) {
		return nil, errors.New("the key is not of the algorithm")
	}
	if k, ok := public.(ed25519.PublicKey); ok && name == Ed25519 {
		return signed.Verify(ed25519Key(k))
	}
	return signed.Verify(public)
}

// ed25519Key verifies signatures that go-jose has no name for.
type ed25519Key ed25519.PublicKey

// VerifyPayload implements jose.OpaqueVerifier.
func (k ed25519Key) VerifyPayload(payload, signature []byte, _ jose.SignatureAlgorithm) error {
	if !ed25519.Verify(ed25519.PublicKey(k), payload, signature) {
		return jose.ErrCryptoFailure
	}
	return nil
}
