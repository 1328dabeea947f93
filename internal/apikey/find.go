package apikey

import (
	"context"
	"errors"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// Find returns the key that has an id or, else, the service account of a name,
// unless it was revoked. Reason admin.unknown: there is none.
func (k *Keys) Find(ctx context.Context, idOrName string) (key Key, err error) {
	err = k.db.view(ctx, func(ctx context.Context, t tx) error {
		key, err = scanKey(t.QueryRow(ctx, "SELECT "+keyColumns+` FROM api_keys k
			WHERE k.ended_at = 0 AND (k.id = ? OR (k.owner = '' AND k.name = ?)) ORDER BY k.id = ? DESC LIMIT 1`, idOrName, idOrName, idOrName))
		if errors.Is(err, store.ErrNotFound) {
			return problem.WithDetail(problem.AdminUnknown, "no live key has this name or id")
		}
		return err
	})
	if err != nil {
		return Key{}, err
	}
	return key, nil
}

// Secret is one secret of a key, as its holder may know it.
type Secret struct {
	Created time.Time
	Expires time.Time // zero: with the key
}

// Secrets returns the live secrets of a key, the newest first: one, or two while
// a rotation overlaps.
func (k *Keys) Secrets(ctx context.Context, key string) ([]Secret, error) {
	now := store.Micros(k.now())
	list := []Secret{}
	err := k.db.view(ctx, func(ctx context.Context, t tx) error {
		rows, err := t.Query(ctx, `SELECT created_at, expires_at FROM api_key_secrets
			WHERE key_id = ? AND ended_at = 0 AND (expires_at = 0 OR expires_at > ?) ORDER BY created_at DESC, expires_at`, key, now)
		if err != nil {
			return err
		}
		for rows.Next() {
			var created, expires int64
			if err := rows.Scan(&created, &expires); err != nil {
				return err
			}
			list = append(list, Secret{store.FromMicros(created), store.FromMicros(expires)})
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// listMax bounds one page of List.
const listMax = 1000

// List returns keys in the order of their ids, at most limit and never more than
// 1000, starting after the given id; "" starts at the first. Revoked ones and
// those of users are among them.
func (k *Keys) List(ctx context.Context, after string, limit int) (list []Key, err error) {
	limit = max(0, min(limit, listMax))
	err = k.db.view(ctx, func(ctx context.Context, t tx) error {
		list, err = scanKeys(ctx, t, "SELECT "+keyColumns+" FROM api_keys k WHERE k.id > ? ORDER BY k.id LIMIT ?", after, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}
