package oauth_test

import (
	"context"
	"testing"

	"sallyport.dev/internal/store"
)

// TestEndClients: all that was granted ends, what the user said yes to is taken back,
// and each client is counted once; of another user nothing ends.
func TestEndClients(t *testing.T) {
	w := newWorld(t)
	here, longer := w.tokens("openid"), w.tokens("openid offline_access")
	end := func(user string) (n int) {
		t.Helper()
		must(t, w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = w.EndClientsTx(ctx, tx, user)
			return err
		}))
		return n
	}
	if n := end("somebody else"); n != 0 {
		t.Errorf("of another user: %d clients", n)
	}
	w.good(here.text("access_token"), true)
	w.good(longer.text("access_token"), true)
	before, err := w.Grants(t.Context(), user)
	must(t, err)
	if n := end(user); n != len(before) || n == 0 {
		t.Errorf("%d clients ended, %d were listed", n, len(before))
	}
	w.good(here.text("access_token"), false)
	w.good(longer.text("access_token"), false)
	after, err := w.Grants(t.Context(), user)
	must(t, err)
	if len(after) != 0 || end(user) != 0 {
		t.Errorf("left %+v", after)
	}
}
