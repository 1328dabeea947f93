package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// Signers hands a minter its key: the one active key of a ring, and all keys
// that verifiers must know meanwhile.
type Signers interface {
	SigningKey(ctx context.Context) (SigningKey, error)
	PublicKeys(ctx context.Context) ([]PublicKey, error)
}

// SigningKey is a P-256 key that signs. The private part may be anywhere (a
// hardware module has no other way), so it is a crypto.Signer.
type SigningKey struct {
	ID     string // kid
	Signer crypto.Signer
}

// PublicKey is a P-256 key that verifies.
type PublicKey struct {
	ID  string // kid
	Key *ecdsa.PublicKey
}

// KeySource finds the key of a kid. It is asked at every verification, of
// remembered tokens too, so it answers from memory. The error of an unknown kid
// is ErrUnknownKey; a *problem.Error (a guard that has no keys yet) reaches the
// caller of Verify as it is.
type KeySource interface {
	Key(ctx context.Context, kid string) (*ecdsa.PublicKey, error)
}

// ErrUnknownKey says that no key of this kid is known.
var ErrUnknownKey = errors.New("token: unknown key")

// KeySet is an immutable set of keys by kid. The zero value knows no key.
type KeySet struct {
	keys map[string]*ecdsa.PublicKey
}

// NewKeySet returns the set of the keys given. An empty or repeated kid and a
// key that is not on P-256 are errors.
func NewKeySet(keys []PublicKey) (KeySet, error) {
	set := KeySet{keys: make(map[string]*ecdsa.PublicKey, len(keys))}
	for _, k := range keys {
		if err := k.check(); err != nil {
			return KeySet{}, err
		}
		if _, dup := set.keys[k.ID]; dup {
			return KeySet{}, fmt.Errorf("token: two keys of the kid %q", clip(k.ID))
		}
		set.keys[k.ID] = k.Key
	}
	return set, nil
}

// Key returns the key of that kid, or ErrUnknownKey.
func (s KeySet) Key(_ context.Context, kid string) (*ecdsa.PublicKey, error) {
	if k, ok := s.keys[kid]; ok {
		return k, nil
	}
	return nil, ErrUnknownKey
}

func (k PublicKey) check() error {
	if k.ID == "" || len(k.ID) > maxKeyID {
		return fmt.Errorf("token: a kid has 1 to %d bytes, this one %d", maxKeyID, len(k.ID))
	}
	if k.Key == nil || k.Key.Curve != elliptic.P256() {
		return fmt.Errorf("token: key %q is not a P-256 key", clip(k.ID))
	}
	return nil
}

// KeyID returns the kid that this zone gives a key: its JWK thumbprint (RFC
// 7638 section 3 with SHA-256), so that one kid can never mean two keys.
func KeyID(key *ecdsa.PublicKey) (string, error) {
	x, y, err := coordinates(key)
	if err != nil {
		return "", err
	}
	// RFC 7638 section 3.2: the required members in lexicographic order, no white space.
	sum := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + y + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}
