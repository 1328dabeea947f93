package oauth

import (
	"context"
	"log/slog"
	"time"

	"sallyport.dev/internal/store"
)

const (
	sendEvery  = 2 * time.Second
	purgeEvery = 10 * time.Minute
	keep       = time.Hour // how long what expired is told from what never was
	batch      = 500       // rows of one transaction: other writers wait for it
	batches    = 20        // of one kind in one Purge
)

// Run sends logout tokens and purges what has ended, until ctx ends; then it
// returns nil. What fails is logged and done again in its time.
func (p *Provider) Run(ctx context.Context) error {
	sends, purges := time.NewTicker(sendEvery), time.NewTicker(purgeEvery)
	defer sends.Stop()
	defer purges.Stop()
	for {
		select {
		case <-sends.C:
			if _, err := p.SendLogouts(ctx); err != nil && ctx.Err() == nil {
				p.Log.ErrorContext(ctx, "logout tokens not sent", slog.Any("error", err))
			}
		case <-purges.C:
			if _, err := p.Purge(ctx); err != nil && ctx.Err() == nil {
				p.Log.ErrorContext(ctx, "ended grants not purged", slog.Any("error", err))
			}
			if err := p.endGone(ctx); err != nil && ctx.Err() == nil {
				p.Log.ErrorContext(ctx, "what removed clients were granted has not ended yet", slog.Any("error", err))
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// Purge removes what has ended, 10,000 rows of each kind at most, and returns how
// many. Refresh tokens go with their grants: one that was used must be known until
// then.
func (p *Provider) Purge(ctx context.Context) (int64, error) {
	now := p.now()
	var total int64
	for _, kind := range []struct {
		table, key string
		before     time.Time
	}{
		{"oauth_requests", "id", now.Add(-keep)}, {"oauth_tokens", "hash", now.Add(-keep)}, {"oauth_grants", "id", now.Add(-keep)}, {"oauth_assertions", "hash", now},
	} {
		statement := "DELETE FROM " + kind.table + " WHERE " + kind.key + " IN (SELECT " + kind.key + " FROM " + kind.table + " WHERE expires_at < ? LIMIT ?)"
		for range batches {
			var n int64
			err := p.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
				n, err = tx.Exec(ctx, statement, store.Micros(kind.before), batch)
				return err
			})
			if err != nil {
				return total, answer(err)
			}
			total += n
			if n < batch {
				break
			}
		}
	}
	return total, nil
}
