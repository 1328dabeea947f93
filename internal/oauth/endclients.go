package oauth

import (
	"context"

	"sallyport.dev/internal/store"
)

// EndClientsTx ends all that clients were granted by a user, and takes back what
// the user said yes to, in tx; it says how many clients that were. It is for an
// account that somebody else may have had.
func (p *Provider) EndClientsTx(ctx context.Context, tx *store.Tx, user string) (clients int, err error) {
	err = tx.QueryRow(ctx, `SELECT COUNT(*) FROM (SELECT client_id FROM oauth_consents WHERE user_id = ?
		UNION SELECT client_id FROM oauth_grants WHERE sub = ? AND kind = 'user' AND revoked_at = 0 AND expires_at > ?) clients`,
		user, user, store.Micros(p.now())).Scan(&clients)
	if err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM oauth_consents WHERE user_id = ?", user); err != nil {
		return 0, err
	}
	return clients, p.RevokeUserTx(ctx, tx, user)
}
