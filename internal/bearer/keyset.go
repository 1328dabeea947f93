package bearer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// key is a public key of an issuer.
type key struct {
	id         string                    // empty: it has none
	algorithms []jose.SignatureAlgorithm // for which it is
	public     crypto.PublicKey
}

// keySet is what a JWK Set of an issuer holds that is of use here. Immutable.
type keySet struct {
	keys    []key
	digest  [sha256.Size]byte // of the set as it was read
	skipped []string          // why keys are not used
}

// find returns the keys by which a token may be signed. known is false when the
// issuer may have a key for it that is not in the set yet.
func (s *keySet) find(t *jwt) (found []key, known bool) {
	for _, k := range s.keys {
		if t.hasKeyID && k.id != t.keyID {
			continue
		}
		known = known || t.hasKeyID
		if slices.Contains(k.algorithms, t.algorithm) {
			found = append(found, k)
		}
	}
	if t.hasKeyID {
		return found[:min(len(found), maxSameName)], known
	}
	if len(found) > 1 { // which one is a guess
		return nil, true
	}
	return found, len(found) == 1
}

// parseKeys reads a JWK Set (RFC 7517 section 5). A set that is none is an
// error, and so is one that is too large. Single keys are passed over: those that
// are private or symmetric, for another use, weak, or of a kind that is not
// known. A set without any key of use is one: the issuer took all back.
func parseKeys(data []byte, allowed []string) (*keySet, error) {
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("parse JWK Set: %w", err)
	}
	if set.Keys == nil {
		return nil, errors.New("parse JWK Set: it has no keys")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("a JWK Set of %d keys is more than %d", len(set.Keys), maxKeys)
	}
	s := &keySet{digest: sha256.Sum256(data)}
	for n, members := range set.Keys {
		k, err := parseKey(members, allowed)
		if err != nil {
			s.skipped = append(s.skipped, fmt.Sprintf("key %d (%q): %v", n, clip(claims(members).text("kid")), err))
			continue
		}
		s.keys = append(s.keys, k)
	}
	return s, nil
}

func parseKey(members claims, allowed []string) (key, error) {
	for _, name := range []string{"d", "k", "p", "q", "dp", "dq", "qi", "oth", "priv"} {
		if members.has(name) {
			return key{}, fmt.Errorf("it is no public key: it has %s", name)
		}
	}
	if members.has("use") && members.text("use") != "sig" {
		return key{}, errors.New("use is not sig")
	}
	if members.has("key_ops") {
		if ops, _ := members["key_ops"].([]any); !slices.Contains(ops, any("verify")) {
			return key{}, errors.New("key_ops is without verify")
		}
	}
	k := key{id: members.text("kid")}
	if members.has("kid") && (k.id == "" || len(k.id) > maxKeyID) {
		return key{}, errors.New("kid is no text, empty or too long")
	}
	// Only what makes the key: certificates beside it are not looked at, and a
	// strange one is no reason to do without the key.
	bare := map[string]string{}
	for _, name := range []string{"kty", "crv", "x", "y", "n", "e"} {
		if members.has(name) {
			bare[name] = members.text(name)
		}
	}
	text, err := json.Marshal(bare)
	if err != nil {
		return key{}, err
	}
	var parsed jose.JSONWebKey
	if err := parsed.UnmarshalJSON(text); err != nil {
		return key{}, err
	}
	k.public = parsed.Key
	own, err := algorithmsOf(parsed.Key)
	if err != nil {
		return key{}, err
	}
	declared := jose.SignatureAlgorithm(members.text("alg"))
	for _, a := range own {
		if slices.Contains(allowed, string(a)) && (!members.has("alg") || a == declared) {
			k.algorithms = append(k.algorithms, a)
		}
	}
	if len(k.algorithms) == 0 {
		return key{}, fmt.Errorf("no algorithm of %v is its own", allowed)
	}
	return k, nil
}

// algorithmsOf returns what a key's type can do (RFC 7518 section 3.1, RFC 8037
// section 3.1), so that no token chooses another use for it.
func algorithmsOf(public crypto.PublicKey) ([]jose.SignatureAlgorithm, error) {
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
		// RFC 7518 section 3.3: 2048 bits or more. Above 8192 a look at a signature
		// costs more than it is worth.
		if bits := k.N.BitLen(); bits < 2048 || bits > 8192 {
			return nil, fmt.Errorf("an RSA key of %d bits is not within 2048 and 8192", bits)
		}
		if k.E < 3 || k.E%2 == 0 || k.E > math.MaxInt32 {
			return nil, errors.New("the exponent of an RSA key is out of range")
		}
		return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}, nil
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return []jose.SignatureAlgorithm{jose.EdDSA}, nil
		}
	}
	return nil, errors.New("its type is not for signatures here")
}
