package broker

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/internal/outward"
)

// verify returns the claims of an ID token, in the order of OpenID Connect Core
// section 3.1.3.7.
func (o *oidcProvider) verify(ctx context.Context, raw, access string, s *State) (outward.Object, error) {
	if raw == "" || len(raw) > maxIDToken {
		return nil, invalid("there is no ID token, or one of %d bytes", len(raw))
	}
	signed, err := o.keys.Parse(raw)
	if err != nil {
		return nil, invalid("the ID token is no JWS of an algorithm among %v", o.Algorithms)
	}
	header := signed.Signatures[0].Protected
	if typ, has := header.ExtraHeaders[jose.HeaderType]; has {
		if s, _ := typ.(string); strings.TrimPrefix(strings.ToLower(s), "application/") != "jwt" {
			return nil, invalid("the ID token is of the type %q", outward.Clip(s))
		}
	}
	payload, _, err := o.keys.Verify(ctx, signed)
	if errors.Is(err, outward.ErrSignature) {
		return nil, invalid("ID token: %w", err)
	}
	if err != nil {
		return nil, err
	}
	c, err := outward.ParseObject(payload)
	if err != nil {
		return nil, invalid("claims of the ID token: %w", err)
	}
	now := o.clock()
	verifier := oidc.NewVerifier(o.Issuer, verified{raw, payload}, &oidc.Config{
		ClientID: o.ClientID, SupportedSigningAlgs: []string{header.Algorithm}, // it was allowed above, where it has two names
		Now: func() time.Time { return now.Add(-leeway) }, // for exp; the others are compared below
	})
	token, err := verifier.Verify(ctx, raw)
	if err != nil {
		return nil, invalid("ID token: %s", clipLong(err.Error()))
	}
	if token.Issuer != o.Issuer { // the library takes another spelling of Google's
		return nil, invalid("iss is %q, want %q", outward.Clip(token.Issuer), o.Issuer)
	}
	if !isSubject(c.Text("sub")) {
		return nil, invalid("sub is missing, longer than %d bytes, or no text on one line", maxSubject)
	}
	if err := o.authorized(c, token.Audience); err != nil {
		return nil, err
	}
	if err := timely(c, now); err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(c.Text("nonce")), []byte(s.Nonce)) != 1 || s.Nonce == "" {
		return nil, invalid("nonce is of another flow, or missing")
	}
	if c.Has("at_hash") {
		if want := accessHash(header.Algorithm, access); subtle.ConstantTimeCompare([]byte(c.Text("at_hash")), []byte(want)) != 1 {
			return nil, invalid("at_hash is of another access token")
		}
	}
	return c, nil
}

// accessHash is what at_hash must be (OpenID Connect Core section 3.1.3.6): half of
// the hash that the algorithm is of.
func accessHash(algorithm, access string) string {
	var sum []byte
	switch algorithm[max(0, len(algorithm)-3):] {
	case "256":
		s := sha256.Sum256([]byte(access))
		sum = s[:]
	case "384":
		s := sha512.Sum384([]byte(access))
		sum = s[:]
	default: // 512, and EdDSA on the curve Ed25519
		s := sha512.Sum512([]byte(access))
		sum = s[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

const maxAudience = 20

// authorized compares azp: a token for several must be one that we asked for.
func (o *oidcProvider) authorized(c outward.Object, audience []string) error {
	switch {
	case c.Has("azp") && c.Text("azp") != o.ClientID:
		return invalid("azp is %q, want %q", outward.Clip(c.Text("azp")), o.ClientID)
	case len(audience) > maxAudience:
		return invalid("aud has %d entries", len(audience))
	case len(audience) > 1 && !c.Has("azp"):
		return invalid("aud has %d entries, and there is no azp", len(audience))
	}
	return nil
}

// timely compares exp, iat and nbf, with a minute for clocks that differ.
func timely(c outward.Object, now time.Time) error {
	expires, ok := c.Moment("exp")
	if !ok || !now.Before(expires.Add(leeway)) {
		return invalid("exp is missing, or the ID token has expired at %s", expires)
	}
	for _, name := range []string{"iat", "nbf"} {
		at, ok := c.Moment(name)
		switch {
		case !c.Has(name) && name == "nbf":
		case !ok:
			return invalid("%s is missing or no time", name)
		case at.After(now.Add(leeway)):
			return invalid("%s is %s in the future", name, at.Sub(now).Round(time.Second))
		}
	}
	return nil
}

// verified is the key set of a token whose signature was verified already, with
// keys of which it is known whether they could be had.
type verified struct {
	token   string
	payload []byte
}

// VerifySignature implements oidc.KeySet.
func (v verified) VerifySignature(_ context.Context, token string) ([]byte, error) {
	if v.token != token {
		return nil, errors.New("another token")
	}
	return v.payload, nil
}
