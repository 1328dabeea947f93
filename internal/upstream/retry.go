package upstream

import (
	"net/http"
	"sync/atomic"
)

// retryBudget keeps retries a small part of the traffic: each request earns a
// tenth of one and a hundred may be saved up, so a service that fails as a
// whole is not asked twice as often as one that works.
type retryBudget struct {
	tokens atomic.Int64 // tenths of a retry
}

const (
	retryCost = 10
	retryCap  = 100 * retryCost
)

func (b *retryBudget) earn() {
	if b.tokens.Load() < retryCap {
		b.tokens.Add(1)
	}
}

func (b *retryBudget) spend() bool {
	if b.tokens.Add(-retryCost) >= 0 {
		return true
	}
	b.tokens.Add(retryCost)
	return false
}

// retriable reports whether a request of this method may be sent again when
// nobody knows whether the first was acted on: the safe methods of RFC 9110
// section 9.2.1. PUT and DELETE are idempotent in effect but not in their
// answers (a second DELETE says 404), so they are not.
func retriable(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}
