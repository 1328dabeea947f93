package identity

import (
	"context"
	"net/http"

	"sallyport.dev/internal/page"
	"sallyport.dev/internal/store"
)

// API keys are no sessions: they stay when their owner changes the password or logs
// out everywhere, unless the owner says otherwise. So the owner is told how many do.

// keysLeftJSON says how many API keys live on.
type keysLeftJSON struct {
	KeysLeft int `json:"keys_left"`
}

// keysLeft answers a program; 204 says that no key lives on.
func keysLeft(w http.ResponseWriter, n int) error {
	if n == 0 {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return page.WriteJSON(w, http.StatusOK, keysLeftJSON{n})
}

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
