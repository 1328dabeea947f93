package oauth

import (
	"context"

	"sallyport.dev/internal/store"
)

// MoveSessionTx is told in tx that a session goes on under another id, as after a
// step-up: what came of it goes on with it.
func (p *Provider) MoveSessionTx(ctx context.Context, tx *store.Tx, user, from, to string) error {
	_, err := tx.Exec(ctx, "UPDATE oauth_grants SET session_id = ? WHERE session_id = ? AND sub = ?", to, from, user)
	return err
}
