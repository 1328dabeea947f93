package apikey

import (
	"context"
	"errors"

	"sallyport.dev/internal/problem"
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

// database runs transactions; see store.DB.
type database interface {
	change(ctx context.Context, fn func(context.Context, tx) error) error
	view(ctx context.Context, fn func(context.Context, tx) error) error
}

// sqlDatabase is the store itself.
type sqlDatabase struct{ db *store.DB }

func (s sqlDatabase) change(ctx context.Context, fn func(context.Context, tx) error) error {
	return unavailable(ctx, s.db.Tx(ctx, func(ctx context.Context, t *store.Tx) error { return fn(ctx, storeTx{t}) }))
}

func (s sqlDatabase) view(ctx context.Context, fn func(context.Context, tx) error) error {
	return unavailable(ctx, s.db.View(ctx, func(ctx context.Context, t *store.Tx) error { return fn(ctx, storeTx{t}) }))
}

// unavailable gives an error of the store its reason: without the store nobody
// is let in. Errors that have a reason keep it.
func unavailable(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*problem.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return problem.New(problem.ClientClosed, err)
	case errors.Is(err, store.ErrUnavailable), ctx.Err() != nil:
		return problem.New(problem.AuthUnavailable, err)
	}
	return problem.New(problem.InternalError, err)
}
