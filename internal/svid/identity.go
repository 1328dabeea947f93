package svid

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Identity is what a workload is at one time. Nobody changes one once it is made.
type Identity struct {
	ID          ID
	Certificate tls.Certificate     // leaf first, then intermediates, no root; Leaf is parsed
	Roots       *x509.CertPool      // of the ID's trust domain
	RootCerts   []*x509.Certificate // the same
	NotBefore   time.Time           // of the leaf
	NotAfter    time.Time           // of the leaf

	root *x509.Certificate // where the chain ends
}

// NewIdentity returns the identity of a certificate chain in DER, leaf first,
// with its private key. The roots are those of its trust domain; one among the
// chain is left out. It refuses a chain that no peer would accept (X509-SVID
// section 5), at whatever time: it is judged at the end of the leaf, when every
// issuer must still live. Whether the leaf lives now is for Source to say.
func NewIdentity(chainDER [][]byte, key crypto.Signer, roots []*x509.Certificate) (*Identity, error) {
	i, err := newIdentity(chainDER, key, roots)
	if err != nil {
		return nil, fmt.Errorf("svid: not a usable identity: %w", err)
	}
	return i, nil
}

func newIdentity(chainDER [][]byte, key crypto.Signer, roots []*x509.Certificate) (*Identity, error) {
	if len(roots) == 0 || len(roots) > maxRoots {
		return nil, fmt.Errorf("%d roots, want 1 to %d", len(roots), maxRoots)
	}
	i := &Identity{Roots: x509.NewCertPool(), RootCerts: slices.Clone(roots)}
	for _, r := range roots {
		i.Roots.AddCert(r)
	}
	var chain []*x509.Certificate
	for n, der := range chainDER {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", n+1, err)
		}
		if n > 0 && slices.ContainsFunc(roots, cert.Equal) {
			continue
		}
		chain = append(chain, cert)
		i.Certificate.Certificate = append(i.Certificate.Certificate, cert.Raw)
	}
	peer, err := peerOf(chain)
	if err != nil {
		return nil, err
	}
	i.ID, i.NotBefore, i.NotAfter = peer.ID, peer.Leaf.NotBefore, peer.Leaf.NotAfter
	way, err := checkChain(chain, i.ID.TrustDomain(), i.Roots, i.NotAfter)
	if err != nil {
		return nil, err
	}
	i.root = way[len(way)-1]
	if key == nil {
		return nil, errors.New("no private key")
	}
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(peer.Leaf.PublicKey) {
		return nil, fmt.Errorf("the private key is not that of the certificate of %s", i.ID)
	}
	i.Certificate.PrivateKey, i.Certificate.Leaf = key, peer.Leaf
	return i, nil
}

// String names the identity; its key is never printed.
func (i Identity) String() string {
	return fmt.Sprintf("%s until %s", i.ID, i.NotAfter.Format(time.RFC3339))
}

// GoString is String: %#v does not print the key either.
func (i Identity) GoString() string { return i.String() }

// LogValue is String.
func (i Identity) LogValue() slog.Value { return slog.StringValue(i.String()) }

// MarshalText is String, so that no key gets into JSON.
func (i Identity) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// withRoot is the certificate with the root at the end of its chain, for a
// joiner, who knows the root by its digest only.
func (i *Identity) withRoot() *tls.Certificate {
	c := i.Certificate
	c.Certificate = append(slices.Clip(c.Certificate), i.root.Raw)
	return &c
}

// alive says why the identity cannot be used at this time, nil when it can.
func (i *Identity) alive(now time.Time) error {
	switch {
	case now.After(i.NotAfter):
		return fmt.Errorf("the identity of %s ended at %s", i.ID, i.NotAfter.Format(time.RFC3339))
	case now.Before(i.NotBefore):
		return fmt.Errorf("the identity of %s starts at %s: check the clock of this host", i.ID, i.NotBefore.Format(time.RFC3339))
	}
	return nil
}
