package identity

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/problem"
)

// A password of 8 to 14 characters is for accounts that hold a second factor. When
// the last one goes, the rule for one factor holds again: whoever removes it has a
// long password first, and where an administrator does, the next login asks for one.
// How long a password is can be known when it is chosen or shown, so that is when it
// is written down.

// shortAlone refuses to leave an account with a short password alone.
func shortAlone() error {
	return problem.WithDetail(problem.AccountPassword,
		fmt.Sprintf("your password may be shorter than %d characters, which takes a second factor beside it; choose a longer one first", password.MinAlone))
}

// noteLength keeps that a password which was shown is long enough to stand alone,
// where that was not known. That it cannot keeps nobody out.
func (id *Identity) noteLength(ctx context.Context, a account, p obs.Secret) {
	if a.stands == standsLong || !password.StandsAlone(p) {
		return
	}
	err := id.db.change(ctx, func(ctx context.Context, t tx) error {
		_, err := t.Exec(ctx, "UPDATE users SET password_stands = ? WHERE id = ? AND password = ?", standsLong, a.ID, a.password)
		return err
	})
	if err != nil {
		id.log.WarnContext(ctx, "the length of a password was not noted", slog.String("user", a.ID), slog.Any("error", err))
	}
}

// ResetFactors removes all second factors of a user who has lost them, and signs
// them out everywhere. What anybody answered for of the password was said beside
// them: unless it is known to be long, the next login asks for a longer one.
// Reasons: account.unknown; admin.conflict: there is none.
func (id *Identity) ResetFactors(ctx context.Context, user string) error {
	return id.db.change(ctx, func(ctx context.Context, t tx) error {
		if _, err := t.Exec(ctx, "UPDATE users SET password_stands = '' WHERE id = ? AND password_stands = ?", user, standsVouched); err != nil {
			return err
		}
		a, found, err := id.accountInTx(ctx, t, user)
		if err == nil && !found {
			err = problem.New(problem.AccountUnknown, nil)
		}
		if err != nil {
			return err
		}
		held, err := id.factors.ListTx(ctx, t.whole(), user)
		if err != nil {
			return err
		}
		if len(held) == 0 {
			return problem.WithDetail(problem.AdminConflict, "the user holds no second factor")
		}
		names := make([]string, len(held))
		for i, f := range held {
			names[i] = f.Name
		}
		if _, err := id.factors.RemoveAll(ctx, t.whole(), user); err != nil {
			return err
		}
		if err := id.bump(ctx, t, user); err != nil {
			return err
		}
		if _, err := id.endAll(ctx, t, user, ""); err != nil {
			return err
		}
		return id.tell(ctx, t, a, mail.FactorRemoved, map[string]string{
			"at": page.Stamp(id.clock()), "device": "", "place": "", "link": id.config.Base + page.AccountPath, "factor": strings.Join(names, ", "),
		})
	})
}
