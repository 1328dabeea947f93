package identity

import (
	"context"
	"errors"
	"time"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// Invite asks for the letter that lets somebody make an account with roles. An
// invitation works for seven days, once; a later one of the same address takes its
// place. Reasons: account.invalid; admin.invalid (roles); account.exists;
// admin.conflict when the zone has no mail or registration is closed; limit.busy.
func (id *Identity) Invite(ctx context.Context, email string, roles []string) error {
	email, err := parseEmail(email)
	if err != nil {
		return err
	}
	if roles, err = checkRoles(roles); err != nil {
		return err
	}
	switch {
	case id.mail == nil || !id.mailed():
		return problem.WithDetail(problem.AdminConflict, "an invitation is a letter, and the zone has no mail: write `identity.mail` in the map, or use `sallyport user add`")
	case id.zone.Identity.Registration == zone.RegistrationClosed:
		return problem.WithDetail(problem.AdminConflict, "registration is closed: write `registration: invited` in the map, or use `sallyport user add`")
	}
	err = id.db.change(ctx, func(ctx context.Context, t tx) error {
		if _, found, err := id.accountByEmailTx(ctx, t, email); err != nil || found {
			if err == nil {
				err = problem.New(problem.AccountExists, nil)
			}
			return err
		}
		return id.mail.Enqueue(ctx, t.whole(), mail.Job{
			Kind: flowInvite, Address: email, Data: map[string]string{"roles": joinNames(roles)}, Expires: id.clock().Add(inviteLife),
		})
	})
	if errors.Is(err, mail.ErrFull) {
		return page.Later(problem.LimitBusy, time.Minute)
	}
	return err
}
