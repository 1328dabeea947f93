package identity

import (
	"context"

	"sallyport.dev/internal/store"
)

// API keys are no sessions: they stay when their owner changes the password or logs
// out everywhere, unless the owner says otherwise. So the pages tell the owner how many do.

// liveKeys is how many live keys a user has.
func (id *Identity) liveKeys(ctx context.Context, user string) (int, error) {
	if id.keys == nil {
		return 0, nil
	}
	list, err := id.keys.ListKeys(ctx, user)
	return len(list), store.Refusal(ctx, err)
}

// endKeys ends the keys of a user, and says how many.
func (id *Identity) endKeys(ctx context.Context, t tx, user string) (int, error) {
	if id.keys == nil {
		return 0, nil
	}
	return id.keys.EndKeys(ctx, t.whole(), user)
}
