package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// busyTimeout is how long a transaction waits for another process (a backup, a
// person with the sqlite3 shell) before it is told ErrUnavailable. Within the
// process write transactions queue for the one writer and wait as long as their
// context lets them.
const busyTimeout = 5 * time.Second

// OpenSQLite opens the database file at path, makes it (0600) when it is not
// there, and migrates it. The folder must exist.
func OpenSQLite(ctx context.Context, path string) (*DB, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("store: read migrations: %w", err)
	}
	return openSQLite(ctx, path, busyTimeout, files)
}

func openSQLite(ctx context.Context, path string, busy time.Duration, files fs.FS) (_ *DB, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := private(path); err != nil {
		return nil, err
	}
	var e sqlEngine
	e.writer = sql.OpenDB(preparing{&sqlite.Driver{}, sqliteDSN(path, busy, false), "BEGIN IMMEDIATE"})
	e.readers = sql.OpenDB(preparing{&sqlite.Driver{}, sqliteDSN(path, busy, true), "BEGIN"})
	db := &DB{engine: &e, dialect: dialect{
		kind:     sqliteKind,
		alone:    true,
		hasTable: "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?",
	}}
	defer func() {
		if err != nil {
			_ = db.Close()
		}
	}()
	// A write transaction has the lock from its start (IMMEDIATE): it cannot fail half
	// way for want of it. SQLite has one writer at a time: queueing for it here is fair and ends
	// with the context, queueing at its lock is neither.
	pools(e.writer, 1)
	pools(e.readers, max(4, 2*runtime.GOMAXPROCS(0)))

	if err := settled(ctx, e.writer); err != nil {
		return nil, db.wrap("open "+path, err)
	}
	if err := db.migrate(ctx, files); err != nil {
		return nil, fmt.Errorf("%w (%s)", err, path)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("store: open %s: %w", path, err)
	}
	return db, nil
}

func pools(pool *sql.DB, n int) {
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n) // a new connection costs far more than an idle one
}

// sqliteDSN names the file and the settings of each connection.
func sqliteDSN(path string, busy time.Duration, reader bool) string {
	q := url.Values{
		"_busy_timeout": {strconv.FormatInt(busy.Milliseconds(), 10)},
		"_journal_mode": {"WAL"},  // readers and the writer do not wait for each other
		"_synchronous":  {"FULL"}, // a commit is on disk when it returns (WAL alone could lose the last ones with the power)
		"_foreign_keys": {"on"},   // SQLite's default is off
		"_dqs":          {"0"},    // a misspelt "column" is an error, not a string
		"_defensive":    {"1"},    // no statement can damage the file
		"_pragma": {
			"trusted_schema(0)",            // a tampered schema cannot call functions
			"cell_size_check(1)",           // damage is noticed when it is read
			"secure_delete(1)",             // what is deleted is overwritten
			"journal_size_limit(67108864)", // bytes: a burst does not leave a large WAL behind
		},
	}
	if reader {
		q.Set("_query_only", "1")
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// settled checks what the engine may refuse without an error: some file
// systems cannot hold a WAL, and SQLite then goes on without it.
func settled(ctx context.Context, writer *sql.DB) error {
	for _, c := range []struct{ pragma, want string }{
		{"journal_mode", "wal"}, {"synchronous", "2"}, {"foreign_keys", "1"},
	} {
		var got string
		if err := writer.QueryRowContext(ctx, "PRAGMA "+c.pragma).Scan(&got); err != nil {
			return err
		}
		if got != c.want {
			return fmt.Errorf("the file system does not carry it: %s is %q, want %q", c.pragma, got, c.want)
		}
	}
	return nil
}

// private makes the file when it is not there, readable by its owner only, and
// refuses one that others may read: closing it afterwards would not undo what
// they have read. An existing file is not opened here: closing it again would
// drop the locks that SQLite holds on it in this process.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- the operator's data folder
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("store: %w", err)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("store: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("store: %s is not a file", path)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("store: %s is open to other users (mode %04o); make it 0600", path, info.Mode().Perm())
	}
	return nil
}

// syncDir makes the names of new files durable.
func syncDir(dir string) error {
	f, err := os.Open(dir) // #nosec G304 -- the operator's data folder
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// sqliteKind sorts SQLite's result codes (sqlite.org/rescode.html).
func sqliteKind(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return nil
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return ErrConflict
	}
	switch e.Code() & 0xff { // the primary code
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, // somebody else has it
		sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, // the machine
		sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB: // the file
		return ErrUnavailable
	}
	return nil
}
