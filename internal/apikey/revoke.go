package apikey

import (
	"context"
	"time"

	"sallyport.dev/internal/store"
)

// Revoke ends a key at once, with the keys it signs with. Reason admin.unknown:
// there is no such live key.
func (k *Keys) Revoke(ctx context.Context, key string) error {
	return k.revoke(ctx, whose{anybody: true}, key)
}

func (k *Keys) revoke(ctx context.Context, w whose, key string) error {
	now := k.now()
	return k.db.change(ctx, func(ctx context.Context, t tx) error { return end(ctx, t, w, key, now) })
}

func end(ctx context.Context, t tx, w whose, key string, now time.Time) error {
	where, args := w.where(key)
	if err := alter(ctx, t, w, "UPDATE api_keys SET version = version + 1, ended_at = ?"+where, append([]any{store.Micros(now)}, args...)...); err != nil {
		return err
	}
	if _, err := t.Exec(ctx, "UPDATE api_key_signing SET ended_at = ?, sealed = NULL WHERE key_id = ? AND ended_at = 0", store.Micros(now), key); err != nil {
		return err
	}
	if err := endSecrets(ctx, t, key, now, false); err != nil {
		return err
	}
	return revokeSubject(ctx, t, key, now)
}

// EndOwned ends all keys of a user within the transaction that changes the
// account, and says how many were live. A user who is disabled needs no such call: the
// keys rest meanwhile.
func (k *Keys) EndOwned(ctx context.Context, tx *store.Tx, user string) (int, error) {
	w, err := owned(user)
	if err != nil {
		return 0, err
	}
	now, t := k.now(), storeTx{tx}
	list, err := scanKeys(ctx, t, "SELECT "+keyColumns+" FROM api_keys k WHERE k.owner = ? AND k.ended_at = 0 ORDER BY k.id", user)
	if err != nil {
		return 0, err
	}
	live := 0
	for _, key := range list {
		if err := end(ctx, t, w, key.ID, now); err != nil {
			return 0, err
		}
		if key.Live(now) {
			live++
		}
	}
	return live, nil
}

// DeleteOwned ends all keys of a user and removes whatever is kept of them,
// within the transaction that deletes the account.
func (k *Keys) DeleteOwned(ctx context.Context, tx *store.Tx, user string) error {
	if _, err := k.EndOwned(ctx, tx, user); err != nil {
		return err
	}
	return forgetKeys(ctx, storeTx{tx}, "SELECT id FROM api_keys WHERE owner = ?", user)
}

// alter runs a statement on one live key.
func alter(ctx context.Context, t tx, w whose, query string, args ...any) error {
	n, err := t.Exec(ctx, query, args...)
	if err == nil && n == 0 {
		return w.unknown()
	}
	return err
}

func revokeSubject(ctx context.Context, t tx, key string, now time.Time) error {
	return t.Revoke(ctx, store.Revocation{Kind: store.KindSubject, Subject: subjectOf(key), At: now})
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
