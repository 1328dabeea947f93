package apikey

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
)

// publicKeyMax bounds the text of a public key, in bytes.
const publicKeyMax = 4096

var (
	errPublicKey  = errors.New("not an Ed25519 public key: want PEM (PUBLIC KEY), a JWK, or its 32 bytes in base64")
	errPrivateKey = errors.New("this is a private key: keep it, and give its public half alone; as it has been shown, better make a new one")
	errWeakKey    = errors.New("not an Ed25519 public key that is safe: its point is not on the curve, or of small order")
)

// ParsePublicKey reads an Ed25519 public key: PEM of a SubjectPublicKeyInfo
// (RFC 8410), a JWK (RFC 8037), or 32 bytes in base64 or base64url. Its errors
// never show the text: a private key may have been given by mistake.
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	if len(text) > publicKeyMax {
		return nil, errPublicKey
	}
	text = strings.TrimSpace(text)
	var key []byte
	var err error
	switch {
	case strings.HasPrefix(text, "-----BEGIN "):
		key, err = publicPEM(text)
	case strings.HasPrefix(text, "{"):
		key, err = publicJWK(text)
	default:
		key, err = publicRaw(text)
	}
	if err != nil {
		return nil, err
	}
	if len(key) != ed25519.PublicKeySize {
		return nil, errPublicKey
	}
	if !safePoint(key) {
		return nil, errWeakKey
	}
	return key, nil
}

func publicPEM(text string) ([]byte, error) {
	block, rest := pem.Decode([]byte(text))
	if strings.Contains(text, "PRIVATE KEY-----") {
		return nil, errPrivateKey
	}
	if block == nil || block.Type != "PUBLIC KEY" || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, errPublicKey
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	key, ok := parsed.(ed25519.PublicKey)
	if err != nil || !ok {
		return nil, errPublicKey
	}
	return key, nil
}

// publicJWK takes the members of other uses as RFC 7517 section 4 says, and
// refuses those that contradict the use that is made of the key here.
func publicJWK(text string) ([]byte, error) {
	var jwk struct {
		Kty, Crv, X, Use, Alg string
		D                     json.RawMessage
	}
	d := json.NewDecoder(strings.NewReader(text))
	if err := d.Decode(&jwk); err != nil || d.InputOffset() != int64(len(text)) {
		return nil, errPublicKey
	}
	switch {
	case jwk.D != nil:
		return nil, errPrivateKey
	case jwk.Kty != "OKP" || jwk.Crv != "Ed25519",
		jwk.Use != "" && jwk.Use != "sig",
		jwk.Alg != "" && jwk.Alg != "EdDSA" && jwk.Alg != "Ed25519":
		return nil, errPublicKey
	}
	return strictBase64(base64.RawURLEncoding, jwk.X)
}

func publicRaw(text string) ([]byte, error) {
	encoding := base64.StdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.URLEncoding
	}
	if !strings.HasSuffix(text, "=") {
		encoding = encoding.WithPadding(base64.NoPadding)
	}
	key, err := strictBase64(encoding, text)
	if len(key) == ed25519.PrivateKeySize { // seed and public half, as libraries keep it
		return nil, errPrivateKey
	}
	return key, err
}

// strictBase64 takes one spelling of what it decodes: the decoder skips line ends.
func strictBase64(e *base64.Encoding, text string) ([]byte, error) {
	b, err := e.Strict().DecodeString(text)
	if err != nil || e.EncodeToString(b) != text {
		return nil, errPublicKey
	}
	return b, nil
}
