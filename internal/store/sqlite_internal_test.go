package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func openTest(t *testing.T, path string, busy time.Duration) *DB {
	t.Helper()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	db, err := openSQLite(t.Context(), path, busy, files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	db := openTest(t, path, busyTimeout)
	if err := write(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s has mode %04o, want 0600", filepath.Base(name), got)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(path string) error
		want string // part of the error; empty: it opens
	}{
		{"nothing there", func(string) error { return nil }, ""},
		{"an empty private file", func(p string) error { return os.WriteFile(p, nil, 0o600) }, ""},
		{"readable by the group", func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Chmod(p, 0o640)) }, "open to other users (mode 0640)"},
		{"readable by all", func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Chmod(p, 0o604)) }, "open to other users (mode 0604)"},
		{"a folder", func(p string) error { return os.Mkdir(p, 0o700) }, "not a file"},
		{"not a database", func(p string) error { return os.WriteFile(p, []byte(strings.Repeat("no database ", 100)), 0o600) }, "not a database"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "odd ?#%;&.db")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			db, err := OpenSQLite(t.Context(), path)
			if err == nil {
				err = db.Close()
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("open = %v, want %q", err, c.want)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
				t.Errorf("files left: %q, want one", left)
			}
		})
	}
}

// The lock that another process holds is waited for, for so long, and then said.
func TestBusyIsUnavailable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	db := openTest(t, path, 20*time.Millisecond)
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	err = db.Tx(t.Context(), func(context.Context, *Tx) error {
		t.Error("a transaction without the lock ran")
		return nil
	})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("write beside another process's: %v, want ErrUnavailable", err)
	}
	if _, err := db.LastRevocation(t.Context()); err != nil {
		t.Errorf("read beside another process's write: %v, want none", err)
	}
	if _, err := other.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := write(t.Context(), db); err != nil {
		t.Errorf("write after it: %v, want none", err)
	}
}

// A disk that is full is said as such, and what was there stays readable.
func TestFullIsUnavailable(t *testing.T) {
	db := openTest(t, filepath.Join(t.TempDir(), "store.db"), busyTimeout)
	limit := func(pages string) {
		t.Helper()
		if _, err := db.engine.(*sqlEngine).writer.ExecContext(t.Context(), "PRAGMA max_page_count = "+pages); err != nil {
			t.Fatal(err)
		}
	}
	limit("1") // no page beyond those that are there
	var err error
	n := int64(0)
	for ; err == nil && n < 10_000; n++ {
		err = write(t.Context(), db)
	}
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("write %d to a full disk: %v, want ErrUnavailable", n, err)
	}
	if got, err := db.LastRevocation(t.Context()); err != nil || got != n-1 {
		t.Errorf("last = %d, %v, want %d", got, err, n-1)
	}
	limit("1000000")
	if err := write(t.Context(), db); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// Who waits for a lock or for the writer is let go when its context ends, long
// before the busy timeout, and its function never runs.
func TestWaitingEndsWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	db := openTest(t, path, time.Hour)
	wait := func(name string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		err := db.Tx(ctx, func(context.Context, *Tx) error {
			t.Errorf("%s: it ran", name)
			return nil
		})
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v, want only that the deadline is exceeded", name, err)
		}
	}
	if err := db.Tx(t.Context(), func(context.Context, *Tx) error {
		wait("behind the writer")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	wait("behind another process")
	if _, err := other.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := write(t.Context(), db); err != nil {
		t.Errorf("control: %v", err)
	}
}

// A statement that runs is interrupted; SQLite then rolls back by itself, and
// nothing after it may commit on its own.
func TestRunningStatementIsInterrupted(t *testing.T) {
	db := openTest(t, filepath.Join(t.TempDir(), "store.db"), busyTimeout)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		if err := tx.Revoke(ctx, Revocation{Kind: KindSubject, Subject: "u", At: time.Unix(1, 0)}); err != nil {
			return err
		}
		var n int64
		_ = tx.QueryRow(ctx, "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT COUNT(*) FROM c").Scan(&n)
		_ = write(context.WithoutCancel(ctx), db) // nested: refused too
		_, _ = tx.Exec(context.WithoutCancel(ctx), "UPDATE revocation_head SET number = 99")
		return nil
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("endless statement: %v, want that the deadline is exceeded", err)
	}
	if n, err := db.LastRevocation(t.Context()); err != nil || n != 0 {
		t.Errorf("last = %d, %v, want 0", n, err)
	}
	if err := write(t.Context(), db); err != nil {
		t.Errorf("the next transaction: %v", err)
	}
}

func write(ctx context.Context, db *DB) error {
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.Revoke(ctx, Revocation{Kind: KindSubject, Subject: "u", At: time.Unix(1, 0)})
	})
}
