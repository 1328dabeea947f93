package apikey

import (
	"context"
	"time"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/store"
)

// MaxOverlap bounds how long a rotated secret lives on.
const MaxOverlap = 90 * 24 * time.Hour

// Rotation says how a secret is replaced.
type Rotation struct {
	Overlap time.Duration // how long the secret of before lives on, 90 days at most; 0: it ends now
	Expires time.Time     // the key's new end; zero: it stays as it is
}

// Rotate gives a live key a new secret and returns its text, the only time it is
// told. The secret of before lives on for the overlap; one from an earlier
// rotation ends now, so that a key never has more than two. Id, name and rights
// stay, and so does the subject that services know.
// Reasons: admin.invalid (overlap, expires), admin.unknown.
func (k *Keys) Rotate(ctx context.Context, key string, r Rotation) (Key, obs.Secret, error) {
	return k.rotate(ctx, nil, whose{anybody: true}, key, r)
}

func (k *Keys) rotate(ctx context.Context, in *store.Tx, w whose, key string, r Rotation) (Key, obs.Secret, error) {
	now := k.now()
	if r.Overlap < 0 || r.Overlap > MaxOverlap {
		return Key{}, "", w.invalid("overlap: want 0 to 90 days")
	}
	if !r.Expires.IsZero() && store.Micros(r.Expires) <= store.Micros(now) {
		return Key{}, "", w.invalid("expires: lies in the past")
	}
	text := newKeyText(key)
	var turned Key
	err := k.within(ctx, in, func(ctx context.Context, t tx) error {
		// The first statement writes: two rotations at once follow one another.
		where, args := w.where(key)
		if err := alter(ctx, t, w, "UPDATE api_keys SET version = version + 1"+where+" AND (expires_at = 0 OR expires_at > ?)",
			append(args, store.Micros(now))...); err != nil {
			return err
		}
		if !r.Expires.IsZero() {
			if _, err := t.Exec(ctx, "UPDATE api_keys SET expires_at = ?, reminded = ? WHERE id = ?",
				store.Micros(r.Expires), stepsPast(r.Expires, now), key); err != nil {
				return err
			}
		}
		var err error
		if turned, err = scanKey(t.QueryRow(ctx, "SELECT "+keyColumns+" FROM api_keys k WHERE k.id = ?", key)); err != nil {
			return err
		}
		// Those that a rotation has given an end; with no overlap all of them.
		if err := endSecrets(ctx, t, key, now, r.Overlap > 0); err != nil {
			return err
		}
		if _, err := t.Exec(ctx, "UPDATE api_key_secrets SET expires_at = ? WHERE key_id = ? AND ended_at = 0",
			store.Micros(now.Add(r.Overlap)), key); err != nil {
			return err
		}
		if err := forgetSecrets(ctx, t, key, now); err != nil {
			return err
		}
		if err := addSecret(ctx, t, key, text, now); err != nil {
			return err
		}
		return revokeSubject(ctx, t, key, now)
	})
	if err != nil {
		return Key{}, "", err
	}
	return turned, text, nil
}

// forgetSecrets removes secrets of a key that ended long ago: a key that is
// rotated for years holds few.
func forgetSecrets(ctx context.Context, t tx, key string, now time.Time) error {
	long := store.Micros(now.Add(-MaxOverlap))
	_, err := t.Exec(ctx, `DELETE FROM api_key_secrets
		WHERE key_id = ? AND ((ended_at <> 0 AND ended_at < ?) OR (expires_at <> 0 AND expires_at < ?))`, key, long, long)
	return err
}
