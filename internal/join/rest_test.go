package join

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
)

// A database that is read, or kept, opens nothing.
func TestSecretIsNotAtRest(t *testing.T) {
	f := newFixture(t)
	token, secret := f.create("orders")
	stock, stockSecret := f.create("stock")
	f.want("use", stock.ID, stockSecret[:], "stock", problem.OK)
	hash := sha256.Sum256(secret[:])
	for what, c := range map[string]struct {
		bytes []byte
		there bool
	}{
		"the id": {token.ID[:], true}, "the hash": {hash[:], true}, // the control: this is where they would be
		"the secret": {secret[:], false}, "a spent secret": {stockSecret[:], false},
	} {
		if found := f.inFolder(c.bytes); found != c.there {
			t.Errorf("%s is in the folder: %v, want %v", what, found, c.there)
		}
	}
	f.want("the hash as a secret", token.ID, hash[:], "", problem.JoinRefused)
}

func (f *fixture) inFolder(what []byte) bool {
	f.t.Helper()
	files, err := filepath.Glob(filepath.Join(f.dir, "*"))
	if err != nil || len(files) == 0 {
		f.t.Fatalf("no files: %v", err)
	}
	return slices.ContainsFunc(files, func(name string) bool {
		content, err := os.ReadFile(name)
		if err != nil {
			f.t.Fatal(err)
		}
		return bytes.Contains(content, what)
	})
}

// Spent is spent after a restart.
func TestRestart(t *testing.T) {
	f := newFixture(t)
	spent, spentSecret := f.create("orders")
	open, openSecret := f.create("stock")
	f.want("use", spent.ID, spentSecret[:], "orders", problem.OK)
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := pgtest.OpenAt(t, filepath.Join(f.dir, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	f.db, f.Tokens = db, New(db, f.clock)
	t.Cleanup(func() { _ = db.Close() })
	f.want("spent", spent.ID, spentSecret[:], "", problem.JoinRefused)
	f.want("open", open.ID, openSecret[:], "stock", problem.OK)
}

// Without the store nobody joins, and strangers do not hold up who writes.
func TestStore(t *testing.T) {
	f := newFixture(t)
	token, secret := f.create("orders")
	guess := make([]byte, 32)
	err := f.db.Tx(t.Context(), func(context.Context, *store.Tx) error { // somebody writes
		f.want("unknown while somebody writes", ID{1}, guess, "", problem.JoinRefused)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := f.Redeem(ctx, token.ID[:], secret[:]); problem.ReasonOf(err) != problem.AuthUnavailable { // the control: this one has to wait
			t.Errorf("known while somebody writes: %v, want auth.unavailable", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Redeem(gone, token.ID[:], secret[:]); problem.ReasonOf(err) != problem.ClientClosed {
		t.Errorf("cancelled: %v, want client.closed", err)
	}
	f.want("after all that", token.ID, secret[:], "orders", problem.OK)

	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	_, redeemErr := f.Redeem(t.Context(), token.ID[:], secret[:])
	_, _, createErr := f.Create(t.Context(), "orders")
	_, listErr := f.List(t.Context())
	for _, err := range []error{createErr, redeemErr, listErr, f.Revoke(t.Context(), token.ID)} {
		if problem.ReasonOf(err) != problem.AuthUnavailable {
			t.Errorf("without a store: %v, want auth.unavailable", err)
		}
	}
}
