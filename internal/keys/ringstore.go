package keys

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"time"

	"sallyport.dev/internal/store"
	"sallyport.dev/internal/token"
)

// keepGone is how long the trace of a key that is gone is kept.
const keepGone = 400 * 24 * time.Hour

// load reads and opens the keys of the ring that are not gone, oldest first.
func (r *Ring) load(ctx context.Context, tx *store.Tx) ([]signingKey, error) {
	rows, err := tx.Query(ctx, `SELECT id, state, sealed, published_at, active_at, retired_at
		FROM signing_keys WHERE ring = ? AND state <> 'gone' ORDER BY published_at, id`, r.cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("keys: ring %s: %w", r.cfg.Name, err)
	}
	defer func() { _ = rows.Close() }() // Err has said what matters
	var keys []signingKey
	for rows.Next() {
		var k signingKey
		var sealed []byte
		var published, activated, retired int64
		if err := rows.Scan(&k.id, &k.state, &sealed, &published, &activated, &retired); err != nil {
			return nil, fmt.Errorf("keys: ring %s: %w", r.cfg.Name, err)
		}
		k.published, k.activated, k.retired = store.FromMicros(published), store.FromMicros(activated), store.FromMicros(retired)
		if k.private, err = r.open(k.id, sealed); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("keys: ring %s: %w", r.cfg.Name, err)
	}
	return keys, nil
}

// turn does what is due in one transaction and returns the keys after it, and
// the steps it took.
func (r *Ring) turn(ctx context.Context, tx *store.Tx, now time.Time) ([]signingKey, []step, error) {
	keys, err := r.load(ctx, tx) // again: another process may have been first
	if err != nil {
		return nil, nil, err
	}
	steps := r.plan(keys, now)
	for i := range steps {
		if err := r.take(ctx, tx, &steps[i], now); err != nil {
			return nil, nil, err
		}
	}
	if _, err := tx.Exec(ctx, `DELETE FROM signing_keys WHERE ring = ? AND state = 'gone' AND gone_at < ?`,
		r.cfg.Name, store.Micros(now.Add(-keepGone))); err != nil {
		return nil, nil, fmt.Errorf("keys: ring %s: %w", r.cfg.Name, err)
	}
	keys, err = r.load(ctx, tx)
	return keys, steps, err
}

// take makes one step, and names the key that it made for it. The indexes of the table refuse a second active key and
// a second one to come (store.ErrConflict).
func (r *Ring) take(ctx context.Context, tx *store.Tx, s *step, now time.Time) (err error) {
	at := store.Micros(now)
	switch {
	case s.key == "":
		s.key, err = r.create(ctx, tx, s.to, now)
		return err
	case s.to == active:
		_, err = tx.Exec(ctx, `UPDATE signing_keys SET state = 'active', active_at = ? WHERE id = ? AND ring = ?`, at, s.key, r.cfg.Name)
	case s.to == retiring:
		_, err = tx.Exec(ctx, `UPDATE signing_keys SET state = 'retiring', retired_at = ? WHERE id = ? AND ring = ?`, at, s.key, r.cfg.Name)
	case s.to == gone:
		return r.destroy(ctx, tx, s.key, now)
	}
	if err != nil {
		return fmt.Errorf("keys: ring %s: key %s to %s: %w", r.cfg.Name, s.key, s.to, err)
	}
	return nil
}

// create makes a key in the state next or active and returns its kid.
func (r *Ring) create(ctx context.Context, tx *store.Tx, to state, now time.Time) (string, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("keys: ring %s: make key: %w", r.cfg.Name, err)
	}
	id, err := token.KeyID(&private.PublicKey)
	if err != nil {
		return "", fmt.Errorf("keys: ring %s: %w", r.cfg.Name, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", fmt.Errorf("keys: ring %s: encode key: %w", r.cfg.Name, err)
	}
	defer clear(der)
	sealed, err := r.root.Seal(r.place(id), der)
	if err != nil {
		return "", err
	}
	var activated time.Time
	if to == active {
		activated = now
	}
	if _, err := tx.Exec(ctx, `INSERT INTO signing_keys (id, ring, state, sealed, published_at, active_at) VALUES (?, ?, ?, ?, ?, ?)`,
		id, r.cfg.Name, string(to), sealed, store.Micros(now), store.Micros(activated)); err != nil {
		return "", fmt.Errorf("keys: ring %s: new key: %w", r.cfg.Name, err)
	}
	return id, nil
}

// destroy forgets the private part of a key. Its row stays as a trace.
func (r *Ring) destroy(ctx context.Context, tx *store.Tx, id string, now time.Time) error {
	n, err := tx.Exec(ctx, `UPDATE signing_keys SET state = 'gone', sealed = NULL, gone_at = ? WHERE id = ? AND ring = ? AND state <> 'gone'`,
		store.Micros(now), id, r.cfg.Name)
	if err != nil {
		return fmt.Errorf("keys: ring %s: withdraw %s: %w", r.cfg.Name, id, err)
	}
	if n == 0 {
		return fmt.Errorf("keys: ring %s: withdraw %s: %w", r.cfg.Name, id, store.ErrNotFound)
	}
	return nil
}

// open opens a private key and proves that it is the one of its row: the kid
// is a thumbprint, so a key of another kid cannot stand under this one.
func (r *Ring) open(id string, sealed []byte) (*ecdsa.PrivateKey, error) {
	der, err := r.root.Open(r.place(id), sealed)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("keys: ring %s: key %s: %w", r.cfg.Name, id, ErrAltered)
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("keys: ring %s: key %s is not an ECDSA key", r.cfg.Name, id)
	}
	if kid, err := token.KeyID(&private.PublicKey); err != nil || kid != id {
		return nil, fmt.Errorf("keys: ring %s: key %s: %w", r.cfg.Name, id, ErrAltered)
	}
	return private, nil
}

// place is what the row of a key is bound to.
func (r *Ring) place(id string) string { return "signing_keys/" + r.cfg.Name + "/" + id }
