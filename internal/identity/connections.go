package identity

import (
	"context"
	"errors"
	"time"

	"sallyport.dev/internal/broker"
	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// connection is an account at another provider by which a user logs in. Issuer and
// subject are who it is; nothing else is.
type connection struct {
	provider, issuer, subject string
	email                     string // as the provider told it
	created, used             time.Time
}

func connectionsOf(ctx context.Context, t tx, user string) ([]connection, error) {
	rows, err := t.Query(ctx, "SELECT provider, issuer, subject, email, created_at, used_at FROM connections WHERE user_id = ? ORDER BY created_at, issuer, subject", user)
	if err != nil {
		return nil, err
	}
	var list []connection
	for rows.Next() {
		var c connection
		var created, used int64
		if err := rows.Scan(&c.provider, &c.issuer, &c.subject, &c.email, &created, &used); err != nil {
			return nil, err
		}
		c.created, c.used = store.FromMicros(created), store.FromMicros(used)
		list = append(list, c)
	}
	return list, rows.Err()
}

// userOf returns whose account somebody at a provider opens; empty: nobody's.
func userOf(ctx context.Context, t tx, c broker.Claims) (user string, err error) {
	err = t.QueryRow(ctx, "SELECT user_id FROM connections WHERE issuer = ? AND subject = ?", c.Issuer, c.Subject).Scan(&user)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return user, err
}

// connect lets somebody at a provider open an account from now on. Reason
// account.conflict: they open another one, or the account is connected with
// somebody else at the provider. It says whether that is new.
func (id *Identity) connect(ctx context.Context, t tx, user string, c broker.Claims) (bool, error) {
	owner, err := userOf(ctx, t, c)
	switch {
	case err != nil || owner == user:
		return false, err
	case owner != "":
		return false, problem.WithDetail(problem.AccountConflict, "this login opens another account here")
	}
	var n int
	if err := t.QueryRow(ctx, "SELECT COUNT(*) FROM connections WHERE user_id = ? AND provider = ?", user, c.Provider).Scan(&n); err != nil {
		return false, err
	}
	if n > 0 {
		return false, problem.WithDetail(problem.AccountConflict, "another login of this provider is connected; disconnect it first")
	}
	now := store.Micros(id.clock())
	_, err = t.Exec(ctx, "INSERT INTO connections (provider, issuer, subject, user_id, email, created_at, used_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
		c.Provider, c.Issuer, c.Subject, user, c.Email, now, now)
	return err == nil, err
}

// used notes a login by a provider.
func (id *Identity) used(ctx context.Context, t tx, c broker.Claims) error {
	_, err := t.Exec(ctx, "UPDATE connections SET used_at = ?, email = ?, provider = ? WHERE issuer = ? AND subject = ?",
		store.Micros(id.clock()), c.Email, c.Provider, c.Issuer, c.Subject)
	return err
}

// disconnect takes a provider from an account. Reasons: account.unknown; account.
// conflict when nothing else opens the account.
func (id *Identity) disconnect(ctx context.Context, t tx, a account, provider string) error {
	n, err := t.Exec(ctx, "DELETE FROM connections WHERE user_id = ? AND provider = ?", a.ID, provider)
	if err != nil {
		return err
	}
	if n == 0 {
		return problem.New(problem.AccountUnknown, nil)
	}
	left, err := id.waysIn(ctx, t, a)
	if err == nil && !left {
		err = problem.WithDetail(problem.AccountConflict, "nothing else opens the account; choose a password first")
	}
	return err
}

// waysIn says whether anything opens an account: a password, a passkey of this
// place, or a provider that the map still names.
func (id *Identity) waysIn(ctx context.Context, t tx, a account) (bool, error) {
	if a.password != "" {
		return true, nil
	}
	list, err := id.factors.ListTx(ctx, t.whole(), a.ID)
	if err != nil {
		return false, err
	}
	for _, f := range list {
		if f.Kind == factor.Passkey && !f.Stale && id.factors.HasPasskeys() {
			return true, nil
		}
	}
	connected, err := connectionsOf(ctx, t, a.ID)
	if err != nil {
		return false, err
	}
	for _, c := range connected {
		if _, listed := id.provider(c.provider); listed {
			return true, nil
		}
	}
	return false, nil
}

// providersOf are the providers on the account page: those of the map, and those
// that are connected though the map no longer names them.
func (id *Identity) providersOf(connected []connection) []page.Provider {
	var list []page.Provider
	seen := map[string]bool{}
	if id.broker != nil {
		for _, p := range id.broker.List() {
			seen[p.Name] = true
			v := page.Provider{Name: p.Name, Title: p.Title}
			for _, c := range connected {
				if c.provider == p.Name {
					v.Connected, v.Subject, v.Email, v.Since = true, c.subject, c.email, c.created
				}
			}
			list = append(list, v)
		}
	}
	for _, c := range connected {
		if !seen[c.provider] {
			list = append(list, page.Provider{Name: c.provider, Title: c.provider, Connected: true, Subject: c.subject, Email: c.email, Since: c.created})
		}
	}
	return list
}
