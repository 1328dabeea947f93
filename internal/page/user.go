package page

import "context"

type userKey struct{}

// WithUser returns a context that says who is logged in, by the name or address
// that pages show.
func WithUser(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, userKey{}, name)
}
