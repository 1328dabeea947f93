package storetest

import (
	"bytes"
	"context"
	"errors"
	"math"
	"sync"
	"testing"

	"sallyport.dev/internal/store"
)

var errMine = errors.New("the caller's own error")

func commits(t *testing.T, db *store.DB) {
	must(t, db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		if err := put(ctx, tx, "a", 1); err != nil {
			return err
		}
		if n, err := get(ctx, tx, "a"); err != nil || n != 1 {
			t.Errorf("own write = %d, %v, want 1", n, err)
		}
		n, err := tx.Exec(ctx, "UPDATE contract_things SET number = number + 1 WHERE name IN (?, ?)", "a", "b")
		if n != 1 {
			t.Errorf("rows changed = %d, want 1", n)
		}
		return err
	}))
	must(t, db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		n, err := get(ctx, tx, "a")
		if n != 2 {
			t.Errorf("read after commit = %d, want 2", n)
		}
		return err
	}))
}

// values: what is read is what was written, for every type that migrations use.
func values(t *testing.T, db *store.DB) {
	const question = "is ? a placeholder"
	must(t, db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for _, n := range []int64{0, -1, math.MaxInt64, math.MinInt64} {
			if err := put(ctx, tx, "n", n); err != nil {
				return err
			}
			if got, err := get(ctx, tx, "n"); err != nil || got != n {
				t.Errorf("integer = %d, %v, want %d", got, err, n)
			}
			if _, err := tx.Exec(ctx, "DELETE FROM contract_things"); err != nil {
				return err
			}
		}
		for _, s := range []string{"", "'; DROP TABLE contract_things; --", question, "naïve ☃ \U0001F510", "line\nline"} {
			if err := put(ctx, tx, s, 7); err != nil {
				return err
			}
			if got, err := get(ctx, tx, s); err != nil || got != 7 {
				t.Errorf("row named %q = %d, %v, want 7", s, got, err)
			}
		}
		var same bool
		if err := tx.QueryRow(ctx, "SELECT name = ? FROM contract_things WHERE name = 'is ? a placeholder'", question).Scan(&same); err != nil || !same {
			t.Errorf("a question mark in a string = %v, %v, want true", same, err)
		}
		blob := make([]byte, 256)
		for i := range blob {
			blob[i] = byte(i)
		}
		hash := [32]byte{0, 1, 0xff}
		if err := tx.Revoke(ctx, store.Revocation{Kind: store.KindCredential, Credential: hash, At: at}); err != nil {
			return err
		}
		var got, null []byte
		if err := tx.QueryRow(ctx, "SELECT credential FROM revocations").Scan(&got); err != nil || !bytes.Equal(got, hash[:]) {
			t.Errorf("bytes = %x, %v, want %x", got, err, hash)
		}
		if err := tx.QueryRow(ctx, "SELECT NULL").Scan(&null); err != nil || null != nil {
			t.Errorf("null = %v, %v, want nil", null, err)
		}
		return nil
	}))
}

func rollsBack(t *testing.T, db *store.DB) {
	if err := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		must(t, put(ctx, tx, "error", 1))
		return errMine
	}); err != errMine { //nolint:errorlint // it comes back as it is
		t.Errorf("error = %v, want the caller's own", err)
	}
	func() {
		defer func() {
			if v := recover(); v != "boom" {
				t.Errorf("recovered %v, want boom", v)
			}
		}()
		_ = db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			must(t, put(ctx, tx, "panic", 1))
			panic("boom")
		})
	}()
	if n := count(t, db); n != 0 {
		t.Errorf("rows after rollbacks = %d, want 0", n)
	}
	must(t, db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return put(ctx, tx, "control", 1) }))
	if n := count(t, db); n != 1 {
		t.Errorf("rows after a commit = %d, want 1", n)
	}
}

func cancels(t *testing.T, db *store.DB) {
	ctx, cancel := context.WithCancel(t.Context())
	err := db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		must(t, put(ctx, tx, "late", 1))
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("cancelled before the commit: %v, want context.Canceled only", err)
	}
	for name, run := range map[string]func(context.Context, func(context.Context, *store.Tx) error) error{"Tx": db.Tx, "View": db.View} {
		err := run(ctx, func(context.Context, *store.Tx) error {
			t.Errorf("%s ran with an ended context", name)
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with an ended context: %v, want context.Canceled", name, err)
		}
	}
	if n := count(t, db); n != 0 {
		t.Errorf("rows = %d, want 0", n)
	}
}

func conflicts(t *testing.T, db *store.DB) {
	add := func(number int64) error {
		return db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return put(ctx, tx, "one", number) })
	}
	must(t, add(1))
	if err := add(2); !errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("second row of a key: %v, want ErrConflict", err)
	}
	err := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO contract_things (name, number) VALUES (?, NULL)", "null")
		return err
	})
	if err == nil || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("null in a column that has none: %v, want a plain error", err)
	}
	must(t, db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { // the way to expect one
		n, err := tx.Exec(ctx, "INSERT INTO contract_things (name, number) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", "one", 3)
		if n != 0 {
			t.Errorf("rows changed by a conflict = %d, want 0", n)
		}
		return err
	}))
}

func findsNothing(t *testing.T, db *store.DB) {
	must(t, db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		if _, err := get(ctx, tx, "absent"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("absent row: %v, want ErrNotFound", err)
		}
		return put(ctx, tx, "present", 1) // not doomed
	}))
	must(t, db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := get(ctx, tx, "present")
		return err
	}))
}

// viewsDoNotMove: a view sees one moment, a later view what was committed since.
func viewsDoNotMove(t *testing.T, db *store.DB) {
	must(t, db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for i := range 3 {
			if _, err := get(ctx, tx, "late"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("read %d: %v, want ErrNotFound", i, err)
			}
			if i == 0 { // a writer does not wait for a reader
				must(t, db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return put(ctx, tx, "late", 1) }))
			}
		}
		return nil
	}))
	if n := count(t, db); n != 1 {
		t.Errorf("a later view: %d rows, want 1", n)
	}
}

// writersFollow: a write transaction sees all that the ones before it did.
func writersFollow(t *testing.T, db *store.DB) {
	const writers, each = 8, 10
	must(t, db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return put(ctx, tx, "sum", 0) }))
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
					n, err := get(ctx, tx, "sum")
					if err != nil {
						return err
					}
					_, err = tx.Exec(ctx, "UPDATE contract_things SET number = ? WHERE name = 'sum'", n+1)
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(t, db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		n, err := get(ctx, tx, "sum")
		if n != writers*each {
			t.Errorf("sum = %d, want %d", n, writers*each)
		}
		return err
	}))
}

func closes(t *testing.T, db *store.DB) {
	must(t, db.Ping(t.Context()))
	must(t, db.Close())
	must(t, db.Close())
	ok := func(context.Context, *store.Tx) error { return nil }
	for name, err := range map[string]error{"Tx": db.Tx(t.Context(), ok), "View": db.View(t.Context(), ok), "Ping": db.Ping(t.Context())} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s after Close: %v, want ErrUnavailable", name, err)
		}
	}
}
