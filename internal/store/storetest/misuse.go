package storetest

import (
	"context"
	"errors"
	"testing"

	"sallyport.dev/internal/store"
)

// dooms: after a failed statement nothing is committed, whatever the function says.
func dooms(t *testing.T, db *store.DB) {
	err := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		must(t, put(ctx, tx, "a", 1))
		if err := put(ctx, tx, "a", 2); !errors.Is(err, store.ErrConflict) {
			t.Errorf("conflict: %v, want ErrConflict", err)
		}
		if err := put(ctx, tx, "b", 1); !errors.Is(err, store.ErrConflict) {
			t.Errorf("statement after the conflict: %v, want the same ErrConflict", err)
		}
		return nil
	})
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("doomed transaction: %v, want ErrConflict", err)
	}
	if n := count(t, db); n != 0 {
		t.Errorf("rows = %d, want 0", n)
	}
}

func refusesNesting(t *testing.T, db *store.DB) {
	ok := func(context.Context, *store.Tx) error { return nil }
	for _, outer := range []func(context.Context, func(context.Context, *store.Tx) error) error{db.Tx, db.View} {
		must(t, outer(t.Context(), func(ctx context.Context, _ *store.Tx) error {
			if err := db.Tx(ctx, ok); err == nil {
				t.Error("Tx inside a transaction: no error")
			}
			if err := db.View(ctx, ok); err == nil {
				t.Error("View inside a transaction: no error")
			}
			return nil
		}))
	}
	must(t, db.Tx(t.Context(), ok))
}

func refusesOpenRows(t *testing.T, db *store.DB) {
	err := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Query(ctx, "SELECT name FROM contract_things"); err != nil {
			return err
		}
		return put(ctx, tx, "a", 1)
	})
	if err == nil {
		t.Error("statement while rows are open: no error")
	}
	must(t, db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, "SELECT name FROM contract_things")
		if err != nil {
			return err
		}
		if err := rows.Close(); err != nil {
			return err
		}
		return put(ctx, tx, "a", 1)
	}))
}

func viewsDoNotWrite(t *testing.T, db *store.DB) {
	for _, c := range []struct {
		name string
		run  func(context.Context, *store.Tx) error
	}{
		{"exec", func(ctx context.Context, tx *store.Tx) error { return put(ctx, tx, "exec", 1) }},
		{"query", func(ctx context.Context, tx *store.Tx) error {
			var n int64
			return tx.QueryRow(ctx, "INSERT INTO contract_things (name, number) VALUES (?, 1) RETURNING number", "query").Scan(&n)
		}},
	} {
		before := count(t, db)
		if err := db.View(t.Context(), c.run); err == nil {
			t.Errorf("%s in a view: no error", c.name)
		}
		if n := count(t, db); n != before {
			t.Errorf("%s in a view: %d rows, want %d", c.name, n, before)
		}
		must(t, db.Tx(t.Context(), c.run))
		if n := count(t, db); n != before+1 {
			t.Errorf("%s in a transaction: %d rows, want %d", c.name, n, before+1)
		}
	}
}
