package identity

import (
	"context"
	"errors"
	"time"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// An invitation is a row for the address. Its letter and the link of that are of
// no use without the row, so that one which is withdrawn is withdrawn wherever its
// letter may be.

// Invitation is an open one.
type Invitation struct {
	Email   string // as it was written
	Roles   []string
	Created time.Time
	Expires time.Time
}

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
	now := id.clock()
	ends := now.Add(inviteLife)
	err = id.db.change(ctx, func(ctx context.Context, t tx) error {
		if _, found, err := id.accountByEmailTx(ctx, t, email); err != nil || found {
			if err == nil {
				err = problem.New(problem.AccountExists, nil)
			}
			return err
		}
		if _, err := id.withdraw(ctx, t, email); err != nil {
			return err
		}
		if _, err := t.Exec(ctx, "INSERT INTO invitations (email_key, email, roles, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
			foldEmail(email), email, joinNames(roles), store.Micros(now), store.Micros(ends)); err != nil {
			return err
		}
		return id.mail.Enqueue(ctx, t.whole(), mail.Job{Kind: flowInvite, Address: email, Expires: ends})
	})
	if errors.Is(err, mail.ErrFull) {
		return page.Later(problem.LimitBusy, time.Minute)
	}
	return err
}

// Withdraw ends the open invitation of an address: its link answers like one that
// never was, and a letter that was not sent yet is not. Reason account.unknown:
// there is none.
func (id *Identity) Withdraw(ctx context.Context, email string) error {
	return id.db.change(ctx, func(ctx context.Context, t tx) error {
		open, err := id.withdraw(ctx, t, email)
		if err == nil && !open {
			err = problem.New(problem.AccountUnknown, nil)
		}
		return err
	})
}

// withdraw says whether there was an open one.
func (id *Identity) withdraw(ctx context.Context, t tx, email string) (open bool, err error) {
	_, open, err = id.takeInvitation(ctx, t, email)
	if err != nil {
		return false, err
	}
	return open, id.flows.End(ctx, t.whole(), guestOf(email), flowInvite)
}

// takeInvitation removes the invitation of an address, and returns it if it was
// open.
func (id *Identity) takeInvitation(ctx context.Context, t tx, email string) (Invitation, bool, error) {
	return id.openInvitation(t.QueryRow(ctx, "DELETE FROM invitations WHERE email_key = ? RETURNING "+invitationColumns, foldEmail(email)))
}

// invitation returns the open invitation of an address.
func (id *Identity) invitation(ctx context.Context, t tx, email string) (Invitation, bool, error) {
	return id.openInvitation(t.QueryRow(ctx, "SELECT "+invitationColumns+" FROM invitations WHERE email_key = ?", foldEmail(email)))
}

func (id *Identity) openInvitation(row scanner) (i Invitation, open bool, err error) {
	i, err = scanInvitation(row)
	if errors.Is(err, store.ErrNotFound) {
		return i, false, nil
	}
	return i, err == nil && i.Expires.After(id.clock()), err
}

// Invitations returns the open ones of addresses that have no account, in the order
// of the addresses, at most limit and never more than 1000, after the given one.
func (id *Identity) Invitations(ctx context.Context, after string, limit int) ([]Invitation, error) {
	list := []Invitation{}
	err := id.db.view(ctx, func(ctx context.Context, t tx) error {
		rows, err := t.Query(ctx, "SELECT "+invitationColumns+` FROM invitations WHERE email_key > ? AND expires_at > ?
			AND NOT EXISTS (SELECT 1 FROM users WHERE users.email_key = invitations.email_key) ORDER BY email_key LIMIT ?`,
			foldEmail(after), store.Micros(id.clock()), max(0, min(limit, usersMax)))
		if err != nil {
			return err
		}
		for rows.Next() {
			i, err := scanInvitation(rows)
			if err != nil {
				return err
			}
			list = append(list, i)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

const invitationColumns = "email, roles, created_at, expires_at"

func scanInvitation(row scanner) (i Invitation, err error) {
	var roles string
	var created, expires int64
	err = row.Scan(&i.Email, &roles, &created, &expires)
	i.Roles, i.Created, i.Expires = splitNames(roles), store.FromMicros(created), store.FromMicros(expires)
	return i, err
}

// pruneInvitations forgets invitations whose time is over.
func (id *Identity) pruneInvitations(ctx context.Context) error {
	return id.db.change(ctx, func(ctx context.Context, t tx) error {
		_, err := t.Exec(ctx, "DELETE FROM invitations WHERE expires_at <= ?", store.Micros(id.clock()))
		return err
	})
}
