package oauth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// fewTokens is up to how many live tokens of one grant are told one by one when it
// ends; of more, all that is remembered of the subject is forgotten.
const fewTokens = 20

// fewGrants is for how many grants at once it is asked what was exchanged for their
// tokens.
const fewGrants = 100

// endGrants ends the live grants that a condition finds, with their tokens and
// refresh families: a token is good while its grant is. Its consents stay.
func (p *Provider) endGrants(ctx context.Context, tx *store.Tx, why, condition string, args ...any) error {
	now := p.now()
	type ended struct{ id, sub string }
	var list []ended
	rows, err := tx.Query(ctx, "UPDATE oauth_grants SET revoked_at = ?, revoked_why = ? WHERE revoked_at = 0 AND "+condition+" RETURNING id, sub",
		append([]any{store.Micros(now), why}, args...)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var e ended
		if err := rows.Scan(&e.id, &e.sub); err != nil {
			return err
		}
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for some := range slices.Chunk(list, fewGrants) { // what was exchanged for their tokens
		ids := make([]any, len(some))
		for i, e := range some {
			ids[i] = e.id
		}
		if err := p.endGrants(ctx, tx, why, "parent_id > '' AND parent_id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", ids...); err != nil {
			return err
		}
	}
	told := map[string]bool{}
	for _, e := range list {
		if told[e.sub] {
			continue
		}
		hashes, err := liveTokens(ctx, tx, e.id, now)
		if err != nil {
			return err
		}
		if len(hashes) > fewTokens || len(list) > fewTokens {
			told[e.sub] = true
			if err := tx.Revoke(ctx, store.Revocation{Kind: store.KindSubject, Subject: e.sub, At: now}); err != nil {
				return err
			}
			continue
		}
		for _, hash := range hashes {
			if err := tx.Revoke(ctx, store.Revocation{Kind: store.KindCredential, Credential: hash, At: now}); err != nil {
				return err
			}
		}
	}
	return nil
}

func liveTokens(ctx context.Context, tx *store.Tx, grant string, now time.Time) (list [][32]byte, err error) {
	rows, err := tx.Query(ctx, "SELECT hash FROM oauth_tokens WHERE grant_id = ? AND expires_at > ? LIMIT ?", grant, store.Micros(now), fewTokens+1)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var hash []byte
		if err := rows.Scan(&hash); err != nil {
			return nil, err
		}
		list = append(list, [32]byte(hash))
	}
	return list, rows.Err()
}

// RevokeSessionTx ends what came of a session that ends in tx: its grants but
// those that the user gave for longer (offline_access), and tells its clients. A
// code that nobody has redeemed yet is not for longer: its first token is given out
// under the session in which the user said yes.
func (p *Provider) RevokeSessionTx(ctx context.Context, tx *store.Tx, user, session string) error {
	if session == "" {
		return nil
	}
	if err := p.enqueueLogouts(ctx, tx, "sub = ? AND session_id = ?", user, session); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE oauth_grants SET session_id = '' WHERE sub = ? AND session_id = ? AND offline = 1 AND (code_used_at > 0 OR device_used_at > 0)", user, session); err != nil {
		return err
	}
	return p.endGrants(ctx, tx, "session", "sub = ? AND session_id = ?", user, session)
}

// RevokeUserTx ends all grants of a user in tx, those for longer too: sign-out
// everywhere, a new password, a disabled account. It tells their clients.
func (p *Provider) RevokeUserTx(ctx context.Context, tx *store.Tx, user string) error {
	if err := p.enqueueLogouts(ctx, tx, "sub = ? AND kind = 'user'", user); err != nil {
		return err
	}
	return p.endGrants(ctx, tx, "user", "sub = ? AND kind = 'user'", user)
}

// RevokeOthersTx is RevokeUserTx but for what lives and ends with one session: the
// user stays there with a new password. What was given for longer ends there too.
func (p *Provider) RevokeOthersTx(ctx context.Context, tx *store.Tx, user, session string) error {
	if session == "" {
		return p.RevokeUserTx(ctx, tx, user)
	}
	if err := p.enqueueLogouts(ctx, tx, "sub = ? AND kind = 'user' AND session_id <> ?", user, session); err != nil {
		return err
	}
	return p.endGrants(ctx, tx, "user", "sub = ? AND kind = 'user' AND (session_id <> ? OR offline = 1)", user, session)
}

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

// Grant is what a user lets a client do.
type Grant struct {
	Client string
	Title  string
	Scopes []string // sorted
	Since  time.Time
	Used   time.Time // when it last got a token; zero: never
}

// Grants lists the clients that may act for a user, by what the user said yes to
// and by what is live. Reason: auth.unavailable.
func (p *Provider) Grants(ctx context.Context, user string) ([]Grant, error) {
	byClient := map[string]*Grant{}
	err := p.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT client_id, scopes, given_at, 0 FROM oauth_consents WHERE user_id = ?
			UNION ALL SELECT client_id, scopes, created_at, used_at FROM oauth_grants
			WHERE sub = ? AND kind = 'user' AND revoked_at = 0 AND expires_at > ?`, user, user, store.Micros(p.now()))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id, scopes string
			var since, used int64
			if err := rows.Scan(&id, &scopes, &since, &used); err != nil {
				return err
			}
			g := byClient[id]
			if g == nil {
				g = &Grant{Client: id, Since: store.FromMicros(since)}
				byClient[id] = g
			}
			g.Scopes = slices.Compact(sorted(append(g.Scopes, fields(scopes)...)))
			if at := store.FromMicros(since); at.Before(g.Since) {
				g.Since = at
			}
			if at := store.FromMicros(used); at.After(g.Used) {
				g.Used = at
			}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, answer(err)
	}
	list := make([]Grant, 0, len(byClient))
	for id, g := range byClient {
		c, err := p.client(ctx, p.state.Load(), id)
		switch {
		case err == nil:
			g.Title = c.title()
		case errors.Is(err, store.ErrNotFound):
			g.Title = id
		default:
			return nil, answer(err)
		}
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b Grant) int { return b.Since.Compare(a.Since) })
	return list, nil
}

// RevokeGrant takes back all that a user lets a client do, and what the user said
// yes to. Reasons: account.unknown, auth.unavailable.
func (p *Provider) RevokeGrant(ctx context.Context, user, client string) error {
	return answer(p.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		said, err := tx.Exec(ctx, "DELETE FROM oauth_consents WHERE user_id = ? AND client_id = ?", user, client)
		if err != nil {
			return err
		}
		var live int
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM oauth_grants WHERE sub = ? AND client_id = ? AND kind = 'user' AND revoked_at = 0", user, client).
			Scan(&live); err != nil {
			return err
		}
		if said == 0 && live == 0 {
			return problem.New(problem.AccountUnknown, nil)
		}
		return p.endGrants(ctx, tx, "user", "sub = ? AND client_id = ? AND kind = 'user'", user, client)
	}))
}

// answer gives an error of the store its reason.
func answer(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*problem.Error](err); ok {
		return err
	}
	return problem.New(problem.AuthUnavailable, err)
}
