package identity

import (
	"context"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// Every change here grows the account's version and writes a revocation of its
// subject in the same transaction: when it returns, no cache of this process
// believes the rights of before. Reason account.unknown: there is no such user.

// SetRoles replaces the roles of a user.
func (id *Identity) SetRoles(ctx context.Context, user string, roles []string) error {
	roles, err := checkRoles(roles)
	if err != nil {
		return err
	}
	return id.alter(ctx, user, "UPDATE users SET roles = ?, version = version + 1 WHERE id = ?", joinNames(roles), user)
}

// SetDisabled closes an account, with all its sessions, or opens it again.
func (id *Identity) SetDisabled(ctx context.Context, user string, disabled bool) error {
	at := int64(0)
	if disabled {
		at = store.Micros(id.clock())
	}
	err := id.alter(ctx, user, "UPDATE users SET disabled_at = ?, version = version + 1 WHERE id = ?", at, user)
	if err != nil || !disabled {
		return err
	}
	return id.endSessions(ctx, user)
}

// SetPassword replaces the password of a user and ends all its sessions.
func (id *Identity) SetPassword(ctx context.Context, user string, password obs.Secret) error {
	a, found, err := id.accountByID(ctx, user)
	if err != nil {
		return err
	}
	if !found {
		return problem.New(problem.AccountUnknown, nil)
	}
	hash, err := id.hashNew(ctx, a.Email, password)
	if err != nil {
		return err
	}
	err = id.alter(ctx, user,
		"UPDATE users SET password = ?, password_form = ?, password_at = ?, version = version + 1 WHERE id = ?",
		hash, passwordForm, store.Micros(id.clock()), user)
	if err != nil {
		return err
	}
	return id.endSessions(ctx, user)
}

// DeleteUser removes an account with all its sessions.
func (id *Identity) DeleteUser(ctx context.Context, user string) error {
	if err := id.alter(ctx, user, "DELETE FROM users WHERE id = ?", user); err != nil {
		return err
	}
	return id.endSessions(ctx, user)
}

// alter runs one statement on one user and revokes what is remembered of it.
func (id *Identity) alter(ctx context.Context, user, query string, args ...any) error {
	return id.db.change(ctx, func(ctx context.Context, t tx) error {
		n, err := t.Exec(ctx, query, args...)
		if err != nil {
			return err
		}
		if n == 0 {
			return problem.New(problem.AccountUnknown, nil)
		}
		return t.Revoke(ctx, store.Revocation{Kind: store.KindSubject, Subject: user, At: id.clock()})
	})
}

// endSessions comes after the change of the account: a login that read the
// account before finds its version changed and ends its own session (see
// openSession), one that reads it later is refused.
func (id *Identity) endSessions(ctx context.Context, user string) error {
	_, err := id.sessions.RevokeAll(ctx, user, "")
	return unavailable(ctx, err)
}
