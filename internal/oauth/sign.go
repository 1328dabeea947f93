package oauth

import (
	"context"
	"crypto"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/internal/es256"
	"sallyport.dev/internal/jws"
)

// jwks are the public keys of OpenID tokens.
func (p *Provider) jwks(ctx context.Context) (goidc.JSONWebKeySet, error) {
	keys, err := p.Keys.PublicKeys(ctx)
	if err != nil {
		return goidc.JSONWebKeySet{}, err
	}
	set := goidc.JSONWebKeySet{Keys: make([]goidc.JSONWebKey, len(keys))}
	for i, k := range keys {
		set.Keys[i] = goidc.JSONWebKey{Key: k.Key, KeyID: k.ID, Algorithm: string(goidc.ES256), Use: "sig"}
	}
	return set, nil
}

// signer hands the active key out in the form that the library can use.
func (p *Provider) signer(ctx context.Context, alg goidc.SignatureAlgorithm) (string, crypto.Signer, error) {
	if alg != goidc.ES256 {
		return "", nil, fmt.Errorf("oauth: no key for %s", alg)
	}
	key, err := p.Keys.SigningKey(ctx)
	if err != nil {
		return "", nil, callOf(ctx).fail(err)
	}
	return key.ID, rawSigner{key.Signer}, nil
}

// rawSigner signs as JWS wants it (RFC 7518 section 3.4): the library passes on
// what a signer returns, and ECDSA signers return ASN.1.
type rawSigner struct{ crypto.Signer }

func (s rawSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	der, err := s.Signer.Sign(rand, digest, opts)
	if err != nil {
		return nil, err
	}
	var numbers struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &numbers); err != nil || len(rest) > 0 || numbers.R.Sign() <= 0 || numbers.S.Sign() <= 0 ||
		numbers.R.BitLen() > 256 || numbers.S.BitLen() > 256 {
		return nil, errors.New("oauth: the key made no P-256 signature")
	}
	out := make([]byte, es256.Size)
	numbers.R.FillBytes(out[:es256.Size/2])
	numbers.S.FillBytes(out[es256.Size/2:])
	return out, nil
}

// signJWT signs claims of our own. The type keeps what is signed for one use from
// being taken for another.
func (p *Provider) signJWT(ctx context.Context, typ string, claims map[string]any) (string, error) {
	key, err := p.Keys.SigningKey(ctx)
	if err != nil {
		return "", err
	}
	header, err := json.Marshal(map[string]string{"alg": "ES256", "kid": key.ID, "typ": typ})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	signature, err := es256.Sign(key.Signer, []byte(signed))
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature[:]), nil
}

// keyFits says whether a key is of an algorithm that client assertions are taken in.
func keyFits(key any) bool {
	own, err := jws.Algorithms(key)
	return err == nil && slices.ContainsFunc(own, func(a jose.SignatureAlgorithm) bool { return slices.Contains(assertionAlgorithms(), a) })
}
