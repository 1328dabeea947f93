package join

import (
	"context"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// columns, in the order in which scan takes them. The hash of the secret is
// read by nobody but try.
const columns = "id, service, created_at, expires_at, spent_at, tries"

func scan(row interface{ Scan(...any) error }) (Token, error) {
	var (
		t                       Token
		id                      []byte
		created, expires, spent int64
	)
	if err := row.Scan(&id, &t.Service, &created, &expires, &spent, &t.Tries); err != nil {
		return Token{}, err
	}
	copy(t.ID[:], id)
	t.Created, t.Expires, t.Spent = store.FromMicros(created), store.FromMicros(expires), store.FromMicros(spent)
	return t, nil
}

// listMax bounds what List answers.
const listMax = 1000

// List returns the tokens that have not expired, newest first, at most 1000:
// also those that were spent or tried too often, which Open tells.
// Reason: auth.unavailable.
func (t *Tokens) List(ctx context.Context) ([]Token, error) {
	tokens := []Token{}
	err := t.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, "SELECT "+columns+" FROM join_tokens WHERE expires_at > ? ORDER BY created_at DESC, id LIMIT ?",
			store.Micros(t.now()), listMax)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // Err has said what matters
		for rows.Next() {
			token, err := scan(rows)
			if err != nil {
				return err
			}
			tokens = append(tokens, token)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, store.Refusal(ctx, err)
	}
	return tokens, nil
}

// Revoke forgets a token that was not redeemed. An identity that was had with a
// token is not touched.
// Reasons: admin.unknown, auth.unavailable.
func (t *Tokens) Revoke(ctx context.Context, id ID) error {
	err := t.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Exec(ctx, "DELETE FROM join_tokens WHERE id = ? AND spent_at = 0 AND expires_at > ?", id[:], store.Micros(t.now()))
		if err == nil && n == 0 {
			return problem.WithDetail(problem.AdminUnknown, "no join token of this id waits to be used")
		}
		return err
	})
	return store.Refusal(ctx, err)
}
