package oauth

import (
	"context"
	"slices"
	"strings"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// RemoveClient ends a client of the command line with all that it was granted.
// Reason: admin.unknown.
func (p *Provider) RemoveClient(ctx context.Context, id string) error {
	err := p.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Exec(ctx, "DELETE FROM oauth_clients WHERE id = ?", id)
		if err != nil {
			return err
		}
		if n == 0 {
			return problem.New(problem.AdminUnknown, nil)
		}
		return p.endClient(ctx, tx, id)
	})
	p.forgetOrigins()
	return answer(err)
}

// endClient ends all that a client was granted, and what users said yes to: who has
// its id next is another.
func (p *Provider) endClient(ctx context.Context, tx *store.Tx, id string) error {
	for _, statement := range []string{"DELETE FROM oauth_consents WHERE client_id = ?", "DELETE FROM oauth_requests WHERE client_id = ?",
		"DELETE FROM oauth_logouts WHERE client_id = ?"} {
		if _, err := tx.Exec(ctx, statement, id); err != nil {
			return err
		}
	}
	return p.endGrants(ctx, tx, "client", "client_id = ?", id)
}

// may are those of the scopes that the client has still: the map may have taken
// some since they were granted.
func (c *client) may(scopes []string) []string {
	allowed := c.scopes()
	return slices.DeleteFunc(scopes, func(s string) bool { return !slices.Contains(allowed, s) })
}

// narrow takes the scopes out of a grant that its client, which is the one of this
// call, has no more. Of a grant without any nothing is given out: to the library no
// scope is every scope.
func (g *grantRow) narrow(c *client) error {
	if c == nil || c.ID != g.client { // the library refuses it
		return nil
	}
	g.scopes = strings.Join(c.may(fields(g.scopes)), " ")
	if g.scopes == "" {
		return errUnknown
	}
	return nil
}
