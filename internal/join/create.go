package join

import (
	"context"
	"crypto/rand"
	"crypto/sha256"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// Create makes a token for a service, which its caller knows to be declared,
// and returns its secret, the only time it is told. Tokens that have expired are
// forgotten on the way.
// Reasons: admin.invalid (service), admin.conflict (MaxOpen are open),
// auth.unavailable.
func (t *Tokens) Create(ctx context.Context, service string) (Token, Secret, error) {
	if service == "" || len(service) > maxService {
		return Token{}, Secret{}, problem.WithDetail(problem.AdminInvalid, "service: want the name of a declared service")
	}
	now := t.now()
	token := Token{Service: service, Created: now, Expires: now.Add(Life)}
	var secret Secret
	_, _ = rand.Read(token.ID[:]) // crypto/rand.Read never fails (Go 1.24)
	_, _ = rand.Read(secret[:])
	hash := sha256.Sum256(secret[:])
	err := t.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM join_tokens WHERE expires_at <= ?", store.Micros(now)); err != nil {
			return err
		}
		var open int
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM join_tokens WHERE spent_at = 0 AND tries < ?", MaxTries).Scan(&open); err != nil {
			return err
		}
		if open >= MaxOpen {
			return problem.WithDetail(problem.AdminConflict, "too many join tokens are open: use, revoke or outwait some")
		}
		_, err := tx.Exec(ctx, "INSERT INTO join_tokens (id, secret_hash, service, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
			token.ID[:], hash[:], service, store.Micros(now), store.Micros(token.Expires))
		return err
	})
	if err != nil {
		return Token{}, Secret{}, store.Refusal(ctx, err)
	}
	return token, secret, nil
}
