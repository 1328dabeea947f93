package apikey

import (
	"context"
	"errors"
	"time"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/store"
)

// NewKey describes a key of a service account.
type NewKey struct {
	Name      string // [a-z][a-z0-9-]{0,62}
	Roles     []string
	Scopes    []string
	Addresses []string  // addresses and prefixes, 32 at most; none: from anywhere
	Contact   string    // address of mail for the reminder; may be empty
	Expires   time.Time // zero: never
}

// Create makes a key and returns its text, the only time it is told.
// Reasons: admin.invalid; admin.conflict when a live key has the name.
func (k *Keys) Create(ctx context.Context, n NewKey) (Key, obs.Secret, error) {
	w := whose{anybody: true}
	if !serviceName(n.Name) {
		return Key{}, "", w.invalid("name: want [a-z][a-z0-9-]{0,62}")
	}
	roles, err := w.checkRoles(n.Roles)
	if err != nil {
		return Key{}, "", err
	}
	if err := w.checkContact(n.Contact); err != nil {
		return Key{}, "", err
	}
	return k.create(ctx, nil, w, Key{Name: n.Name, Roles: roles, Scopes: n.Scopes, Contact: n.Contact, Expires: n.Expires}, n.Addresses)
}

// create makes a key whose name, roles and contact were checked.
func (k *Keys) create(ctx context.Context, in *store.Tx, w whose, made Key, addresses []string) (Key, obs.Secret, error) {
	now := k.now()
	var err error
	if made.Scopes, err = w.checkScopes(made.Scopes); err != nil {
		return Key{}, "", err
	}
	if made.Addresses, err = w.checkAddresses(addresses); err != nil {
		return Key{}, "", err
	}
	made.Expires = store.FromMicros(store.Micros(made.Expires))
	if !made.Expires.IsZero() && store.Micros(made.Expires) <= store.Micros(now) {
		return Key{}, "", w.invalid("expires: lies in the past")
	}
	made.ID, made.Version, made.Created = newKeyID(), 1, now
	text := newKeyText(made.ID)
	err = k.within(ctx, in, func(ctx context.Context, t tx) error {
		if !w.anybody {
			if err := roomFor(ctx, t, w, now); err != nil {
				return err
			}
		}
		// A name becomes free when its key has expired.
		if _, err := t.Exec(ctx, "UPDATE api_keys SET ended_at = ? WHERE owner = ? AND name = ? AND ended_at = 0 AND expires_at <> 0 AND expires_at <= ?",
			store.Micros(now), made.Owner, made.Name, store.Micros(now)); err != nil {
			return err
		}
		n, err := t.Exec(ctx, `INSERT INTO api_keys (id, name, owner, contact, roles, scopes, addresses, version, created_at, expires_at, reminded)
			VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT DO NOTHING`,
			made.ID, made.Name, made.Owner, made.Contact, joinNames(made.Roles), joinNames(made.Scopes), joinAddresses(made.Addresses),
			store.Micros(now), store.Micros(made.Expires), stepsPast(made.Expires, now))
		if err != nil {
			return err
		}
		if n == 0 {
			return w.conflict("a live key has this name; rotate or revoke it")
		}
		return addSecret(ctx, t, made.ID, text, now)
	})
	if err != nil {
		return Key{}, "", err
	}
	return made, text, nil
}

func addSecret(ctx context.Context, t tx, key string, text obs.Secret, now time.Time) error {
	hash := Hash(string(text))
	_, err := t.Exec(ctx, "INSERT INTO api_key_secrets (hash, key_id, created_at, expires_at) VALUES (?, ?, ?, 0)",
		hash[:], key, store.Micros(now))
	return err
}

const (
	// MaxOwned is how many live keys a user has.
	MaxOwned = 20
	// endedOwned is how many keys of a user that ended are kept, so that who goes on
	// using one is told that it was revoked.
	endedOwned = 20
)

// roomFor refuses a key for a user who has as many as may be, or who is not there
// to have one. Those that ended long ago are forgotten on the way.
func roomFor(ctx context.Context, t tx, w whose, now time.Time) error {
	// The first statement writes: two at once follow one another.
	if _, err := t.Exec(ctx, "UPDATE api_keys SET ended_at = expires_at WHERE owner = ? AND ended_at = 0 AND expires_at <> 0 AND expires_at <= ?",
		w.user, store.Micros(now)); err != nil {
		return err
	}
	var there, live int
	err := t.QueryRow(ctx, "SELECT 1 FROM users u WHERE u.id = ? AND u.disabled_at = 0 AND u.delete_at = 0", w.user).Scan(&there)
	if errors.Is(err, store.ErrNotFound) {
		return w.unknown()
	}
	if err != nil {
		return err
	}
	if err := t.QueryRow(ctx, "SELECT COUNT(*) FROM api_keys WHERE owner = ? AND ended_at = 0", w.user).Scan(&live); err != nil {
		return err
	}
	if live >= MaxOwned {
		return w.conflict("you have as many keys as one may have; revoke one that is not used")
	}
	return forgetKeys(ctx, t, "SELECT id FROM api_keys WHERE owner = ? AND ended_at > 0 ORDER BY ended_at DESC, id LIMIT 1000 OFFSET ?", w.user, endedOwned)
}

// forgetKeys removes the keys that a query names, with all that hangs on them.
func forgetKeys(ctx context.Context, t tx, query string, args ...any) error {
	rows, err := t.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, id := range ids {
		for _, forget := range []string{
			"DELETE FROM api_key_signing WHERE key_id = ?", "DELETE FROM api_key_secrets WHERE key_id = ?", "DELETE FROM api_keys WHERE id = ?",
		} {
			if _, err := t.Exec(ctx, forget, id); err != nil {
				return err
			}
		}
	}
	return nil
}
