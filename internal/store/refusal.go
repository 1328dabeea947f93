package store

import (
	"context"
	"errors"

	"sallyport.dev/internal/problem"
)

// Refusal gives what a transaction returned its reason: without the store nobody is
// let in. Errors that have a reason keep it; nil stays nil.
func Refusal(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*problem.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return problem.New(problem.ClientClosed, err)
	case errors.Is(err, ErrUnavailable), ctx.Err() != nil:
		return problem.New(problem.AuthUnavailable, err)
	}
	return problem.New(problem.InternalError, err)
}
