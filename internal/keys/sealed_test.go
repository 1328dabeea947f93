package keys

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
)

// newDB opens a database in a data folder of its own.
func newDB(t *testing.T) (_ *store.DB, dir string) {
	t.Helper()
	empty, err := emptyDatabase()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "store.db"), empty, 0o600); err != nil {
		t.Fatal(err)
	}
	return openDB(t, dir), dir
}

// emptyDatabase is a migrated database without rows: to migrate one for every
// test would take most of the time.
var emptyDatabase = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "store.db")
	db, err := store.OpenSQLite(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil { // the write-ahead log goes into the file
		return nil, err
	}
	return os.ReadFile(path)
})

func openDB(t *testing.T, dir string) *store.DB {
	t.Helper()
	db, err := pgtest.OpenAt(t, filepath.Join(dir, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// write runs a statement, as somebody with the database in hand could.
func write(t *testing.T, db *store.DB, query string, args ...any) {
	t.Helper()
	err := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Exec(ctx, query, args...)
		if err == nil && n == 0 {
			return errors.New("no row was changed")
		}
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func put(t *testing.T, db *store.DB, r *Root, name string, version int64, plain string) error {
	t.Helper()
	return db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return r.Put(ctx, tx, name, version, []byte(plain))
	})
}

func get(t *testing.T, db *store.DB, r *Root, name string) (plain string, version int64, err error) {
	t.Helper()
	err = db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		b, v, err := r.Get(ctx, tx, name)
		plain, version = string(b), v
		return err
	})
	return plain, version, err
}

func TestPutGetDrop(t *testing.T) {
	db, _ := newDB(t)
	r := newRoot(t)
	if _, _, err := get(t, db, r, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of nothing: %v, want %v", err, store.ErrNotFound)
	}
	for version, plain := range map[int64]string{1: "one", 2: "two", 10: "ten"} {
		if err := put(t, db, r, "a", version, plain); err != nil {
			t.Fatal(err)
		}
	}
	if plain, version, err := get(t, db, r, "a"); err != nil || plain != "ten" || version != 10 {
		t.Errorf("Get: %q version %d, %v, want the highest", plain, version, err)
	}
	if err := put(t, db, r, "a", 2, "other"); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Put of a version that is there: %v, want %v", err, store.ErrConflict)
	}
	if err := put(t, db, r, "a/1", 1, "x"); err == nil {
		t.Error("Put under a name with a slash: no error")
	}
	if err := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return r.Drop(ctx, tx, "a", 10) }); err != nil {
		t.Fatal(err)
	}
	if plain, version, err := get(t, db, r, "a"); err != nil || plain != "ten" || version != 10 {
		t.Errorf("Get after Drop of the lower: %q version %d, %v", plain, version, err)
	}
}

// A sealed value opens in its own row only.
func TestMovedValueDoesNotOpen(t *testing.T) {
	for _, c := range []struct {
		name, move string
		args       []any
	}{
		{"to another name", `UPDATE sealed SET name = ? WHERE name = 'a'`, []any{"c"}},
		{"to another version", `UPDATE sealed SET version = ? WHERE name = 'a'`, []any{7}},
		{"exchanged with another", `UPDATE sealed SET sealed = (SELECT s.sealed FROM sealed AS s WHERE s.name = ?) WHERE name = 'a'`, []any{"b"}},
	} {
		db, _ := newDB(t)
		r := newRoot(t)
		for _, name := range []string{"a", "b"} {
			if err := put(t, db, r, name, 1, "of "+name); err != nil {
				t.Fatal(err)
			}
		}
		if plain, _, err := get(t, db, r, "a"); err != nil || plain != "of a" { // the control
			t.Fatalf("before: %q, %v", plain, err)
		}
		write(t, db, c.move, c.args...)
		name := "a"
		if c.name == "to another name" {
			name = "c"
		}
		if plain, _, err := get(t, db, r, name); !errors.Is(err, ErrAltered) {
			t.Errorf("%s: %q, %v, want %v", c.name, plain, err, ErrAltered)
		}
	}
}

func TestCheckFindsTheWrongRoot(t *testing.T) {
	db, _ := newDB(t)
	if sealed, err := Sealed(t.Context(), db); err != nil || sealed {
		t.Errorf("Sealed of a new database: %v, %v, want false", sealed, err)
	}
	right, wrong := newRoot(t), newRoot(t)
	for range 2 {
		if err := right.Check(t.Context(), db); err != nil {
			t.Fatalf("Check: %v", err)
		}
	}
	if sealed, err := Sealed(t.Context(), db); err != nil || !sealed {
		t.Errorf("Sealed: %v, %v, want true", sealed, err)
	}
	if _, err := right.Secret(t.Context(), db, "mac", 32); err != nil {
		t.Fatal(err)
	}
	if _, err := NewRing(t.Context(), db, right, RingConfig{Name: "txn-token"}); err != nil {
		t.Fatal(err)
	}

	// Nothing that the wrong root is asked for succeeds, and nothing is lost by asking.
	before := dump(t, db)
	if err := wrong.Check(t.Context(), db); !errors.Is(err, ErrWrongRoot) {
		t.Errorf("Check: %v, want %v", err, ErrWrongRoot)
	}
	if _, err := wrong.Secret(t.Context(), db, "mac", 32); !errors.Is(err, ErrWrongRoot) {
		t.Errorf("Secret: %v, want %v", err, ErrWrongRoot)
	}
	if _, err := NewRing(t.Context(), db, wrong, RingConfig{Name: "txn-token"}); !errors.Is(err, ErrWrongRoot) {
		t.Errorf("NewRing: %v, want %v", err, ErrWrongRoot)
	}
	if after := dump(t, db); after != before {
		t.Errorf("the database changed under the wrong root\nbefore %s\nafter  %s", before, after)
	}
	if err := right.Check(t.Context(), db); err != nil {
		t.Errorf("the right root after all that: %v", err)
	}
}

// dump writes both tables as text.
func dump(t *testing.T, db *store.DB) string {
	t.Helper()
	var all []byte
	err := db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for _, query := range []string{
			`SELECT name || ' ' || version, sealed FROM sealed ORDER BY name, version`,
			`SELECT id || ' ' || state || ' ' || published_at || ' ' || active_at, sealed FROM signing_keys ORDER BY id`,
		} {
			rows, err := tx.Query(ctx, query)
			if err != nil {
				return err
			}
			for rows.Next() {
				var line string
				var sealed []byte
				if err := rows.Scan(&line, &sealed); err != nil {
					return err
				}
				all = fmt.Appendf(all, "%s %x\n", line, sealed)
			}
			if err := rows.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("dump of %d bytes: %v", len(all), err)
	}
	return string(all)
}

func TestSecret(t *testing.T) {
	db, _ := newDB(t)
	r := newRoot(t)
	one, err := r.Secret(t.Context(), db, "mac", 32)
	if err != nil || len(one) != 32 || bytes.Equal(one, make([]byte, 32)) {
		t.Fatalf("Secret: %x, %v", one, err)
	}
	if again, err := r.Secret(t.Context(), db, "mac", 32); err != nil || !bytes.Equal(again, one) {
		t.Errorf("second call: %x, %v, want the same", again, err)
	}
	if other, err := r.Secret(t.Context(), db, "other", 32); err != nil || bytes.Equal(other, one) {
		t.Errorf("another name: %x, %v, want another secret", other, err)
	}
	for _, c := range []struct {
		name string
		size int
	}{{"mac", 64}, {"short", 15}, {"long", 1025}, {"a b", 32}, {"a/b", 32}} {
		if got, err := r.Secret(t.Context(), db, c.name, c.size); err == nil {
			t.Errorf("Secret %q of %d bytes: %x, want an error", c.name, c.size, got)
		}
	}
}

// unsealed is the test's switch: it seals nothing.
type unsealed struct{}

func (unsealed) Encrypt(plain, _ []byte) ([]byte, error)  { return bytes.Clone(plain), nil }
func (unsealed) Decrypt(sealed, _ []byte) ([]byte, error) { return bytes.Clone(sealed), nil }

// No private key and no secret is in the data folder, in any form; the same
// search finds all of them when sealing is switched off.
func TestNothingIsInClearInTheDataFolder(t *testing.T) {
	for _, sealing := range []bool{true, false} {
		db, dir := newDB(t)
		r := newRoot(t)
		if !sealing {
			r.aead = unsealed{}
		}
		ring, err := NewRing(t.Context(), db, r, RingConfig{Name: "txn-token"})
		if err != nil {
			t.Fatal(err)
		}
		key, err := ring.SigningKey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		private, err := key.Signer.(*ecdsa.PrivateKey).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		secret, err := r.Secret(t.Context(), db, "mac", 32)
		if err != nil {
			t.Fatal(err)
		}
		if err := put(t, db, r, "planted", 1, "planted value 7c1d"); err != nil {
			t.Fatal(err)
		}
		for name, plain := range map[string][]byte{"signing key": private, "secret": secret, "value": []byte("planted value 7c1d")} {
			if got := found(t, dir, plain); got == sealing {
				t.Errorf("%s in the data folder: %v with sealing %v", name, got, sealing)
			}
		}
		// What is public is found either way: the search itself works.
		if !found(t, dir, []byte(key.ID)) {
			t.Errorf("kid not found (sealing %v)", sealing)
		}
	}
}

// forms are the spellings in which a secret could stand in a file.
func forms(secret []byte) [][]byte {
	return [][]byte{
		secret,
		[]byte(hex.EncodeToString(secret)),
		[]byte(base64.RawStdEncoding.EncodeToString(secret)),
		[]byte(base64.RawURLEncoding.EncodeToString(secret)),
	}
}

// found says whether any file below dir holds the secret.
func found(t *testing.T, dir string, secret []byte) bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	hit := false
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range forms(secret) {
			hit = hit || bytes.Contains(content, form)
		}
	}
	return hit
}
