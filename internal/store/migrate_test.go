package store_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
)

// engines are those that migrations are for.
var engines = []struct {
	name  string
	place func(*testing.T) string
	open  func(context.Context, string, fs.FS) (*store.DB, error)
}{
	{"sqlite", func(t *testing.T) string { return filepath.Join(t.TempDir(), "store.db") }, store.OpenSQLiteFiles},
	{"postgres", func(t *testing.T) string { return pgtest.Shared(t).Empty(t) }, func(ctx context.Context, place string, files fs.FS) (*store.DB, error) {
		return store.OpenPostgresFiles(ctx, place, store.PostgresOptions{}, files)
	}},
}

// files makes a set of migrations, the first of which is number 1.
func files(scripts ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i, s := range scripts {
		m["0000"+string(rune('1'+i))+"_a.sql"] = &fstest.MapFile{Data: []byte(s)}
	}
	return m
}

const (
	accounts = "CREATE TABLE accounts (\n    id INTEGER NOT NULL PRIMARY KEY,\n    name TEXT NOT NULL\n) STRICT;\n"
	// What programs of version 1 do not notice.
	expand = "-- oldest: 1\nALTER TABLE accounts ADD COLUMN mail TEXT NOT NULL DEFAULT '';\nCREATE TABLE mails (\n    id INTEGER NOT NULL\n) STRICT;\n"
	// What they would fall over.
	contract = "ALTER TABLE accounts DROP COLUMN name;\n"
)

// old and young are programs: the statements of version 1 and of version 2.
func old(ctx context.Context, tx *store.Tx, id int64) error {
	if _, err := tx.Exec(ctx, "INSERT INTO accounts (id, name) VALUES (?, ?)", id, "old"); err != nil {
		return err
	}
	var name string
	return tx.QueryRow(ctx, "SELECT name FROM accounts WHERE id = ?", id).Scan(&name)
}

func young(ctx context.Context, tx *store.Tx, id int64) error {
	if _, err := tx.Exec(ctx, "INSERT INTO accounts (id, name, mail) VALUES (?, ?, ?)", id, "young", "a@b"); err != nil {
		return err
	}
	var mail string
	return tx.QueryRow(ctx, "SELECT mail FROM accounts WHERE id = ?", id).Scan(&mail)
}

// A rolling upgrade: the program before a migration runs on while it is made
// and starts again after it, when the migration says so; and not when it does not.
func TestOldProgramsAndNewSchemas(t *testing.T) {
	v1, v2, v3 := files(accounts), files(accounts, expand), files(accounts, expand, contract)
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			place := e.place(t)
			id := int64(0)
			run := func(name string, db *store.DB, program func(context.Context, *store.Tx, int64) error) {
				t.Helper()
				id++
				if err := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return program(ctx, tx, id) }); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			start := func(set fs.FS, want error) *store.DB {
				t.Helper()
				db, err := e.open(t.Context(), place, set)
				if !errors.Is(err, want) {
					t.Fatalf("open: %v, want %v", err, want)
				}
				if err == nil {
					t.Cleanup(func() { _ = db.Close() })
				}
				return db
			}
			one := start(v1, nil)
			run("the old program at first", one, old)
			two := start(v2, nil)
			run("the new one", two, young)
			run("the old one, still running", one, old)
			run("the old one, started again", start(v1, nil), old)
			run("the new one, started again", start(v2, nil), young)

			three := start(v3, nil) // for nobody but itself
			start(v1, store.ErrNewer)
			start(v2, store.ErrNewer)
			start(v3, nil)
			if err := three.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
				var n int64
				err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM accounts").Scan(&n)
				if n != id {
					t.Errorf("%d accounts after all, want %d", n, id)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// Of programs that start at once one migrates, and all run.
func TestMigrationsAtOnce(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			place := e.place(t)
			set := files(accounts, expand, "-- oldest: 1\nINSERT INTO accounts (id, name) VALUES (1, 'once');\n")
			if e.name == "sqlite" { // one process: only the file is made by one alone
				db, err := e.open(t.Context(), place, fstest.MapFS{})
				if err != nil {
					t.Fatal(err)
				}
				_ = db.Close()
			}
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					db, err := e.open(t.Context(), place, set)
					if err != nil {
						t.Error(err)
						return
					}
					if err := db.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		})
	}
}

// An older program that waits for its turn while a newer one migrates is refused
// as one that comes later is.
func TestNewerProgramIsFirst(t *testing.T) {
	place := pgtest.Shared(t).Empty(t)
	open := func(set fs.FS) (*store.DB, error) {
		return store.OpenPostgresFiles(t.Context(), place, store.PostgresOptions{}, set)
	}
	newer, err := open(fstest.MapFS{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = newer.Close() }()
	for _, c := range []struct {
		name   string
		oldest int
		want   error
	}{
		{"not for older ones", 2, store.ErrNewer},
		{"for older ones", 1, nil},
	} {
		opened := make(chan error, 1)
		if err := newer.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			go func() {
				db, err := open(files("CREATE TABLE never (x INTEGER) STRICT;"))
				if err == nil {
					_ = db.Close()
				}
				opened <- err
			}()
			for waits := 0; waits == 0; {
				if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").Scan(&waits); err != nil {
					return err
				}
			}
			for _, s := range []string{
				"CREATE TABLE schema_version (version_id BIGINT NOT NULL, is_applied BIGINT NOT NULL)", "INSERT INTO schema_version (version_id, is_applied) VALUES (2, 1)",
				"CREATE TABLE schema_oldest (version BIGINT NOT NULL)", fmt.Sprintf("INSERT INTO schema_oldest (version) VALUES (%d)", c.oldest),
			} {
				if _, err := tx.Exec(ctx, s); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := <-opened; !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err := newer.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, "DROP TABLE schema_version, schema_oldest")
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// A migration that fails leaves nothing of itself, and is named.
func TestFailedMigration(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			place := e.place(t)
			broken := files(accounts, "CREATE TABLE b (\n    x INTEGER\n) STRICT;\nINSERT INTO absent (x) VALUES (1);")
			if _, err := e.open(t.Context(), place, broken); err == nil || !strings.Contains(err.Error(), "version:2") {
				t.Errorf("failing migration: %v, want an error with its number", err)
			}
			db, err := e.open(t.Context(), place, files(accounts, "CREATE TABLE b (\n    x INTEGER\n) STRICT;\n"))
			if err != nil {
				t.Fatalf("mended: %v", err)
			}
			_ = db.Close()
		})
	}
}

func TestMigrationFilesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		set  fs.FS
		want string
	}{
		{"good", files(accounts), ""},
		{"an older program", files(accounts, expand), ""},
		{"a name without a number", fstest.MapFS{"a.sql": {}}, "want a name like"},
		{"number 0", fstest.MapFS{"00000_a.sql": {}}, "is none"},
		{"a program to come", files("-- oldest: 2\n"), "is none"},
		{"a program without number", files("-- oldest: 0\n"), "is none"},
		{"a number twice", fstest.MapFS{"00001_a.sql": {}, "00001_b.sql": {}}, "two migrations"},
	} {
		db, err := store.OpenSQLiteFiles(t.Context(), filepath.Join(t.TempDir(), "store.db"), c.set)
		if err == nil {
			err = db.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// A database whose table of versions was made by the library that the first
// programs used is taken as it is.
func TestFirstDatabasesAreTaken(t *testing.T) {
	place := filepath.Join(t.TempDir(), "store.db")
	const library = `CREATE TABLE schema_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')));
		INSERT INTO schema_version (version_id, is_applied) VALUES (0, 1);` + accounts + `INSERT INTO schema_version (version_id, is_applied) VALUES (1, 1);`
	db, err := store.OpenSQLiteFiles(t.Context(), place, fstest.MapFS{})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { _, err := tx.Exec(ctx, library); return err }); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	if _, err := store.OpenSQLiteFiles(t.Context(), place, fstest.MapFS{}); !errors.Is(err, store.ErrNewer) {
		t.Errorf("a program that knows no migration: %v, want ErrNewer", err)
	}
	if db, err = store.OpenSQLiteFiles(t.Context(), place, files(accounts, expand)); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return young(ctx, tx, 1) }); err != nil {
		t.Error(err)
	}
}
