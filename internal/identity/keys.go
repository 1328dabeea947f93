package identity

import (
	"context"
	"errors"
	"time"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// Key is an API key without its secret.
type Key struct {
	ID      string // public: stands in the key; the `sub` of its principal is key_ID
	Name    string // unique among live keys
	Roles   []string
	Scopes  []string
	Version uint64
	Created time.Time
	Expires time.Time // zero: never
	Ended   time.Time // zero: not revoked
	Used    time.Time // to the minute; zero: never
}

// Live says whether the key opens anything at a time.
func (k Key) Live(now time.Time) bool {
	return k.Ended.IsZero() && (k.Expires.IsZero() || now.Before(k.Expires))
}

// Subject is the `sub` of the key's principal.
func (k Key) Subject() string { return subjectOfKey(k.ID) }

func subjectOfKey(id string) string { return "key_" + id }

// NewKey describes a key to make.
type NewKey struct {
	Name    string // [a-z][a-z0-9-]{0,62}
	Roles   []string
	Scopes  []string
	Expires time.Time // zero: never
}

const keyColumns = "k.id, k.name, k.roles, k.scopes, k.version, k.created_at, k.expires_at, k.ended_at, k.used_at"

func scanKey(row scanner, more ...any) (Key, error) {
	var k Key
	var roles, scopes string
	var created, expires, ended, used int64
	err := row.Scan(append([]any{&k.ID, &k.Name, &roles, &scopes, &k.Version, &created, &expires, &ended, &used}, more...)...)
	k.Roles, k.Scopes = splitNames(roles), splitNames(scopes)
	k.Created, k.Expires = store.FromMicros(created), store.FromMicros(expires)
	k.Ended, k.Used = store.FromMicros(ended), store.FromMicros(used)
	return k, err
}

// CreateKey makes an API key and returns its text, the only time it is told.
// Reasons: admin.invalid; admin.conflict when a live key has the name.
func (id *Identity) CreateKey(ctx context.Context, n NewKey) (Key, obs.Secret, error) {
	now := id.clock()
	roles, err := checkRoles(n.Roles)
	if err != nil {
		return Key{}, "", err
	}
	scopes, err := checkScopes(n.Scopes)
	if err != nil {
		return Key{}, "", err
	}
	if !validName(n.Name, keyNameMax, "-") {
		return Key{}, "", problem.WithDetail(problem.AdminInvalid, "name: want [a-z][a-z0-9-]{0,62}")
	}
	if !n.Expires.IsZero() && !n.Expires.After(now) {
		return Key{}, "", problem.WithDetail(problem.AdminInvalid, "expires: lies in the past")
	}
	k := Key{ID: newKeyID(), Name: n.Name, Roles: roles, Scopes: scopes, Version: 1, Created: now, Expires: n.Expires}
	text := newKeyText(k.ID)
	err = id.db.change(ctx, func(ctx context.Context, t tx) error {
		// A name becomes free when its key has expired.
		if _, err := t.Exec(ctx, "UPDATE api_keys SET ended_at = ? WHERE name = ? AND ended_at = 0 AND expires_at <> 0 AND expires_at <= ?",
			store.Micros(now), k.Name, store.Micros(now)); err != nil {
			return err
		}
		made, err := t.Exec(ctx, `INSERT INTO api_keys (id, name, roles, scopes, version, created_at, expires_at)
			VALUES (?, ?, ?, ?, 1, ?, ?) ON CONFLICT DO NOTHING`,
			k.ID, k.Name, joinNames(roles), joinNames(scopes), store.Micros(now), store.Micros(k.Expires))
		if err != nil {
			return err
		}
		if made == 0 {
			return problem.WithDetail(problem.AdminConflict, "a live key has this name; rotate or revoke it")
		}
		return addSecret(ctx, t, k.ID, text, now)
	})
	if err != nil {
		return Key{}, "", err
	}
	return k, text, nil
}

func addSecret(ctx context.Context, t tx, key string, text obs.Secret, now time.Time) error {
	hash := hashKey(string(text))
	_, err := t.Exec(ctx, "INSERT INTO api_key_secrets (hash, key_id, created_at, expires_at) VALUES (?, ?, ?, 0)",
		hash[:], key, store.Micros(now))
	return err
}

// overlapMax bounds how long a rotated secret lives on.
const overlapMax = 90 * 24 * time.Hour

// RotateKey gives a live key a new secret and returns its text, the only time
// it is told. The secret of before lives on for the overlap; one from an earlier
// rotation ends now, so that a key never has more than two. Id, name and rights
// stay, and so does the subject that services know.
// Reasons: admin.invalid (overlap), admin.unknown.
func (id *Identity) RotateKey(ctx context.Context, key string, overlap time.Duration) (Key, obs.Secret, error) {
	if overlap < 0 || overlap > overlapMax {
		return Key{}, "", problem.WithDetail(problem.AdminInvalid, "overlap: want 0 to 90 days")
	}
	now := id.clock()
	text := newKeyText(key)
	var k Key
	err := id.db.change(ctx, func(ctx context.Context, t tx) error {
		// The first statement writes: two rotations at once follow one another.
		if err := alterKey(ctx, t, "UPDATE api_keys SET version = version + 1 WHERE id = ? AND ended_at = 0 AND (expires_at = 0 OR expires_at > ?)",
			key, store.Micros(now)); err != nil {
			return err
		}
		var err error
		if k, err = scanKey(t.QueryRow(ctx, "SELECT "+keyColumns+" FROM api_keys k WHERE k.id = ?", key)); err != nil {
			return err
		}
		// Those that a rotation has given an end; with no overlap all of them.
		if err := endSecrets(ctx, t, key, now, overlap > 0); err != nil {
			return err
		}
		if _, err := t.Exec(ctx, "UPDATE api_key_secrets SET expires_at = ? WHERE key_id = ? AND ended_at = 0",
			store.Micros(now.Add(overlap)), key); err != nil {
			return err
		}
		if err := forgetSecrets(ctx, t, key, now); err != nil {
			return err
		}
		if err := addSecret(ctx, t, key, text, now); err != nil {
			return err
		}
		return t.Revoke(ctx, store.Revocation{Kind: store.KindSubject, Subject: k.Subject(), At: now})
	})
	if err != nil {
		return Key{}, "", err
	}
	return k, text, nil
}

// RevokeKey ends a key at once. Reason admin.unknown: there is no such live key.
func (id *Identity) RevokeKey(ctx context.Context, key string) error {
	now := id.clock()
	return id.db.change(ctx, func(ctx context.Context, t tx) error {
		if err := alterKey(ctx, t, "UPDATE api_keys SET version = version + 1, ended_at = ? WHERE id = ? AND ended_at = 0",
			store.Micros(now), key); err != nil {
			return err
		}
		if err := endSecrets(ctx, t, key, now, false); err != nil {
			return err
		}
		return t.Revoke(ctx, store.Revocation{Kind: store.KindSubject, Subject: subjectOfKey(key), At: now})
	})
}

func alterKey(ctx context.Context, t tx, query string, args ...any) error {
	n, err := t.Exec(ctx, query, args...)
	if err == nil && n == 0 {
		return problem.WithDetail(problem.AdminUnknown, "no live key has this id")
	}
	return err
}

// endSecrets ends secrets of a key, all or those that a rotation has given an
// end, each with the revocation of the credential. The hashes stay a while, so
// that who goes on using one is told that it was revoked.
func endSecrets(ctx context.Context, t tx, key string, now time.Time, rotatedOnly bool) error {
	query := "UPDATE api_key_secrets SET ended_at = ? WHERE key_id = ? AND ended_at = 0"
	if rotatedOnly {
		query += " AND expires_at <> 0"
	}
	rows, err := t.Query(ctx, query+" RETURNING hash", store.Micros(now), key)
	if err != nil {
		return err
	}
	var ended []store.Revocation
	for rows.Next() {
		var hash []byte
		if err := rows.Scan(&hash); err != nil {
			return err
		}
		r := store.Revocation{Kind: store.KindCredential, At: now}
		copy(r.Credential[:], hash)
		ended = append(ended, r)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, r := range ended {
		if err := t.Revoke(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// forgetSecrets removes secrets of a key that ended long ago: a key that is
// rotated for years holds few.
func forgetSecrets(ctx context.Context, t tx, key string, now time.Time) error {
	long := store.Micros(now.Add(-overlapMax))
	_, err := t.Exec(ctx, `DELETE FROM api_key_secrets
		WHERE key_id = ? AND ((ended_at <> 0 AND ended_at < ?) OR (expires_at <> 0 AND expires_at < ?))`, key, long, long)
	return err
}

// Key returns the key that has an id or, else, a name, unless it was revoked.
// Reason admin.unknown: there is none.
func (id *Identity) Key(ctx context.Context, idOrName string) (k Key, err error) {
	err = id.db.view(ctx, func(ctx context.Context, t tx) error {
		k, err = scanKey(t.QueryRow(ctx, "SELECT "+keyColumns+` FROM api_keys k
			WHERE k.ended_at = 0 AND (k.id = ? OR k.name = ?) ORDER BY k.id = ? DESC LIMIT 1`, idOrName, idOrName, idOrName))
		if errors.Is(err, store.ErrNotFound) {
			return problem.WithDetail(problem.AdminUnknown, "no live key has this name or id")
		}
		return err
	})
	if err != nil {
		return Key{}, err
	}
	return k, nil
}

// keysMax bounds one page of Keys.
const keysMax = 1000

// Keys returns keys in the order of their ids, at most limit and never more
// than 1000, starting after the given id; "" starts at the first. Revoked ones
// are among them.
func (id *Identity) Keys(ctx context.Context, after string, limit int) ([]Key, error) {
	limit = max(0, min(limit, keysMax))
	keys := []Key{}
	err := id.db.view(ctx, func(ctx context.Context, t tx) error {
		rows, err := t.Query(ctx, "SELECT "+keyColumns+" FROM api_keys k WHERE k.id > ? ORDER BY k.id LIMIT ?", after, limit)
		if err != nil {
			return err
		}
		for rows.Next() {
			k, err := scanKey(rows)
			if err != nil {
				return err
			}
			keys = append(keys, k)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return keys, nil
}
