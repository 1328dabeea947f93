// Package standin lets a test put something in the place of what a guard has
// from its zone: an identity of a test's own CA, and control in memory. It is
// internal to guard: programs have no other way to an identity than their zone.
package standin

import (
	"context"
	"net/http"
	"time"

	"sallyport.dev/internal/svid"
)

// Parts are given to guard.New with its context. What is nil is not replaced.
type Parts struct {
	Source  *svid.Source      // has an identity and is kept fresh by the test
	Control http.RoundTripper // answers in the place of the zone's control part

	// Patience is what a dial, a handshake, a header and a question to control may
	// take at least: on the machine of a test more than they take in a zone.
	Patience time.Duration
}

type key struct{}

// With returns a context that brings the parts.
func With(ctx context.Context, p Parts) context.Context { return context.WithValue(ctx, key{}, p) }

// From returns the parts that a context brings; none as a rule.
func From(ctx context.Context) Parts {
	p, _ := ctx.Value(key{}).(Parts)
	return p
}
