// Package es256 makes and checks ECDSA signatures on P-256 with SHA-256 in the
// form that JWS (RFC 7518 section 3.4) and HTTP message signatures (RFC 9421
// section 3.3.4) share: R and S, 32 bytes each.
//
// The cryptography is crypto/ecdsa's. What is ours is the way between that form
// and the ASN.1 (SEC 1 section C.5) that Go's signers and verifiers speak: each
// request of a route with `proof: signature` has two signatures, and
// encoding/asn1 with math/big costs forty allocations for each. It takes nothing
// but minimal DER of positive numbers, and refuses everything else.
package es256

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// Size is that of a signature in bytes.
const Size = 2 * half

const half = 32

var errSigner = errors.New("the key made no P-256 signature")

// Sign signs a message with a P-256 key, which may be outside of the process.
func Sign(key crypto.Signer, message []byte) (out [Size]byte, err error) {
	sum := sha256.Sum256(message)
	der, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return out, err
	}
	if !fromDER(&out, der) {
		return out, errSigner
	}
	return out, nil
}

// Verify says whether a signature of the message is the key's.
func Verify(key *ecdsa.PublicKey, message []byte, signature *[Size]byte) bool {
	var room [derMost]byte
	der, ok := toDER(room[:0], signature)
	if !ok {
		return false
	}
	sum := sha256.Sum256(message)
	return ecdsa.VerifyASN1(key, sum[:], der)
}

// PublicKey returns the key that it is given when it is one of P-256.
func PublicKey(key crypto.PublicKey) (*ecdsa.PublicKey, error) {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok || k == nil || k.Curve != elliptic.P256() {
		return nil, fmt.Errorf("a key of type %T is not ECDSA P-256", key)
	}
	return k, nil
}
