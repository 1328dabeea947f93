package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4/json"
)

const (
	maxSetSize = 64 << 10 // bytes of a JWK Set
	maxSetKeys = 64
	coordinate = 32 // bytes of a P-256 coordinate (RFC 7518 section 6.2.1.2: always the full size)
)

// jwk is a public key as it is published (RFC 7517 section 4, RFC 7518 section 6.2.1).
type jwk struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y"`
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
}

// MarshalJWKS writes the keys as a JWK Set (RFC 7517 section 5).
func MarshalJWKS(keys []PublicKey) ([]byte, error) {
	if _, err := NewKeySet(keys); err != nil {
		return nil, err
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: make([]jwk, 0, len(keys))}
	for _, k := range keys {
		x, y, err := coordinates(k.Key)
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, jwk{
			Type: "EC", Curve: "P-256", X: x, Y: y, ID: k.ID, Algorithm: Algorithm, Use: "sig",
		})
	}
	return json.Marshal(set)
}

// ParseJWKS reads a JWK Set. Keys of another kind (kty, crv, alg, use) or
// without a kid are skipped, as RFC 7517 section 5 asks. The whole set is
// refused when it is malformed or too large, when any member of any key is
// private, when a key of ours is not a point of the curve, when two share a
// kid, or when none is left.
func ParseJWKS(data []byte) (KeySet, error) {
	if len(data) > maxSetSize {
		return KeySet{}, fmt.Errorf("token: a JWK Set of %d bytes is more than %d", len(data), maxSetSize)
	}
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return KeySet{}, fmt.Errorf("token: parse JWK Set: %w", err)
	}
	if len(set.Keys) > maxSetKeys {
		return KeySet{}, fmt.Errorf("token: a JWK Set of %d keys is more than %d", len(set.Keys), maxSetKeys)
	}
	var keys []PublicKey
	for i, members := range set.Keys {
		if name, found := privateMember(members); found {
			return KeySet{}, fmt.Errorf("token: key %d of the JWK Set holds the private member %q: the key is burnt, replace it", i, name)
		}
		if !ours(members) {
			continue
		}
		key, err := point(members)
		if err != nil {
			return KeySet{}, fmt.Errorf("token: key %d of the JWK Set: %w", i, err)
		}
		keys = append(keys, PublicKey{ID: text(members, "kid"), Key: key})
	}
	if len(keys) == 0 {
		return KeySet{}, errors.New("token: the JWK Set holds no ES256 key")
	}
	return NewKeySet(keys)
}

// privateMember finds a member that belongs to private and secret keys only
// (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1; priv: RFC 9964).
func privateMember(members map[string]any) (string, bool) {
	for _, name := range []string{"d", "k", "p", "q", "dp", "dq", "qi", "oth", "priv"} {
		if _, found := members[name]; found {
			return name, true
		}
	}
	return "", false
}

// ours says whether a key is for signatures by ES256 and has a name. A missing
// alg or use is not taken for permission.
func ours(members map[string]any) bool {
	kid := text(members, "kid")
	return text(members, "kty") == "EC" &&
		text(members, "crv") == "P-256" &&
		text(members, "alg") == Algorithm &&
		text(members, "use") == "sig" &&
		kid != "" && len(kid) <= maxKeyID
}

// text returns a member that is a string, else the empty string.
func text(members map[string]any, name string) string {
	s, _ := members[name].(string)
	return s
}

// coordinates returns the base64url coordinates of a P-256 key.
func coordinates(key *ecdsa.PublicKey) (x, y string, err error) {
	if key == nil || key.Curve != elliptic.P256() {
		return "", "", errors.New("token: not a P-256 key")
	}
	b, err := key.Bytes() // SEC 1 uncompressed: 4, X, Y
	if err != nil {
		return "", "", fmt.Errorf("token: encode public key: %w", err)
	}
	enc := base64.RawURLEncoding
	return enc.EncodeToString(b[1 : 1+coordinate]), enc.EncodeToString(b[1+coordinate:]), nil
}

// point reads the coordinates of a key and checks that they are on the curve.
func point(members map[string]any) (*ecdsa.PublicKey, error) {
	b := []byte{4}
	for _, name := range []string{"x", "y"} {
		c, err := decodeSegment(text(members, name))
		if err != nil || len(c) != coordinate {
			return nil, fmt.Errorf("%s is not %d bytes in base64url", name, coordinate)
		}
		b = append(b, c...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), b)
	if err != nil {
		return nil, fmt.Errorf("not a point of P-256: %w", err)
	}
	return key, nil
}
