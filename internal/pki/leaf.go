package pki

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"
)

// leafEvery is how often it is looked whether a leaf is due.
const leafEvery = time.Minute

// ServerCertificate returns a source of certificates of the CA for the hosts (names in
// lower case and addresses) and loopback. Its private keys are in memory only.
func (c *CA) ServerCertificate(ctx context.Context, hosts []string) (*Source, error) {
	n, err := parseNames(hosts)
	if err != nil {
		return nil, err
	}
	return newSource(ctx, &leaves{ca: c, names: n}, leafEvery, c.opt)
}

// leaves supplies a listener from the zone's CA.
type leaves struct {
	ca    *CA
	names names
}

func (l *leaves) due(now time.Time, current *tls.Certificate) bool {
	return !now.Before(renewal(current.Leaf))
}

// supply issues a leaf with a key of its own. What is served is the leaf and
// its intermediate: the root is what clients have (RFC 8446 section 4.4.2).
func (l *leaves) supply(ctx context.Context, now time.Time, _ *tls.Certificate) (*tls.Certificate, error) {
	web, err := l.ca.web.use(ctx, now)
	if err != nil {
		return nil, err
	}
	leaf, err := web.issueLeaf(l.names, now)
	if err != nil {
		return nil, fmt.Errorf("pki: issue certificate: %w", err)
	}
	return &tls.Certificate{
		Certificate: [][]byte{leaf.cert.Raw, web.cert.Raw},
		PrivateKey:  leaf.key,
		Leaf:        leaf.cert,
	}, nil
}
