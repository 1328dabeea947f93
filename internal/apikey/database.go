package apikey

import (
	"context"

	"sallyport.dev/internal/store"
)

// tx is one transaction of the store. It is an interface so that a test counts
// the statements of a request.
type tx interface {
	Exec(ctx context.Context, query string, args ...any) (int64, error)
	Query(ctx context.Context, query string, args ...any) (*store.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) *store.Row
	Revoke(ctx context.Context, r store.Revocation) error
	whole() *store.Tx // for who shares the transaction
}

// storeTx is a transaction of the store itself.
type storeTx struct{ *store.Tx }

func (t storeTx) whole() *store.Tx { return t.Tx }

// within runs a change in a transaction of the caller, or in one of its own where
// that is nil.
func (k *Keys) within(ctx context.Context, tx *store.Tx, fn func(context.Context, tx) error) error {
	if tx == nil {
		return k.db.change(ctx, fn)
	}
	return fn(ctx, storeTx{tx})
}

// database runs transactions; see store.DB.
type database interface {
	change(ctx context.Context, fn func(context.Context, tx) error) error
	view(ctx context.Context, fn func(context.Context, tx) error) error
}

// sqlDatabase is the store itself.
type sqlDatabase struct{ db *store.DB }

func (s sqlDatabase) change(ctx context.Context, fn func(context.Context, tx) error) error {
	return store.Refusal(ctx, s.db.Tx(ctx, func(ctx context.Context, t *store.Tx) error { return fn(ctx, storeTx{t}) }))
}

func (s sqlDatabase) view(ctx context.Context, fn func(context.Context, tx) error) error {
	return store.Refusal(ctx, s.db.View(ctx, func(ctx context.Context, t *store.Tx) error { return fn(ctx, storeTx{t}) }))
}
