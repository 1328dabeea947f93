package pki

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/store"
)

// Names of the CA's sealed values; its intermediates have theirs (purpose). The
// root's key stands apart from its certificate: only who issues an intermediate
// needs it.
const (
	rootCertName = "pki.root.certificate"
	rootKeyName  = "pki.root.key"
)

// CA is the zone's certification authority. Safe for concurrent use.
type CA struct {
	db   *store.DB
	keys *keys.Root
	zone string
	opt  Options
	root *x509.Certificate

	web  *intermediate // signs for listeners
	svid *intermediate // signs for workloads
}

// OpenCA opens the CA of a zone, and makes it when the database has none: root
// and intermediates, so that the root's private key can be taken away as soon as
// it returns. The root key must fit (keys.ErrWrongRoot).
func OpenCA(ctx context.Context, db *store.DB, root *keys.Root, zone string, o Options) (*CA, error) {
	if !domain(zone) {
		return nil, fmt.Errorf("pki: zone %q is not a domain in lower case", zone)
	}
	c := &CA{db: db, keys: root, zone: zone, opt: o.withDefaults()}
	now := c.opt.Clock()
	err := db.Tx(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		c.root, err = c.openRoot(ctx, tx, now)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pki: open root CA: %w", err)
	}
	if org := c.root.Subject.Organization; len(org) == 1 && org[0] != zone {
		return nil, fmt.Errorf("pki: the data folder holds the CA of zone %s, the map is of zone %s: give each zone a folder of its own", org[0], zone)
	}
	if left := c.root.NotAfter.Sub(now); left < webLife {
		c.opt.Log.WarnContext(ctx, "the root CA nears its end and limits what it signs", "expires", c.root.NotAfter)
	}
	c.web, c.svid = &intermediate{ca: c, purpose: webServers(zone)}, &intermediate{ca: c, purpose: workloads(zone)}
	for _, i := range []*intermediate{c.web, c.svid} {
		if _, err := i.use(ctx, now); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Roots returns the roots of the zone's trust domain: what its workloads trust.
func (c *CA) Roots() []*x509.Certificate { return []*x509.Certificate{c.root} }

// RootPEM returns the root certificate: what clients of the zone trust.
func (c *CA) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.root.Raw})
}

// openRoot reads the root certificate, and makes root and key when there is none.
func (c *CA) openRoot(ctx context.Context, tx *store.Tx, now time.Time) (*x509.Certificate, error) {
	der, _, err := c.keys.Get(ctx, tx, rootCertName)
	if err == nil {
		return x509.ParseCertificate(der)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	root, err := newRoot(c.zone, now)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(root.key)
	if err != nil {
		return nil, err
	}
	defer clear(keyDER)
	if err := c.keys.Put(ctx, tx, rootCertName, 1, root.cert.Raw); err != nil {
		return nil, err
	}
	return root.cert, c.keys.Put(ctx, tx, rootKeyName, 1, keyDER)
}

// withRootKey lends the root with its private key. Nothing keeps it afterwards.
func (c *CA) withRootKey(ctx context.Context, tx *store.Tx, use func(*certKey) error) error {
	der, _, err := c.keys.Get(ctx, tx, rootKeyName)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("the private key of the root CA is not in this data folder: bring it back to issue an intermediate: %w", err)
	}
	if err != nil {
		return err
	}
	defer clear(der)
	key, err := parseKey(der)
	if err != nil {
		return err
	}
	root := &certKey{c.root, key}
	if err := root.matches(); err != nil {
		return fmt.Errorf("root CA: %w", err)
	}
	return use(root)
}
