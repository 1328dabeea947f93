package token

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"strings"

	"sallyport.dev/internal/es256"
)

// protectedHeader is the first segment of the tokens of a key: a header of
// exactly alg, kid and typ.
func protectedHeader(kid string) (string, error) {
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
		Type      string `json:"typ"`
	}{Algorithm, kid, Type})
	return segment.EncodeToString(header), err
}

// signCompact signs a payload: the compact serialization of RFC 7515 section
// 7.1. It is ours because a route with `proof: signature` mints and verifies a
// token for each request, and the library spends as much again on what such a
// fixed header leaves to do.
func signCompact(signer crypto.Signer, header string, payload []byte) (string, error) {
	n := len(header) + 1 + segment.EncodedLen(len(payload)) + 1 + segment.EncodedLen(es256.Size)
	out := append(append(make([]byte, 0, n), header...), '.')
	out = segment.AppendEncode(out, payload)
	signature, err := es256.Sign(signer, out)
	if err != nil {
		return "", err
	}
	return string(segment.AppendEncode(append(out, '.'), signature[:])), nil
}

var errSignature = errors.New("the signature does not hold")

// openCompact returns the payload of a token whose signature holds (RFC 7515
// section 5.2), of a token of three segments in their one spelling. The header is
// keyIDOf's to judge, before.
func openCompact(value string, key *ecdsa.PublicKey) ([]byte, error) {
	dot := strings.LastIndexByte(value, '.')
	if dot < 0 {
		return nil, errSignature
	}
	raw, err := decodeSegment(value[dot+1:])
	if err != nil || len(raw) != es256.Size {
		return nil, errSignature
	}
	var room [usualSize]byte
	if !es256.Verify(key, append(room[:0], value[:dot]...), (*[es256.Size]byte)(raw)) {
		return nil, errSignature
	}
	_, payload, _ := strings.Cut(value[:dot], ".")
	return decodeSegment(payload)
}
