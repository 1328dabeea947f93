package store

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func openPrepared(t *testing.T) *DB {
	t.Helper()
	db, err := OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "zone.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Tx(t.Context(), func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)"); err != nil {
			return err
		}
		for id, name := range []string{"a", "b", "c"} {
			if _, err := tx.Exec(ctx, "INSERT INTO things (id, name) VALUES (?, ?)", id, name); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return db
}

// TestHalfRead leaves rows before their end: the same statement then begins anew.
func TestHalfRead(t *testing.T) {
	db := openPrepared(t)
	const query = "SELECT name FROM things WHERE id >= ? ORDER BY id"
	for range 3 { // prepared, then kept
		var got string
		if err := db.View(t.Context(), func(ctx context.Context, tx *Tx) error {
			rows, err := tx.Query(ctx, query, 0)
			if err != nil {
				return err
			}
			var name string
			if rows.Next() {
				err = rows.Scan(&name)
			}
			rows.Close()
			got += name
			if err != nil {
				return err
			}
			err = tx.QueryRow(ctx, query, 2).Scan(&name)
			got += name
			return err
		}); err != nil || got != "ac" {
			t.Fatalf("%q %v, want ac", got, err)
		}
	}
}

// TestFailedStatementIsForgotten: after a conflict the same statement works again.
func TestFailedStatementIsForgotten(t *testing.T) {
	db := openPrepared(t)
	insert := func(id int, name string) error {
		return db.Tx(t.Context(), func(ctx context.Context, tx *Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO things (id, name) VALUES (?, ?)", id, name)
			return err
		})
	}
	for range 3 {
		if err := insert(9, "a"); !errors.Is(err, ErrConflict) {
			t.Fatalf("%v, want a conflict", err)
		}
	}
	if err := insert(9, "d"); err != nil {
		t.Error(err)
	}
}

// TestBeginGivenUp has many transactions give up while they begin: none leaves one
// open on a connection, where the next would find it.
func TestBeginGivenUp(t *testing.T) {
	db := openPrepared(t)
	var wait sync.WaitGroup
	for n := range 200 {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*10*time.Microsecond)
			defer cancel()
			_ = db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
				_, err := tx.Exec(ctx, "UPDATE things SET name = name WHERE id = ?", 1)
				return err
			})
			_ = db.View(ctx, func(ctx context.Context, tx *Tx) error {
				var name string
				return tx.QueryRow(ctx, "SELECT name FROM things WHERE id = ?", 1).Scan(&name)
			})
		})
	}
	wait.Wait()
	for range 20 { // as many as there are connections, and more
		if err := db.Tx(t.Context(), func(ctx context.Context, tx *Tx) error {
			_, err := tx.Exec(ctx, "UPDATE things SET name = name WHERE id = ?", 1)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := db.View(t.Context(), func(ctx context.Context, tx *Tx) error {
			var name string
			return tx.QueryRow(ctx, "SELECT name FROM things WHERE id = ?", 1).Scan(&name)
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStatementsAreBounded prepares more texts than a connection keeps.
func TestStatementsAreBounded(t *testing.T) {
	db := openPrepared(t)
	if err := db.View(t.Context(), func(ctx context.Context, tx *Tx) error {
		text := "SELECT COUNT(*) FROM things WHERE id >= ?"
		for range preparedMost + 50 {
			text += " "
			var n int
			if err := tx.QueryRow(ctx, text, 0).Scan(&n); err != nil || n != 3 {
				t.Fatalf("%d %v", n, err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
