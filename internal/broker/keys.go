package broker

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

const (
	maxKeys     = 100 // of a JWK Set
	maxSameName = 4   // keys of one kid that are tried
	maxKeyID    = 256
)

// keys are the keys of an issuer. A token is verified with the key that its kid
// names, and nothing that it brings along (RFC 8725 section 3.10).
type keys struct {
	algorithms []jose.SignatureAlgorithm
	document   *document[[]key]
}

// key is a public key with the algorithms that are its own.
type key struct {
	id         string
	algorithms []jose.SignatureAlgorithm
	public     crypto.PublicKey
}

func newKeys(algorithms []string, fetch func(context.Context) ([]key, error), clock func() time.Time) *keys {
	k := &keys{document: &document[[]key]{fetch: fetch, clock: clock, refresh: keysTime}}
	for _, a := range algorithms {
		k.algorithms = append(k.algorithms, jose.SignatureAlgorithm(a))
	}
	return k
}

// verify returns the payload of a JWS whose signature holds. A kid that is not
// known may be of a new key: the issuer is asked, if it was not a moment ago.
func (k *keys) verify(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, k.algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, invalid("the ID token is no JWS of an algorithm among %v", k.algorithms)
	}
	header := jws.Signatures[0].Protected
	if typ, has := header.ExtraHeaders[jose.HeaderType]; has {
		if s, _ := typ.(string); !strings.EqualFold(strings.TrimPrefix(strings.ToLower(s), "application/"), "jwt") {
			return nil, invalid("the ID token is of the type %q", clip(s))
		}
	}
	set, err := k.document.get(ctx)
	if err != nil {
		return nil, err
	}
	found := find(set, header)
	if len(found) == 0 {
		again, looked, err := k.document.again(ctx)
		if err != nil {
			return nil, err // of an issuer that cannot be asked it is open whether it has the key
		}
		if looked {
			found = find(again, header)
		}
	}
	for _, one := range found {
		if payload, err := jws.Verify(one.public); err == nil {
			return payload, nil
		}
	}
	return nil, invalid("the signature of the ID token is by none of %d keys for alg %s and kid %q", len(found), clip(header.Algorithm), clip(header.KeyID))
}

// find returns the keys by which a token may be signed.
func find(set []key, header jose.Header) []key {
	var found []key
	for _, k := range set {
		if (header.KeyID == "" || k.id == header.KeyID) && slices.Contains(k.algorithms, jose.SignatureAlgorithm(header.Algorithm)) {
			found = append(found, k)
		}
	}
	if header.KeyID == "" && len(found) > 1 { // which one is a guess (OpenID Connect Core section 10.1)
		return nil
	}
	return found[:min(len(found), maxSameName)]
}

func (o *oidcProvider) fetchKeys(ctx context.Context) ([]key, error) {
	d, err := o.discovery.get(ctx)
	if err != nil {
		return nil, err
	}
	data, _, err := o.egress.get(ctx, d.jwks, "Accept", "application/jwk-set+json, application/json")
	if err != nil {
		return nil, err
	}
	set, err := parseKeys(data, o.keys.algorithms)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", clip(d.jwks), err)
	}
	return set, nil
}

// parseKeys reads a JWK Set (RFC 7517 section 5). Keys that are of no use here are
// passed over: private, symmetric, weak, for another use, of an unknown kind.
func parseKeys(data []byte, allowed []jose.SignatureAlgorithm) ([]key, error) {
	var set struct {
		Keys []claims `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, err
	}
	if set.Keys == nil || len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("a JWK Set of %d keys is none, or more than %d", len(set.Keys), maxKeys)
	}
	list := []key{}
	for _, members := range set.Keys {
		if k, err := parseKey(members, allowed); err == nil {
			list = append(list, k)
		}
	}
	return list, nil
}

func parseKey(members claims, allowed []jose.SignatureAlgorithm) (key, error) {
	for _, name := range []string{"d", "k", "p", "q", "dp", "dq", "qi", "oth", "priv"} {
		if members.has(name) {
			return key{}, errors.New("it is no public key")
		}
	}
	if members.has("use") && members.text("use") != "sig" || members.has("key_ops") && !slices.Contains(members.texts("key_ops"), "verify") {
		return key{}, errors.New("it is for another use")
	}
	k := key{id: members.text("kid")}
	if members.has("kid") && (k.id == "" || len(k.id) > maxKeyID) {
		return key{}, errors.New("kid is no text, empty or too long")
	}
	bare := map[string]string{} // without certificates, which are not looked at
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
	for _, a := range algorithmsOf(parsed.Key) {
		if slices.Contains(allowed, a) && (!members.has("alg") || members.text("alg") == string(a)) {
			k.algorithms = append(k.algorithms, a)
		}
	}
	if len(k.algorithms) == 0 {
		return key{}, errors.New("no allowed algorithm is its own")
	}
	return k, nil
}

// algorithmsOf returns what a key's type can do (RFC 7518 section 3.1, RFC 8037
// section 3.1), so that no token chooses another use for it.
func algorithmsOf(public crypto.PublicKey) []jose.SignatureAlgorithm {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []jose.SignatureAlgorithm{jose.ES256}
		case elliptic.P384():
			return []jose.SignatureAlgorithm{jose.ES384}
		case elliptic.P521():
			return []jose.SignatureAlgorithm{jose.ES512}
		}
	case *rsa.PublicKey:
		if strongRSA(k) {
			return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}
		}
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return []jose.SignatureAlgorithm{jose.EdDSA}
		}
	}
	return nil
}

// strongRSA is RFC 7518 section 3.3: 2048 bits or more. Above 8192 a signature
// costs more to look at than it is worth.
func strongRSA(k *rsa.PublicKey) bool {
	bits := k.N.BitLen()
	return bits >= 2048 && bits <= 8192 && k.E >= 3 && k.E%2 == 1 && k.E <= math.MaxInt32
}
