package page

import (
	"errors"
	"fmt"
	"time"

	"sallyport.dev/internal/problem"
)

// laterError is a refusal that says when to come back.
type laterError struct {
	refusal *problem.Error
	after   time.Duration
}

// Later returns a refusal that says when to come back.
func Later(r problem.Reason, after time.Duration) error {
	return &laterError{refusal: problem.New(r, nil), after: after}
}

func (e *laterError) Error() string { return fmt.Sprintf("%v (retry after %v)", e.refusal, e.after) }

func (e *laterError) Unwrap() error { return e.refusal }

// RetryAfter is how long to wait.
func (e *laterError) RetryAfter() time.Duration { return e.after }

// waits is an error of any package that says when to come back.
type waits interface {
	error
	RetryAfter() time.Duration
}

// RetryAfter returns the value of Retry-After in whole seconds, at least 1; 0
// when err does not say when to come back.
func RetryAfter(err error) int {
	e, ok := errors.AsType[waits](err)
	if !ok {
		return 0
	}
	return max(1, int((e.RetryAfter()+time.Second-1)/time.Second))
}
