package storetest

import (
	"context"
	"errors"
	"slices"
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
	for _, outer := range []func(context.Context, func(context.Context, *store.Tx) error) error{db.Tx, db.View, db.Look} {
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
		for kind, view := range map[string]func(context.Context, func(context.Context, *store.Tx) error) error{"view": db.View, "look": db.Look} {
			if err := view(t.Context(), c.run); err == nil {
				t.Errorf("%s in a %s: no error", c.name, kind)
			}
			if n := count(t, db); n != before {
				t.Errorf("%s in a %s: %d rows, want %d", c.name, kind, n, before)
			}
		}
		must(t, db.Tx(t.Context(), c.run))
		if n := count(t, db); n != before+1 {
			t.Errorf("%s in a transaction: %d rows, want %d", c.name, n, before+1)
		}
	}
}

// looksOnce: a look is one statement, and what it reads is what a view reads.
func looksOnce(t *testing.T, db *store.DB) {
	must(t, db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return put(ctx, tx, "a", 7) }))
	for _, name := range []string{"a", "b", "a"} { // one that is not there spoils nothing
		var looked, viewed int64
		read := func(n *int64) func(context.Context, *store.Tx) error {
			return func(ctx context.Context, tx *store.Tx) (err error) { *n, err = get(ctx, tx, name); return err }
		}
		lerr, verr := db.Look(t.Context(), read(&looked)), db.View(t.Context(), read(&viewed))
		if looked != viewed || errors.Is(lerr, store.ErrNotFound) != errors.Is(verr, store.ErrNotFound) || (lerr == nil) != (name == "a") {
			t.Errorf("%s: looked %d, %v; viewed %d, %v", name, looked, lerr, viewed, verr)
		}
	}
	for kind, view := range map[string]func(context.Context, func(context.Context, *store.Tx) error) error{"view": db.View, "look": db.Look} {
		err := view(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			if _, err := get(ctx, tx, "a"); err != nil {
				return err
			}
			_, err := get(ctx, tx, "a")
			return err
		})
		if (err == nil) != (kind == "view") {
			t.Errorf("two statements in a %s: %v", kind, err)
		}
	}
	for range 100 { // more than there are connections
		err := db.Look(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Query(ctx, "SELECT name FROM contract_things")
			return err
		})
		if err == nil {
			t.Fatal("rows left open by a look: no error")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Look(ctx, func(context.Context, *store.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a look whose caller has gone: %v", err)
	}
}

// refusesTexts: what one engine cannot keep none takes.
func refusesTexts(t *testing.T, db *store.DB) {
	for _, c := range []struct {
		text string
		ok   bool
	}{
		{"naïve ☃", true}, {"\x01\x7f", true}, {"a\x00b", false}, {"\x00", false}, {"\xff", false}, {"caf\xe9", false}, {"\xed\xa0\x80", false},
	} {
		write := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return put(ctx, tx, c.text, 1) })
		read := db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			_, err := get(ctx, tx, c.text)
			return err
		})
		if (write == nil) != c.ok || (read == nil) != c.ok {
			t.Errorf("text %q: written %v, read %v, want it taken: %v", c.text, write, read, c.ok)
		}
		for _, kind := range []error{store.ErrNotFound, store.ErrConflict, store.ErrUnavailable} {
			if errors.Is(write, kind) || errors.Is(read, kind) {
				t.Errorf("text %q: written %v, read %v, want plain errors", c.text, write, read)
			}
		}
	}
}

// answersOfEveryKind: sums are numbers, truths are numbers, texts compare by
// their bytes, and what an upsert means is one thing.
func answersOfEveryKind(t *testing.T, db *store.DB) {
	must(t, db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for i, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
			if err := put(ctx, tx, name, int64(i)); err != nil {
				return err
			}
		}
		var sum, most int64
		var few int
		var truth bool
		err := tx.QueryRow(ctx, "SELECT SUM(number), MAX(number), COUNT(*), number = 3 FROM contract_things WHERE number >= ? GROUP BY number ORDER BY number DESC LIMIT ?", 3, 1).
			Scan(&sum, &most, &few, &truth)
		if err != nil || sum != 6 || most != 6 || few != 1 || truth {
			t.Errorf("sum %d, most %d, count %d, truth %v, %v, want 6, 6, 1, false", sum, most, few, truth, err)
		}
		if _, err := tx.Exec(ctx, "UPDATE contract_things SET number = ? WHERE name = ?", true, "a"); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT number FROM contract_things WHERE name = 'a'").Scan(&truth); err != nil || !truth {
			t.Errorf("a truth as a number = %v, %v, want true", truth, err)
		}
		if err := tx.QueryRow(ctx, `INSERT INTO contract_things (name, number) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET number = contract_things.number + excluded.number RETURNING number`, "b", 40).Scan(&sum); err != nil || sum != 41 {
			t.Errorf("upsert = %d, %v, want 40", sum, err)
		}
		for _, name := range []string{"b", "B", "a", "Ä", "a-b", "ab", "_"} { // a table of the migrations: they say how texts compare
			if _, err := tx.Exec(ctx, "INSERT INTO sealed (name, version, sealed) VALUES (?, 1, ?)", name, []byte{}); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, "SELECT name FROM sealed WHERE name > ? ORDER BY name", "B")
		if err != nil {
			return err
		}
		var order []string
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			order = append(order, name)
		}
		if want := []string{"_", "a", "a-b", "ab", "b", "Ä"}; !slices.Equal(order, want) {
			t.Errorf("names in order %q, want %q", order, want)
		}
		return rows.Err()
	}))
}
