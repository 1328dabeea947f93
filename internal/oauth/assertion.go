package oauth

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"

	"sallyport.dev/internal/jws"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// The bounds of client assertions: how far ahead `exp` may lie, and how much clocks
// may differ.
const (
	assertionLife = 5 * time.Minute
	leeway        = 10 * time.Second
	maxJTI        = 256 // bytes
)

// assertionAlgorithms are those of client assertions.
func assertionAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.ES256, jose.PS256, jws.Ed25519, jose.EdDSA}
}

// assertionNames are the same as metadata lists them.
func assertionNames() []string {
	var names []string
	for _, a := range assertionAlgorithms() {
		names = append(names, string(a))
	}
	return names
}

// assertion is what the door read of a client assertion.
type assertion struct {
	id     string // jti; empty: there is no assertion
	signed *jose.JSONWebSignature
	claims jwt.Claims
	held   bool // it was verified: before that anybody could use the id up
}

func badAssertion() error {
	return &fault{code: "invalid_client", text: "the client assertion is not valid", status: http.StatusUnauthorized}
}

// readAssertion reads whose an assertion says that it is. Nothing else of it is
// believed before it was verified.
func (c *call) readAssertion() error {
	if c.form.Get("client_assertion_type") != assertionType {
		return badAssertion()
	}
	signed, err := jose.ParseSignedCompact(c.form.Get("client_assertion"), assertionAlgorithms())
	if err != nil {
		return badAssertion()
	}
	var claims jwt.Claims
	if json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &claims) != nil || claims.Issuer == "" || claims.ID == "" || len(claims.ID) > maxJTI {
		return badAssertion()
	}
	if named := c.form.Get("client_id"); named != "" && named != claims.Issuer {
		return invalid("two clients are named")
	}
	c.claimed, c.assertion = claims.Issuer, assertion{id: claims.ID, signed: signed, claims: claims}
	return nil
}

// asserted verifies the assertion of a call (RFC 7523 section 3, FAPI 2.0 section
// 5.3.2.1). The library knows algorithms by their older names alone; it is told what
// came of it, see forLibrary.
func (p *Provider) asserted(r *http.Request, c *call) error {
	if c.assertion.id == "" || c.client == nil {
		return nil // the library refuses a client that is unknown
	}
	if err := c.assertion.verify(c.client, p.Issuer, p.Clock()); err != nil {
		p.onError(withCall(r.Context(), c), err)
		return badAssertion()
	}
	c.assertion.held = true
	return nil
}

// verify compares what was signed. Its error is for the log.
func (a *assertion) verify(known *client, issuer string, now time.Time) error {
	if err := a.signedBy(known); err != nil {
		return err
	}
	c := a.claims
	switch {
	case len(c.Audience) != 1 || c.Audience[0] != issuer: // one text, and not what else an issuer could be called by
		return errors.New("aud is not the issuer alone")
	case c.Expiry == nil || c.Expiry.Time().Sub(now) > assertionLife:
		return errors.New("exp is missing or too far ahead")
	}
	return c.ValidateWithLeeway(jwt.Expected{Issuer: known.ID, Subject: known.ID, Time: now}, leeway)
}

// signedBy says whether a client has signed: with the key that kid names; where
// there is no kid, with the only one that can have.
func (a *assertion) signedBy(known *client) error {
	if known.keys == nil {
		return errors.New("the client has no keys")
	}
	header := a.signed.Signatures[0].Protected
	name := jws.Name(jose.SignatureAlgorithm(header.Algorithm))
	tried, failed := 0, errors.New("no key of the client is for it")
	for _, k := range known.keys.Keys {
		own, err := jws.Algorithms(k.Key)
		if err != nil || k.Use != "sig" || !slices.Contains(own, name) || k.Algorithm != "" && jws.Name(jose.SignatureAlgorithm(k.Algorithm)) != name ||
			header.KeyID != "" && k.KeyID != header.KeyID {
			continue
		}
		if tried++; header.KeyID == "" && tried > 1 {
			return errors.New("without kid it could be of several keys")
		}
		if _, failed = jws.Verify(a.signed, k.Key); failed == nil && header.KeyID != "" {
			return nil
		}
	}
	return failed
}
