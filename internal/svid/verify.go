package svid

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Peer is the workload at the other end of a connection.
type Peer struct {
	ID       ID
	Leaf     *x509.Certificate
	Chain    []*x509.Certificate // as it was presented, Leaf first
	NotAfter time.Time           // the end of Leaf, which no issuer of it ends before
}

// peerOf reads who a chain is for and judges the leaf alone.
func peerOf(chain []*x509.Certificate) (Peer, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return Peer{}, fmt.Errorf("a chain of %d certificates, want 1 to %d", len(chain), maxChain)
	}
	leaf := chain[0]
	id, err := checkLeaf(leaf)
	if err != nil {
		return Peer{}, err
	}
	return Peer{ID: id, Leaf: leaf, Chain: chain, NotAfter: leaf.NotAfter}, nil
}

// checkLeaf returns the ID of a certificate that can be a leaf SVID (X509-SVID
// sections 2 to 5 and appendix A).
func checkLeaf(leaf *x509.Certificate) (ID, error) {
	id, err := idOf(leaf)
	switch {
	case err != nil:
		return ID{}, err
	case id.Path() == "":
		return ID{}, fmt.Errorf("%s is a trust domain, no workload", id)
	case leaf.IsCA:
		return ID{}, fmt.Errorf("the certificate of %s is a CA's", id)
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return ID{}, fmt.Errorf("the certificate of %s lacks the key usage digitalSignature", id)
	case leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return ID{}, fmt.Errorf("the certificate of %s may sign others", id)
	case !bothSides(leaf):
		return ID{}, fmt.Errorf("the certificate of %s is not for both sides of TLS", id)
	}
	return id, nil
}

// checkChain verifies that the chain, leaf first, leads to one of the roots of
// the trust domain at this time and returns the way it took, root included.
func checkChain(chain []*x509.Certificate, td spiffeid.TrustDomain, roots *x509.CertPool, at time.Time) ([]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	// bothSides judges the extended key usages: x509 asks for one of them only.
	ways, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, err
	}
	for _, way := range ways {
		if err = checkWay(way, td); err == nil {
			return way, nil
		}
	}
	return nil, err
}

// checkWay judges what x509 does not know of: every signer is of the trust
// domain and for SVIDs.
func checkWay(way []*x509.Certificate, td spiffeid.TrustDomain) error {
	leaf := way[0]
	for _, signer := range way[1:] {
		name := signer.Subject.CommonName
		if signer.NotAfter.Before(leaf.NotAfter) {
			return fmt.Errorf("the certificate ends at %s, after its issuer %q", leaf.NotAfter.Format(time.RFC3339), name)
		}
		if !bothSides(signer) && !slices.Contains(signer.ExtKeyUsage, x509.ExtKeyUsageAny) {
			return fmt.Errorf("the issuer %q signs for one side of TLS only", name)
		}
		if len(signer.URIs) == 0 {
			continue
		}
		id, err := idOf(signer)
		if err != nil {
			return fmt.Errorf("the issuer %q: %w", name, err)
		}
		if id.Path() != "" || id.TrustDomain() != td {
			return fmt.Errorf("the issuer %q is %s, want the trust domain %s", name, id, td)
		}
	}
	return nil
}

// bothSides says whether the extended key usages, when there are any, hold both
// of TLS.
func bothSides(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
}
