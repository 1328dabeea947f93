package gateway

import (
	"crypto/sha256"
	"encoding/base64"

	"sallyport.dev/internal/dpop"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

// The header fields of RFC 9449, in the canonical form of Go.
const (
	headerDPoP  = "Dpop"
	headerNonce = "Dpop-Nonce"
)

// possession asks of a credential that is bound to a key whether the sender of this
// very request holds it. It is asked at every request: what is remembered says only
// what the credential is bound to.
func (g *Gateway) possession(t *trip, p *policy.Principal) problem.Reason {
	if p.Bound.X5T != "" && p.Bound.X5T != t.certificate() {
		return problem.AuthProof
	}
	switch {
	case p.Bound.JKT == "" && t.cred.Kind != DPoPCredential:
		return problem.OK
	case p.Bound.JKT == "" || t.cred.Kind != DPoPCredential: // a stolen token must not do without its proof
		return problem.AuthInvalid // the record says so: it is the client's fault, not ours
	}
	return g.proven(t, p.Bound.JKT)
}

// proven checks the one DPoP proof of a request (RFC 9449 sections 4.3 and 7).
func (g *Gateway) proven(t *trip, jkt string) problem.Reason {
	now := g.clock()
	fields := t.r.Header[headerDPoP]
	if len(fields) != 1 || g.cfg.Once == nil {
		return problem.AuthProof
	}
	proof, err := dpop.Verify(fields[0], dpop.Expect{Method: t.r.Method, URL: "https://" + t.r.Host + t.path, Token: string(t.cred.Value), Now: now})
	if err != nil || proof.JKT != jkt {
		return problem.AuthProof
	}
	if fresh := g.cfg.Nonces.At(now); proof.Nonce != fresh {
		t.extra.Set(headerNonce, fresh)
	}
	if !g.cfg.Nonces.Good(proof.Nonce, now) {
		return problem.AuthNonce
	}
	id := sha256.Sum256([]byte(jkt + " " + proof.ID))
	first, err := g.cfg.Once.SetNX(t.r.Context(), "dpop/"+base64.RawURLEncoding.EncodeToString(id[:]), dpop.Lifetime)
	switch {
	case err != nil:
		t.cause = err
		return problem.AuthUnavailable
	case !first:
		return problem.AuthProof
	}
	return problem.OK
}

// certificate is the thumbprint of the client certificate of the connection; empty
// when there is none. The handshake has verified it.
func (t *trip) certificate() string {
	if t.r.TLS == nil || len(t.r.TLS.VerifiedChains) == 0 || len(t.r.TLS.PeerCertificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(t.r.TLS.PeerCertificates[0].Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
