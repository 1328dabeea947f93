// Package storetest is the contract of store as tests: every engine runs it
// whole, and what a part may rely on is what stands here. It uses nothing of an
// engine but its two functions.
package storetest

import (
	"context"
	"os"
	"testing"

	"sallyport.dev/internal/store"
)

// Engine is one kind of database under test.
type Engine struct {
	// New makes a place for a new database (a path, a url) and removes it when t ends.
	New func(t *testing.T) (place string)
	// Open opens the database of a place, making and migrating it when it is new.
	Open func(ctx context.Context, place string) (*store.DB, error)
	// Several says that several processes may have one database open.
	Several bool
}

// Run runs the contract against an engine. The test that calls it must be a
// top-level test and do nothing before: it is started once more, in a process
// that is then killed.
func Run(t *testing.T, e Engine) {
	if place := os.Getenv(childEnv); place != "" {
		child(e, place)
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, *store.DB)
	}{
		{"commit", commits},
		{"values", values},
		{"rollback", rollsBack},
		{"cancel", cancels},
		{"conflict", conflicts},
		{"doomed", dooms},
		{"not found", findsNothing},
		{"nested", refusesNesting},
		{"rows", refusesOpenRows},
		{"view", viewsDoNotWrite},
		{"look", looksOnce},
		{"texts", refusesTexts},
		{"answers", answersOfEveryKind},
		{"snapshot", viewsDoNotMove},
		{"writers", writersFollow},
		{"closed", closes},
		{"revoke", revokes},
		{"revoke nothing", rollsRevocationsBack},
		{"revocations apart", refusesHalfRevocations},
		{"revocation order", numbersInOrder},
		{"nobody overtakes", nobodyOvertakes},
		{"subscribers", subscribers},
		{"prune", prunes},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t, e, e.New(t))) })
	}
	t.Run("reopen", func(t *testing.T) { reopens(t, e) })
	t.Run("kill", func(t *testing.T) { survivesKill(t, e) })
	if e.Several {
		several(t, e)
	} else {
		t.Run("alone", func(t *testing.T) { alone(t, open(t, e, e.New(t))) })
	}
}

// open opens a place and gives it the tables that the contract uses.
func open(t *testing.T, e Engine, place string) *store.DB {
	t.Helper()
	db, err := e.Open(t.Context(), place)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	must(t, db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return createTables(ctx, tx) }))
	return db
}

// createTables makes the two tables of the contract: things are written by the
// tests, pairs by the child that is killed.
func createTables(ctx context.Context, tx *store.Tx) error {
	if _, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS contract_things (name TEXT NOT NULL PRIMARY KEY, number BIGINT NOT NULL)"); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS contract_pairs (number BIGINT NOT NULL, half BIGINT NOT NULL, PRIMARY KEY (number, half))")
	return err
}

func put(ctx context.Context, tx *store.Tx, name string, number int64) error {
	_, err := tx.Exec(ctx, "INSERT INTO contract_things (name, number) VALUES (?, ?)", name, number)
	return err
}

func get(ctx context.Context, tx *store.Tx, name string) (int64, error) {
	var n int64
	err := tx.QueryRow(ctx, "SELECT number FROM contract_things WHERE name = ?", name).Scan(&n)
	return n, err
}

// count returns the number of things as a new view sees them.
func count(t *testing.T, db *store.DB) (n int) {
	t.Helper()
	must(t, db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM contract_things").Scan(&n)
	}))
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
