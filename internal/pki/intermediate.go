package pki

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"sallyport.dev/internal/store"
)

// renewEvery is how long a renewal that failed is not tried again, while the
// intermediate in use lives: every certificate asked for would be another try.
const renewEvery = time.Minute

// purpose is what an intermediate is made for.
type purpose struct {
	name    string // of its sealed value: certificate and key; a version each time it is renewed
	title   string // for people
	life    time.Duration
	confine func(*x509.Certificate) // to what it may sign
}

// webServers is the purpose of the intermediate that signs for listeners. They
// are no workloads: no URI is left to it. An empty constraint excludes them all
// for Go; OpenSSL has to be told the zone's by name.
func webServers(zone string) purpose {
	return purpose{name: "pki.web", title: "web CA", life: webLife, confine: func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		c.ExcludedURIDomains = []string{"", zone, "." + zone}
	}}
}

// workloads is the purpose of the intermediate that signs X.509-SVIDs. Its name
// constraints leave it the URIs of the trust domain, and nothing by which a
// browser or a resolver names a host.
//
// A constraint without a leading dot is that host alone for RFC 5280 (section
// 4.2.1.10), and the hosts below it as well for Go: these are excluded by name.
// The hosts below a zone are trust domains of their own.
func workloads(zone string) purpose {
	return purpose{name: "pki.svid", title: "SVID CA", life: workloadsLife, confine: func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: zone}} // a signer's SPIFFE ID has no path (X509-SVID section 4.3)
		c.PermittedURIDomains = []string{zone}
		c.ExcludedURIDomains = []string{"." + zone}
		c.ExcludedDNSDomains = []string{""}
		c.ExcludedEmailAddresses = []string{""}
		c.ExcludedIPRanges = []*net.IPNet{
			{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
			{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
		}
	}}
}

// intermediate is a CA under the root for one purpose, renewed in time. Safe
// for concurrent use.
type intermediate struct {
	ca *CA
	purpose

	mu    sync.Mutex
	inUse *certKey  // guarded by mu; nil: not read yet
	retry time.Time // guarded by mu; a failed renewal is not tried again before it
}

// use returns certificate and key to sign with now, renewed when they are due.
// Those that cannot be renewed are used to their end.
func (i *intermediate) use(ctx context.Context, now time.Time) (*certKey, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.inUse == nil {
		if err := i.open(ctx); err != nil {
			return nil, fmt.Errorf("pki: open %s: %w", i.title, err)
		}
	}
	inForce := i.inUse != nil && now.Before(i.inUse.cert.NotAfter)
	if inForce && (now.Before(renewal(i.inUse.cert)) || now.Before(i.retry)) {
		return i.inUse, nil
	}
	var next *certKey
	err := i.ca.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		next, err = i.renew(ctx, tx, now)
		return err
	})
	if err == nil {
		i.inUse = next // committed
		return next, nil
	}
	if !inForce {
		return nil, fmt.Errorf("pki: renew %s: %w", i.title, err)
	}
	if ctx.Err() == nil { // else it was the caller who gave up: the next one tries
		i.retry = now.Add(renewEvery)
		i.ca.opt.Log.ErrorContext(ctx, i.title+" not renewed, the one in use stays", "expires", i.inUse.cert.NotAfter, "error", err)
	}
	return i.inUse, nil
}

// open reads the intermediate, if there is one. The caller holds mu.
func (i *intermediate) open(ctx context.Context) error {
	err := i.ca.db.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		i.inUse, _, err = i.read(ctx, tx)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// renew takes over what another process has renewed, or issues the next. The
// one before is destroyed: certificates that it signed carry it in their chain.
func (i *intermediate) renew(ctx context.Context, tx *store.Tx, now time.Time) (*certKey, error) {
	next, version, err := i.read(ctx, tx)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err == nil && now.Before(renewal(next.cert)) {
		return next, nil
	}
	err = i.ca.withRootKey(ctx, tx, func(root *certKey) (err error) {
		next, err = root.issueCA(i.purpose, i.ca.zone, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	bundle, err := next.marshal()
	if err != nil {
		return nil, err
	}
	defer clear(bundle)
	if err := i.ca.keys.Put(ctx, tx, i.name, version+1, bundle); err != nil {
		return nil, err
	}
	return next, i.ca.keys.Drop(ctx, tx, i.name, version+1)
}

// read reads the latest and proves that it is the root's and of this zone: the
// root names its zone only when the name is short enough for a subject.
func (i *intermediate) read(ctx context.Context, tx *store.Tx) (*certKey, int64, error) {
	bundle, version, err := i.ca.keys.Get(ctx, tx, i.name)
	if err != nil {
		return nil, 0, err
	}
	defer clear(bundle)
	c, err := parseCertKey(bundle)
	if err != nil {
		return nil, 0, err
	}
	if err := c.cert.CheckSignatureFrom(i.ca.root); err != nil {
		return nil, 0, fmt.Errorf("it is not of this root: %w", err)
	}
	var want x509.Certificate
	i.confine(&want)
	if !slices.Equal(c.cert.PermittedURIDomains, want.PermittedURIDomains) {
		return nil, 0, fmt.Errorf("it is of zone %v, the map is of zone %s: give each zone a folder of its own", c.cert.PermittedURIDomains, i.ca.zone)
	}
	return c, version, nil
}
