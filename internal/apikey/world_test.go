package apikey

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
)

// world is the keys of a zone over a real store, with a clock that the test
// moves and statements that are counted.
type world struct {
	t       testing.TB
	keys    *Keys
	db      *store.DB
	now     *stepClock
	count   *counts
	path    string // of the database
	offered []string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "zone.db")
	empty, err := emptyDatabase()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, empty, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := pgtest.OpenAt(t, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	root, err := keys.OpenRoot(filepath.Join(t.TempDir(), "root"), true)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, db: db, now: &stepClock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, count: &counts{}, path: path,
		offered: []string{"a.r", "b.w"},
	}
	if w.keys, err = New(Config{DB: db, Root: root, Clock: w.now.time, Offered: func() []string { return w.offered }}); err != nil {
		t.Fatal(err)
	}
	w.keys.patience = time.Minute // a crowded machine decides no test
	w.keys.db = countedDatabase{sqlDatabase{db}, w.count}
	return w
}

// emptyDatabase is a migrated database without rows: migrating one for every
// test would take most of the time.
var emptyDatabase = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "apikey")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "zone.db")
	db, err := store.OpenSQLite(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil { // the write-ahead log goes into the file
		return nil, err
	}
	return os.ReadFile(path)
})

// change runs a function in a transaction.
func (w *world) change(fn func(ctx context.Context, tx *store.Tx) error) {
	w.t.Helper()
	if err := w.db.Tx(w.t.Context(), fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	w.change(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, query, args...)
		return err
	})
}

// number returns the one number that a query answers with.
func (w *world) number(query string, args ...any) (n int) {
	w.t.Helper()
	err := w.db.View(w.t.Context(), func(ctx context.Context, t *store.Tx) error {
		return t.QueryRow(ctx, query, args...).Scan(&n)
	})
	if err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// user makes an account.
func (w *world) user(id string) string {
	w.t.Helper()
	w.exec(`INSERT INTO users (id, email, email_key, password, password_form, password_at, roles, created_at)
		VALUES (?, ?, ?, '', '', 0, '', 0)`, id, id+"@shop.example", id+"@shop.example")
	return id
}

func (w *world) createKey(n NewKey) (Key, string) {
	w.t.Helper()
	k, text, err := w.keys.Create(w.t.Context(), n)
	if err != nil {
		w.t.Fatalf("Create(%+v): %v", n, err)
	}
	return k, string(text)
}

func (w *world) createOwned(user, name string, scopes ...string) (Key, string) {
	w.t.Helper()
	k, text, err := w.keys.CreateOwned(w.t.Context(), nil, user, NewOwned{Name: name, Scopes: scopes})
	if err != nil {
		w.t.Fatalf("CreateOwned(%q, %q): %v", user, name, err)
	}
	return k, string(text)
}

func (w *world) resolve(text string) problem.Reason {
	_, _, err := w.keys.Resolve(w.t.Context(), text)
	return problem.ReasonOf(err)
}

// leaked returns which of the texts lie in the files of the database, or in the
// rows of any table.
func (w *world) leaked(texts ...string) []string {
	w.t.Helper()
	var all strings.Builder
	if pgtest.Wanted(w.t) {
		w.dump(&all)
	} else {
		files, _ := filepath.Glob(filepath.Join(filepath.Dir(w.path), "*"))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				w.t.Fatal(err)
			}
			all.Write(b)
		}
	}
	return slices.DeleteFunc(texts, func(s string) bool { return !strings.Contains(all.String(), s) })
}

// dump writes all that the server has of the keys' tables, bytes as they are.
func (w *world) dump(all *strings.Builder) {
	err := w.db.View(w.t.Context(), func(ctx context.Context, t *store.Tx) error {
		for table, columns := range map[string]string{
			"api_keys": "id, name", "api_key_secrets": "key_id, hash",
			"api_key_signing": "id, COALESCE(sealed, public)", "sealed": "name, sealed", "revocations": "subject, credential",
		} {
			rows, err := t.Query(ctx, "SELECT "+columns+" FROM "+table)
			if err != nil {
				return err
			}
			for rows.Next() {
				var a, b []byte
				if err := rows.Scan(&a, &b); err != nil {
					return err
				}
				fmt.Fprintf(all, "%s %s\n", a, b)
			}
			if err := rows.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// wantReason fails unless err has the reason.
func wantReason(t testing.TB, what string, err error, want problem.Reason) {
	t.Helper()
	if got := problem.ReasonOf(err); got != want {
		t.Errorf("%s: reason %v (%v), want %v", what, got, err, want)
	}
}

// stepClock is a clock that moves when it is told to.
type stepClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *stepClock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *stepClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// counts is what a request asked of the store.
type counts struct {
	mu         sync.Mutex
	statements []string
}

func (c *counts) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statements = nil
}

func (c *counts) statement(query string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statements = append(c.statements, query)
}

// countedDatabase counts every transaction and statement.
type countedDatabase struct {
	database
	count *counts
}

func (d countedDatabase) change(ctx context.Context, fn func(context.Context, tx) error) error {
	d.count.statement("BEGIN")
	return d.database.change(ctx, func(ctx context.Context, t tx) error { return fn(ctx, countedTx{t, d.count}) })
}

func (d countedDatabase) view(ctx context.Context, fn func(context.Context, tx) error) error {
	d.count.statement("VIEW")
	return d.database.view(ctx, func(ctx context.Context, t tx) error { return fn(ctx, countedTx{t, d.count}) })
}

type countedTx struct {
	tx
	count *counts
}

func (t countedTx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	t.count.statement(query)
	return t.tx.Exec(ctx, query, args...)
}

func (t countedTx) Query(ctx context.Context, query string, args ...any) (*store.Rows, error) {
	t.count.statement(query)
	return t.tx.Query(ctx, query, args...)
}

func (t countedTx) QueryRow(ctx context.Context, query string, args ...any) *store.Row {
	t.count.statement(query)
	return t.tx.QueryRow(ctx, query, args...)
}
