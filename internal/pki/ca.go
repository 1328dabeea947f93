package pki

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/store"
)

// Names of the CA's sealed values. The root's key stands apart from its
// certificate: only who issues an intermediate needs it.
const (
	rootCertName = "pki.root.certificate"
	rootKeyName  = "pki.root.key"
	webName      = "pki.web" // certificate and key; a version each time it is renewed
)

// CA is the zone's certification authority. Safe for concurrent use.
type CA struct {
	db   *store.DB
	keys *keys.Root
	zone string
	opt  Options
	root *x509.Certificate

	mu  sync.Mutex
	web *certKey // guarded by mu; the intermediate in use
}

// OpenCA opens the CA of a zone, and makes it when the database has none. The
// root key must fit (keys.ErrWrongRoot).
func OpenCA(ctx context.Context, db *store.DB, root *keys.Root, zone string, o Options) (*CA, error) {
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.currentWeb(ctx, now); err != nil {
		return nil, err
	}
	return c, nil
}

// RootPEM returns the root certificate: what clients of the zone trust.
func (c *CA) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.root.Raw})
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

// currentWeb returns the web intermediate, renewed when it is due. One that
// cannot be renewed is used to its end. The caller holds mu.
func (c *CA) currentWeb(ctx context.Context, now time.Time) (*certKey, error) {
	if c.web == nil {
		err := c.db.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
			c.web, _, err = c.readWeb(ctx, tx)
			return err
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("pki: open web CA: %w", err)
		}
	}
	if c.web != nil && now.Before(renewal(c.web.cert)) {
		return c.web, nil
	}
	var next *certKey
	err := c.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		next, err = c.renewWeb(ctx, tx, now)
		return err
	})
	if err == nil {
		c.web = next // committed
		return c.web, nil
	}
	if c.web != nil && now.Before(c.web.cert.NotAfter) {
		c.opt.Log.ErrorContext(ctx, "web CA not renewed", "expires", c.web.cert.NotAfter, "error", err)
		return c.web, nil
	}
	return nil, fmt.Errorf("pki: renew web CA: %w", err)
}

// renewWeb takes over what another process has renewed, or issues the next.
// The one before is destroyed: certificates that it signed carry it in their chain.
func (c *CA) renewWeb(ctx context.Context, tx *store.Tx, now time.Time) (*certKey, error) {
	web, version, err := c.readWeb(ctx, tx)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err == nil && now.Before(renewal(web.cert)) {
		return web, nil
	}
	err = c.withRootKey(ctx, tx, func(root *certKey) (err error) {
		web, err = root.issueWeb(c.zone, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	bundle, err := web.marshal()
	if err != nil {
		return nil, err
	}
	defer clear(bundle)
	if err := c.keys.Put(ctx, tx, webName, version+1, bundle); err != nil {
		return nil, err
	}
	return web, c.keys.Drop(ctx, tx, webName, version+1)
}

// readWeb reads the latest web intermediate and proves that it is the root's.
func (c *CA) readWeb(ctx context.Context, tx *store.Tx) (*certKey, int64, error) {
	bundle, version, err := c.keys.Get(ctx, tx, webName)
	if err != nil {
		return nil, 0, err
	}
	defer clear(bundle)
	web, err := parseCertKey(bundle)
	if err != nil {
		return nil, 0, fmt.Errorf("web CA: %w", err)
	}
	if err := web.cert.CheckSignatureFrom(c.root); err != nil {
		return nil, 0, fmt.Errorf("web CA is not of this root: %w", err)
	}
	return web, version, nil
}
