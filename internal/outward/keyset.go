package outward

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"sallyport.dev/internal/jws"
)

// key is a public key of an issuer.
type key struct {
	id         string                    // empty: it has none
	algorithms []jose.SignatureAlgorithm // for which it is
	public     crypto.PublicKey
}

// KeySet is what a JWK Set of an issuer holds that is of use here. Immutable.
type KeySet struct {
	keys    []key
	digest  [sha256.Size]byte // of the set as it was read
	skipped []string          // why keys are not used
}

// Len is how many keys of use there are.
func (s *KeySet) Len() int {
	if s == nil {
		return 0
	}
	return len(s.keys)
}

// find returns the keys by which a token may be signed. known is false when the
// issuer may have a key for it that is not in the set yet.
func (s *KeySet) find(header jose.Header) (found []key, known bool) {
	name := jws.Name(jose.SignatureAlgorithm(header.Algorithm))
	for _, k := range s.keys {
		if header.KeyID != "" && k.id != header.KeyID {
			continue
		}
		known = known || header.KeyID != ""
		if slices.Contains(k.algorithms, name) {
			found = append(found, k)
		}
	}
	if header.KeyID != "" {
		return found[:min(len(found), maxSameName)], known
	}
	if len(found) > 1 { // which one is a guess (OpenID Connect Core section 10.1)
		return nil, true
	}
	return found, len(found) == 1
}

// signatureError says which keys were tried.
type signatureError struct {
	tried  int
	header jose.Header
}

func (e *signatureError) Error() string {
	return fmt.Sprintf("the signature is by none of %d keys for alg %s and kid %q", e.tried, Clip(e.header.Algorithm), Clip(e.header.KeyID))
}

func (e *signatureError) Is(target error) bool { return target == ErrSignature }

// parseKeys reads a JWK Set (RFC 7517 section 5). A set that is none is an
// error, and so is one that is too large. Single keys are passed over: those that
// are private or symmetric, for another use, weak, or of a kind that is not
// known. A set without any key of use is one: the issuer took all back.
func parseKeys(data []byte, allowed []jose.SignatureAlgorithm) (*KeySet, error) {
	var set struct {
		Keys []Object `json:"keys"`
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
	s := &KeySet{digest: sha256.Sum256(data)}
	for n, members := range set.Keys {
		k, err := parseKey(members, allowed)
		if err != nil {
			s.skipped = append(s.skipped, fmt.Sprintf("key %d (%q): %v", n, Clip(members.Text("kid")), err))
			continue
		}
		s.keys = append(s.keys, k)
	}
	return s, nil
}

func parseKey(members Object, allowed []jose.SignatureAlgorithm) (key, error) {
	for _, name := range []string{"d", "k", "p", "q", "dp", "dq", "qi", "oth", "priv"} {
		if members.Has(name) {
			return key{}, fmt.Errorf("it is no public key: it has %s", name)
		}
	}
	if members.Has("use") && members.Text("use") != "sig" {
		return key{}, errors.New("use is not sig")
	}
	if members.Has("key_ops") && !slices.Contains(members.Texts("key_ops"), "verify") {
		return key{}, errors.New("key_ops is without verify")
	}
	k := key{id: members.Text("kid")}
	if members.Has("kid") && (k.id == "" || len(k.id) > MaxKeyID) {
		return key{}, errors.New("kid is no text, empty or too long")
	}
	// Only what makes the key: certificates beside it are not looked at, and a
	// strange one is no reason to do without the key.
	bare := map[string]string{}
	for _, name := range []string{"kty", "crv", "x", "y", "n", "e"} {
		if members.Has(name) {
			bare[name] = members.Text(name)
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
	own, err := jws.Algorithms(parsed.Key)
	if err != nil {
		return key{}, err
	}
	declared := jws.Name(jose.SignatureAlgorithm(members.Text("alg")))
	for _, a := range own {
		if slices.Contains(allowed, a) && (!members.Has("alg") || a == declared) {
			k.algorithms = append(k.algorithms, a)
		}
	}
	if len(k.algorithms) == 0 {
		return key{}, fmt.Errorf("no algorithm of %v is its own", allowed)
	}
	return k, nil
}
