package broker

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// verify returns the claims of an ID token, in the order of OpenID Connect Core
// section 3.1.3.7.
func (o *oidcProvider) verify(ctx context.Context, raw, access string, s *State) (claims, error) {
	if raw == "" || len(raw) > maxIDToken {
		return nil, invalid("there is no ID token, or one of %d bytes", len(raw))
	}
	payload, err := o.keys.verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	c, err := parseClaims(payload)
	if err != nil {
		return nil, invalid("claims of the ID token: %w", err)
	}
	now := o.clock()
	verifier := oidc.NewVerifier(o.Issuer, verified{raw, payload}, &oidc.Config{
		ClientID: o.ClientID, SupportedSigningAlgs: o.Algorithms,
		Now: func() time.Time { return now.Add(-leeway) }, // for exp; the others are compared below
	})
	token, err := verifier.Verify(ctx, raw)
	if err != nil {
		return nil, invalid("ID token: %s", clipLong(err.Error()))
	}
	if token.Issuer != o.Issuer { // the library takes another spelling of Google's
		return nil, invalid("iss is %q, want %q", clip(token.Issuer), o.Issuer)
	}
	if !isSubject(c.text("sub")) {
		return nil, invalid("sub is missing, longer than %d bytes, or no text on one line", maxSubject)
	}
	if err := o.authorized(c, token.Audience); err != nil {
		return nil, err
	}
	if err := timely(c, now); err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(c.text("nonce")), []byte(s.Nonce)) != 1 || s.Nonce == "" {
		return nil, invalid("nonce is of another flow, or missing")
	}
	if c.has("at_hash") {
		if err := token.VerifyAccessToken(access); err != nil {
			return nil, invalid("at_hash: %w", err)
		}
	}
	return c, nil
}

const maxAudience = 20

// authorized compares azp: a token for several must be one that we asked for.
func (o *oidcProvider) authorized(c claims, audience []string) error {
	switch {
	case c.has("azp") && c.text("azp") != o.ClientID:
		return invalid("azp is %q, want %q", clip(c.text("azp")), o.ClientID)
	case len(audience) > maxAudience:
		return invalid("aud has %d entries", len(audience))
	case len(audience) > 1 && !c.has("azp"):
		return invalid("aud has %d entries, and there is no azp", len(audience))
	}
	return nil
}

// timely compares exp, iat and nbf, with a minute for clocks that differ.
func timely(c claims, now time.Time) error {
	expires, ok := c.moment("exp")
	if !ok || !now.Before(expires.Add(leeway)) {
		return invalid("exp is missing, or the ID token has expired at %s", expires)
	}
	for _, name := range []string{"iat", "nbf"} {
		at, ok := c.moment(name)
		switch {
		case !c.has(name) && name == "nbf":
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
