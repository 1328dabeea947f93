package session

import (
	"context"
	"log/slog"
	"time"

	"sallyport.dev/internal/store"
)

const (
	writeUsesEvery = 5 * time.Second
	purgeEvery     = 10 * time.Minute
	keep           = 24 * time.Hour // how long a session that ended is told from one that never was
	batch          = 500            // rows of one transaction: other writers wait for it
	lastWrite      = 2 * time.Second
)

// Run writes down the uses of sessions and purges those that ended, until ctx
// ends; then it writes what is left and returns nil. What fails is logged and
// done again in its time.
func (s *Sessions) Run(ctx context.Context, log *slog.Logger) error {
	writes, purges := time.NewTicker(writeUsesEvery), time.NewTicker(purgeEvery)
	defer writes.Stop()
	defer purges.Stop()
	for {
		select {
		case <-writes.C:
			if err := s.writeUses(ctx); err != nil && ctx.Err() == nil {
				log.ErrorContext(ctx, "session uses not written", "error", err)
			}
		case <-purges.C:
			if _, err := s.Purge(ctx); err != nil && ctx.Err() == nil {
				log.ErrorContext(ctx, "ended sessions not purged", "error", err)
			}
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
			defer cancel()
			if err := s.writeUses(ctx); err != nil {
				log.ErrorContext(ctx, "session uses not written", "error", err)
			}
			return nil
		}
	}
}

// Purge removes all sessions that expired or were revoked a day ago, a few in each
// transaction, and returns how many. Idle ones go when they expire.
func (s *Sessions) Purge(ctx context.Context) (int64, error) {
	before := store.Micros(s.now().Add(-keep))
	var total int64
	for ctx.Err() == nil {
		var n int64
		err := s.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = tx.Exec(ctx, `DELETE FROM sessions WHERE id IN (
				SELECT id FROM sessions WHERE expires_at < ? OR (revoked_at > 0 AND revoked_at < ?) LIMIT ?)`,
				before, before, batch)
			return err
		})
		if err != nil {
			return total, answer(err)
		}
		total += n
		if n < batch {
			return total, nil
		}
	}
	return total, answer(ctx.Err())
}

// writeUses writes the uses that wait, in transactions of one batch each.
func (s *Sessions) writeUses(ctx context.Context) error {
	for list := s.uses.all(); len(list) > 0; {
		part := list[:min(batch, len(list))]
		list = list[len(part):]
		err := s.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			for _, w := range part {
				at := store.Micros(w.at)
				if _, err := tx.Exec(ctx, "UPDATE sessions SET last_used_at = ? WHERE token_hash = ? AND last_used_at < ?", at, w.hash[:], at); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		s.uses.done(part)
	}
	return nil
}
