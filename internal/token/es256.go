package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// signatureSize is that of ES256: R and S of 32 bytes each (RFC 7518 section 3.4).
const signatureSize = 64

// ecdsaSignature is an ECDSA signature as Go's signers return it (SEC 1 section C.5).
type ecdsaSignature struct{ R, S *big.Int }

// signCompact signs a payload: the compact serialization of RFC 7515 section
// 7.1 with a header of exactly alg, kid and typ. It is ours because a route with
// `proof: signature` mints and verifies a token for each request, and the
// library spends as much again on what such a fixed header leaves to do.
func signCompact(signer crypto.Signer, kid string, payload []byte) (string, error) {
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
		Type      string `json:"typ"`
	}{Algorithm, kid, Type})
	if err != nil {
		return "", err
	}
	n := segment.EncodedLen(len(header)) + 1 + segment.EncodedLen(len(payload)) + 1 + segment.EncodedLen(signatureSize)
	out := segment.AppendEncode(make([]byte, 0, n), header)
	out = segment.AppendEncode(append(out, '.'), payload)
	digest := sha256.Sum256(out)
	der, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return "", err
	}
	var s ecdsaSignature
	if rest, err := asn1.Unmarshal(der, &s); err != nil || len(rest) > 0 {
		return "", fmt.Errorf("the signer's answer is no ECDSA signature: %w", err)
	}
	if s.R.Sign() <= 0 || s.S.Sign() <= 0 || s.R.BitLen() > 8*signatureSize/2 || s.S.BitLen() > 8*signatureSize/2 {
		return "", errors.New("the signer's answer is of another curve")
	}
	var raw [signatureSize]byte
	s.R.FillBytes(raw[:signatureSize/2])
	s.S.FillBytes(raw[signatureSize/2:])
	return string(segment.AppendEncode(append(out, '.'), raw[:])), nil
}

var errSignature = errors.New("the signature does not hold")

// openCompact returns the payload of a token whose signature holds (RFC 7515
// section 5.2). The header is keyIDOf's to judge, before.
func openCompact(value string, key *ecdsa.PublicKey) ([]byte, error) {
	dot := strings.LastIndexByte(value, '.')
	if dot < 0 {
		return nil, errSignature
	}
	raw, err := decodeSegment(value[dot+1:])
	if err != nil || len(raw) != signatureSize {
		return nil, errSignature
	}
	digest := sha256.Sum256([]byte(value[:dot]))
	r, s := new(big.Int).SetBytes(raw[:signatureSize/2]), new(big.Int).SetBytes(raw[signatureSize/2:])
	if !ecdsa.Verify(key, digest[:], r, s) { // refuses R and S outside of the curve's order
		return nil, errSignature
	}
	_, payload, _ := strings.Cut(value[:dot], ".")
	return decodeSegment(payload)
}
