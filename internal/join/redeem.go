package join

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// Redeem spends a token and returns its service: whoever called may have that
// service's identity, once.
// Reasons: join.refused, auth.unavailable.
func (t *Tokens) Redeem(ctx context.Context, id, secret []byte) (service string, err error) {
	if len(id) != len(ID{}) {
		return "", problem.New(problem.JoinRefused, errUnknown)
	}
	// First a look, which takes no lock: a stranger makes nobody wait who writes.
	why, err := t.look(ctx, id)
	if err != nil {
		return "", store.Refusal(ctx, err)
	}
	if why != nil {
		return "", problem.New(problem.JoinRefused, why)
	}
	err = t.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		service, why, err = t.try(ctx, tx, id, secret)
		return err // not why: that would take back the count of the try
	})
	if err != nil {
		return "", store.Refusal(ctx, err)
	}
	if why != nil {
		return "", problem.New(problem.JoinRefused, why)
	}
	return service, nil
}

// look says why a token cannot be redeemed; nil when it may be tried.
func (t *Tokens) look(ctx context.Context, id []byte) (why, err error) {
	err = t.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		token, err := scan(tx.QueryRow(ctx, "SELECT "+columns+" FROM join_tokens WHERE id = ?", id))
		if errors.Is(err, store.ErrNotFound) {
			why = errUnknown
			return nil
		}
		why = token.shut(t.now())
		return err
	})
	return why, err
}

// try counts a try of an open token and, when the secret fits, spends it. Its first
// statement writes, so two tries at once follow one another.
func (t *Tokens) try(ctx context.Context, tx *store.Tx, id, secret []byte) (service string, why, err error) {
	now := store.Micros(t.now())
	var hash []byte
	err = tx.QueryRow(ctx, `UPDATE join_tokens SET tries = tries + 1
		WHERE id = ? AND spent_at = 0 AND expires_at > ? AND tries < ? RETURNING service, secret_hash`, id, now, MaxTries).Scan(&service, &hash)
	if errors.Is(err, store.ErrNotFound) {
		return "", errSpent, nil // since the look: used, revoked or tried by somebody else
	}
	if err != nil {
		return "", nil, err
	}
	given := sha256.Sum256(secret)
	if subtle.ConstantTimeCompare(given[:], hash) != 1 {
		return "", errSecret, nil
	}
	_, err = tx.Exec(ctx, "UPDATE join_tokens SET spent_at = ? WHERE id = ?", now, id)
	return service, nil, err
}
