package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// Every change here grows the account's version and writes a revocation of its
// subject in the same transaction: when it returns, no cache of this process
// believes the rights of before. Where sessions end with it, they end in that
// transaction too. Reason account.unknown: there is no such user.

// GrantRoles adds roles to those of a user.
func (id *Identity) GrantRoles(ctx context.Context, user string, roles []string) error {
	return id.changeRoles(ctx, user, func(have []string) ([]string, error) { return append(have, roles...), nil })
}

// RevokeRoles takes roles from a user, all or none: that the user does not have
// one of them is an error, admin.unknown, since it may be misspelt.
func (id *Identity) RevokeRoles(ctx context.Context, user string, roles []string) error {
	return id.changeRoles(ctx, user, func(have []string) ([]string, error) {
		for _, r := range roles {
			if !slices.Contains(have, r) {
				return nil, problem.WithDetail(problem.AdminUnknown, fmt.Sprintf("the user does not have the role %.80q", r))
			}
		}
		return slices.DeleteFunc(have, func(r string) bool { return slices.Contains(roles, r) }), nil
	})
}

// changeRoles makes new roles of those that the user has. The first statement
// writes: two changes at once follow one another, and neither is lost.
func (id *Identity) changeRoles(ctx context.Context, user string, change func(have []string) ([]string, error)) error {
	return id.db.change(ctx, func(ctx context.Context, t tx) error {
		var have string
		err := t.QueryRow(ctx, "UPDATE users SET version = version + 1 WHERE id = ? RETURNING roles", user).Scan(&have)
		if errors.Is(err, store.ErrNotFound) {
			return problem.New(problem.AccountUnknown, nil)
		}
		if err != nil {
			return err
		}
		roles, err := change(splitNames(have))
		if err != nil {
			return err
		}
		if roles, err = checkRoles(roles); err != nil {
			return err
		}
		if _, err := t.Exec(ctx, "UPDATE users SET roles = ? WHERE id = ?", joinNames(roles), user); err != nil {
			return err
		}
		// Who becomes an administrator logs in anew: with two factors, and without
		// being remembered.
		if slices.Contains(roles, AdminRole) && !slices.Contains(splitNames(have), AdminRole) {
			if _, err := id.endAll(ctx, t, user, ""); err != nil {
				return err
			}
		}
		return id.revokeSubject(ctx, t, user)
	})
}

// EndAll signs a user out everywhere: all sessions, what is under way, and what
// programs were granted.
func (id *Identity) EndAll(ctx context.Context, user string) error {
	return id.db.change(ctx, func(ctx context.Context, t tx) error {
		if err := id.revokeSubject(ctx, t, user); err != nil {
			return err
		}
		_, err := id.endAll(ctx, t, user, "")
		return err
	})
}

// SetDisabled closes an account, with all its sessions, or opens it again.
func (id *Identity) SetDisabled(ctx context.Context, user string, disabled bool) error {
	at := int64(0)
	if disabled {
		at = store.Micros(id.clock())
	}
	return id.alter(ctx, user, disabled, "UPDATE users SET disabled_at = ?, version = version + 1 WHERE id = ?", at, user)
}

// SetPassword replaces the password of a user, by the word of an administrator. It
// ends all its sessions, and like a letter (resetPassword) its API keys and what
// programs were granted: somebody else may have had the account.
func (id *Identity) SetPassword(ctx context.Context, user string, password obs.Secret) error {
	a, found, err := id.accountByID(ctx, user)
	if err != nil {
		return err
	}
	if !found {
		return problem.New(problem.AccountUnknown, nil)
	}
	h, err := id.hashNew(ctx, password, true, a.Email, a.Name)
	if err != nil {
		return err
	}
	return id.db.change(ctx, func(ctx context.Context, t tx) error {
		if _, err := id.endDelegates(ctx, t, user); err != nil {
			return err
		}
		return id.storePassword(ctx, t, user, h.vouched(), "")
	})
}

// storePassword puts another password in force and ends the user's sessions but
// one. Reason account.unknown.
func (id *Identity) storePassword(ctx context.Context, t tx, user string, h hashed, except string) error {
	if _, err := t.Exec(ctx, "UPDATE users SET password = ?, password_form = ?, password_at = ?, password_stands = ? WHERE id = ?",
		h.encoded, h.form, store.Micros(id.clock()), h.stands, user); err != nil {
		return err
	}
	if h.stands == "" { // it was judged as one beside a factor, which may have gone since
		if held, err := id.factors.HasTx(ctx, t.whole(), user); err != nil || !held.Any() {
			if err == nil {
				err = shortAlone()
			}
			return err
		}
	}
	if err := id.bump(ctx, t, user); err != nil {
		return err
	}
	_, err := id.endAll(ctx, t, user, except)
	return err
}

// DeleteUser removes an account with its sessions and factors.
func (id *Identity) DeleteUser(ctx context.Context, user string) error {
	return id.db.change(ctx, func(ctx context.Context, t tx) error { return id.deleteUser(ctx, t, user) })
}

func (id *Identity) deleteUser(ctx context.Context, t tx, user string) error {
	if _, err := id.forget(ctx, t, user); err != nil {
		return err
	}
	var email string
	err := t.QueryRow(ctx, "DELETE FROM users WHERE id = ? RETURNING email_key", user).Scan(&email)
	if errors.Is(err, store.ErrNotFound) {
		err = problem.New(problem.AccountUnknown, nil)
	}
	if err != nil {
		return err
	}
	// An invitation that was never taken must not let them in again.
	if _, err := id.withdraw(ctx, t, email); err != nil {
		return err
	}
	if _, err := id.factors.RemoveAll(ctx, t.whole(), user); err != nil {
		return err
	}
	if err := id.revokeSubject(ctx, t, user); err != nil {
		return err
	}
	_, err = id.endAll(ctx, t, user, "")
	return err
}

// alter runs one statement on one user and revokes what is remembered of it,
// and its sessions where they end with it.
func (id *Identity) alter(ctx context.Context, user string, endSessions bool, query string, args ...any) error {
	return id.db.change(ctx, func(ctx context.Context, t tx) error {
		n, err := t.Exec(ctx, query, args...)
		if err != nil {
			return err
		}
		if n == 0 {
			return problem.New(problem.AccountUnknown, nil)
		}
		if err := id.revokeSubject(ctx, t, user); err != nil || !endSessions {
			return err
		}
		_, err = id.endAll(ctx, t, user, "")
		return err
	})
}

func (id *Identity) revokeSubject(ctx context.Context, t tx, user string) error {
	return t.Revoke(ctx, store.Revocation{Kind: store.KindSubject, Subject: user, At: id.clock()})
}
