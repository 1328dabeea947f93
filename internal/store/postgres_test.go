package store_test

import (
	"context"
	"testing"
	"time"

	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
	"sallyport.dev/internal/store/storetest"
)

// openPostgres opens with time for writers that come at once to wait for each
// other, and for a machine that is slow.
func openPostgres(ctx context.Context, url string) (*store.DB, error) {
	return store.OpenPostgres(ctx, url, store.PostgresOptions{LockWait: time.Minute, Patience: time.Minute})
}

func TestPostgres(t *testing.T) {
	storetest.Run(t, storetest.Engine{
		New:     func(t *testing.T) string { return pgtest.Database(t) },
		Open:    openPostgres,
		Several: true,
	})
}
