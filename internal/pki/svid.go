package pki

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// IssueSVID issues an X.509-SVID for spiffe://ZONE/NAME over a P-256 key: the
// leaf and its intermediate in DER, the root not among them, and the leaf's end.
// The ID is the only thing it says. Who may have this name is the caller's to know.
func (c *CA) IssueSVID(ctx context.Context, name string, pub crypto.PublicKey) (chainDER [][]byte, notAfter time.Time, err error) {
	if !workloadName(name) {
		return nil, time.Time{}, fmt.Errorf("pki: issue SVID: %.80q is not the name of a workload", name)
	}
	key, err := p256(pub)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("pki: issue SVID for %s: %w", name, err)
	}
	now := c.opt.Clock()
	issuer, err := c.svid.use(ctx, now)
	if err != nil {
		return nil, time.Time{}, err
	}
	leaf, err := issuer.issueSVID(&url.URL{Scheme: "spiffe", Host: c.zone, Path: "/" + name}, key, now, c.opt.SVIDLife)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("pki: issue SVID for %s: %w", name, err)
	}
	return [][]byte{leaf.Raw, issuer.cert.Raw}, leaf.NotAfter, nil
}

// issueSVID makes a leaf after the X509-SVID specification (sections 2, 4 and
// appendix A). The subject is empty, so that nobody takes it for the identity,
// and that makes the subject alternative name critical (RFC 5280 section 4.2.1.6).
func (c *certKey) issueSVID(id *url.URL, pub *ecdsa.PublicKey, now time.Time, life time.Duration) (*x509.Certificate, error) {
	tmpl := template(pkix.Name{}, now, life)
	tmpl.URIs = []*url.URL{id}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	return c.sign(tmpl, pub, now)
}

var errKey = errors.New("the key is not ECDSA on P-256")

// p256 returns a public key that is a point of P-256, copied.
func p256(pub crypto.PublicKey) (*ecdsa.PublicKey, error) {
	key, ok := pub.(*ecdsa.PublicKey)
	if !ok || key == nil || key.Curve != elliptic.P256() {
		return nil, errKey
	}
	point, err := key.Bytes()
	if err != nil {
		return nil, errKey
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
}
