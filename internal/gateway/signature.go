package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/reqsig"
)

var errSigner = errors.New("the signing key is of another API key")

// checkSignature asks of a route with `signed: true` whether the caller has signed
// this very request with a signing key of its API key, and whether it has not come
// before. The body is compared with the digest that is covered when it is there,
// before the service hears of it (digested).
func (g *Gateway) checkSignature(t *trip) problem.Reason {
	if t.principal.Kind != policy.Key || g.cfg.Signing == nil || g.cfg.Once == nil {
		return problem.AccessKind // others have nothing to sign with
	}
	now := g.clock()
	r := reqsig.Request{
		Method: t.r.Method, Scheme: "https", Authority: t.r.Host, Path: t.path, Query: t.query, HasQuery: t.hasQuery,
		Header: t.r.Header, Credential: t.credentialField(), Body: t.body != nil && t.r.ContentLength != 0,
	}
	s, err := reqsig.Parse(&r, now)
	if err != nil {
		return t.failed(err, problem.ProofInvalid)
	}
	ctx, cancel := context.WithTimeout(t.r.Context(), lookupTime)
	defer cancel()
	key, of, err := g.cfg.Signing.SigningKey(ctx, s.KeyID)
	if err == nil && of != t.principal.Client {
		err = problem.New(problem.ProofInvalid, errSigner)
	}
	if err == nil {
		err = s.Verify(&r, key)
	}
	if err != nil {
		return t.failed(err, problem.ProofUnavailable)
	}
	id := sha256.Sum256([]byte(s.KeyID + " " + s.Nonce))
	first, err := g.cfg.Once.SetNX(ctx, "signed/"+base64.RawURLEncoding.EncodeToString(id[:]), reqsig.Lifetime)
	switch {
	case err != nil:
		t.cause = err
		return problem.ProofUnavailable
	case !first:
		return problem.ProofReplayed
	}
	return problem.OK
}

// credentialField is the field that holds the credential, as a signature names it.
func (t *trip) credentialField() string {
	if t.cred.Kind == KeyCredential {
		return "x-api-key"
	}
	return "authorization"
}
