package store_test

import (
	"context"
	"testing"

	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
	"sallyport.dev/internal/store/storetest"
)

func openPostgres(ctx context.Context, url string) (*store.DB, error) {
	return store.OpenPostgres(ctx, url, store.PostgresOptions{})
}

func TestPostgres(t *testing.T) {
	storetest.Run(t, storetest.Engine{
		New:     func(t *testing.T) string { return pgtest.Database(t) },
		Open:    openPostgres,
		Several: true,
	})
}
