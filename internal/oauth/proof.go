package oauth

import (
	"crypto/sha256"
	"net/http"

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

// prove checks the proof of possession of a call, before the library sees the
// request: it would revoke a code for a bad proof, and has no nonce to ask for.
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
		c.cause = err
		return bad
	}
	if !p.nonces.Good(proof.Nonce, want.Now) { // before its id is taken: the next try may be the same but for this
		return &fault{code: "use_dpop_nonce", text: "the proof needs the nonce of the header DPoP-Nonce"}
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
