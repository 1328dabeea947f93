package identity

import (
	"context"
	"log/slog"
	"time"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/store"
)

const (
	sweepEvery = 10 * time.Minute
	dueBatch   = 100 // accounts that one look finds
)

// Run deletes accounts whose grace is over, and old invitations, until ctx ends.
// Several processes may run it.
func (id *Identity) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := id.Sweep(ctx); err != nil && ctx.Err() == nil {
			id.log.WarnContext(ctx, "accounts that are due were not deleted; tried again in ten minutes", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sweep deletes the accounts that are due now, and invitations whose time is over.
func (id *Identity) Sweep(ctx context.Context) error {
	if err := id.pruneInvitations(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		users, err := id.due(ctx)
		if err != nil || len(users) == 0 {
			return err
		}
		for _, user := range users {
			if err := id.deleteDue(ctx, user); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// due returns accounts whose grace is over.
func (id *Identity) due(ctx context.Context) (users []string, err error) {
	err = id.db.view(ctx, func(ctx context.Context, t tx) error {
		rows, err := t.Query(ctx, "SELECT id FROM users WHERE delete_at > 0 AND delete_at <= ? ORDER BY delete_at LIMIT ?",
			store.Micros(id.clock()), dueBatch)
		if err != nil {
			return err
		}
		for rows.Next() {
			var user string
			if err := rows.Scan(&user); err != nil {
				return err
			}
			users = append(users, user)
		}
		return rows.Err()
	})
	return users, err
}

// deleteDue deletes an account, unless its user kept it at the last moment.
func (id *Identity) deleteDue(ctx context.Context, user string) error {
	return id.db.change(ctx, func(ctx context.Context, t tx) error {
		a, found, err := id.accountInTx(ctx, t, user)
		if err != nil || !found || a.Deleting.IsZero() || a.Deleting.After(id.clock()) {
			return err
		}
		if err := id.deleteUser(ctx, t, user); err != nil {
			return err
		}
		a.ID = "" // the letter is of nobody's account any more
		return id.tell(ctx, t, a, mail.Deleted, map[string]string{"at": page.Stamp(id.clock())})
	})
}
