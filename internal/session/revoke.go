package session

import (
	"context"
	"errors"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// Revoke ends one session of a user by its public id. It is committed and told
// to subscribers when Revoke returns nil, also when the session had ended before.
// Errors have the reason AccountUnknown (no such session of this user) or
// AuthUnavailable.
func (s *Sessions) Revoke(ctx context.Context, user, id string) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		return s.RevokeTx(ctx, tx, user, id)
	})
	return answer(err)
}

// RevokeTx is Revoke within a transaction of the caller. Errors are the store's,
// and AccountUnknown.
func (s *Sessions) RevokeTx(ctx context.Context, tx *store.Tx, user, id string) error {
	r, err := byID(ctx, tx, user, id)
	if errors.Is(err, store.ErrNotFound) {
		return problem.New(problem.AccountUnknown, nil)
	}
	if err != nil {
		return err
	}
	return s.revoke(ctx, tx, r, s.now())
}

// RevokeAll ends the sessions of a user but the one with the public id except
// (empty: none is spared), and returns how many. Errors have the reason
// AuthUnavailable.
func (s *Sessions) RevokeAll(ctx context.Context, user, except string) (int, error) {
	n := 0
	err := s.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		n, err = s.RevokeAllTx(ctx, tx, user, except)
		return err
	})
	if err != nil {
		return 0, answer(err)
	}
	return n, nil
}

// RevokeAllTx is RevokeAll within a transaction of the caller, for what must
// not be without it: a new password, a disabled account. Errors are the store's.
func (s *Sessions) RevokeAllTx(ctx context.Context, tx *store.Tx, user, except string) (int, error) {
	now := s.now()
	list, err := find(ctx, tx, "user_id = ? AND id <> ? AND revoked_at = 0 AND expires_at > ?", user, except, store.Micros(now))
	if err != nil {
		return 0, err
	}
	for _, r := range list {
		if err := s.revoke(ctx, tx, r, now); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

// revoke ends a session and tells who hangs on it.
func (s *Sessions) revoke(ctx context.Context, tx *store.Tx, r *row, now time.Time) error {
	if !r.revoked.IsZero() {
		return nil
	}
	if err := end(ctx, tx, r, now); err != nil || s.hooks.Ended == nil {
		return err
	}
	return s.hooks.Ended(ctx, tx, r.User, r.ID)
}

// end ends a session and numbers its revocation. One that is revoked already was
// told already.
func end(ctx context.Context, tx *store.Tx, r *row, now time.Time) error {
	n, err := tx.Exec(ctx, "UPDATE sessions SET revoked_at = ? WHERE id = ? AND revoked_at = 0", store.Micros(now), r.ID)
	if err != nil || n == 0 {
		return err
	}
	return tx.Revoke(ctx, store.Revocation{Kind: store.KindCredential, Credential: r.hash, At: now})
}
