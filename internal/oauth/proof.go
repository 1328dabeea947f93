package oauth

import (
	"crypto/sha256"
	"net/http"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/internal/dpop"
)

// jkt is the thumbprint of the key that the call has proved; empty: none.
func (c *call) jkt() string {
	if c.proof == nil {
		return ""
	}
	return c.proof.JKT
}

// x5t is that of its certificate (RFC 8705 section 3.1).
func (c *call) x5t() string {
	if c.cert == nil {
		return ""
	}
	sum := sha256.Sum256(c.cert.Raw)
	return b64(sum[:])
}

// readCertificate takes the certificate that the listener has verified.
func (c *call) readCertificate(r *http.Request) {
	if c.p.MTLSBase != "" && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && len(r.TLS.PeerCertificates) > 0 {
		c.cert = r.TLS.PeerCertificates[0]
	}
}

// holds says whether a call may use what is bound to a key. The refresh tokens of a
// client that shows who it is otherwise may move to another key (RFC 9449 section 5).
func (c *call) holds(jkt string, moves bool) bool {
	return jkt == "" || jkt == c.jkt() || moves && c.proof != nil
}

// bind binds a grant, and the token that the library makes of it next, to the key
// that the call has proved. A grant that was not bound is not bound by its refresh,
// unless it is of before the client's tokens had to be.
func (c *call) bind(g *goidc.Grant) {
	must := c.client != nil && c.client.DPoP
	if c.endpoint == endpointToken && (c.unit.refresh.grant != g.ID || c.unit.refresh.bound || must) {
		g.JWKThumbprint = c.jkt()
	}
}

// prove checks the proof of possession of a call, before the library sees the
// request. The library takes no part in it: it would revoke a code for a bad proof,
// has no nonce to ask for, and knows algorithms by their older names alone.
// token is the access token that the request carries; empty: none.
func (p *Provider) prove(r *http.Request, c *call, token string) error {
	proofs := r.Header.Values("DPoP")
	if len(proofs) == 0 {
		return nil
	}
	bad := &fault{code: "invalid_dpop_proof", text: "the DPoP proof is not valid"}
	if len(proofs) > 1 { // the library would see none
		return bad
	}
	want := dpop.Expect{Method: r.Method, URL: p.Issuer + r.URL.Path, Token: token, Now: p.Clock()}
	proof, err := dpop.Verify(proofs[0], want)
	if err != nil && c.cert != nil {
		want.URL = p.MTLSBase + r.URL.Path
		proof, err = dpop.Verify(proofs[0], want)
	}
	if err != nil {
		p.onError(withCall(r.Context(), c), err)
		return bad
	}
	if !p.nonces.Good(proof.Nonce, want.Now) { // before its id is taken: the next try may be the same but for this
		return &fault{code: "use_dpop_nonce", text: "the proof needs the nonce of the header DPoP-Nonce"}
	}
	if token == "" && !c.assertion.held {
		if err := p.take(r, c, "oauth proof", proofsPerAddress); err != nil {
			return err
		}
	}
	fresh, err := p.UseProof(r.Context(), proof)
	if err != nil {
		return c.fail(err)
	}
	if !fresh {
		return bad
	}
	c.proof = &proof
	return nil
}
