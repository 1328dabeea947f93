package keys

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sallyport.dev/internal/store"
)

// checkValue is the name of the value by which a root is known to fit.
const checkValue = "check"

// Sealed says whether the database holds anything sealed under a root key. A
// new root may be made only while it does not.
func Sealed(ctx context.Context, db *store.DB) (bool, error) {
	sealed := false
	err := db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		var n int
		err := tx.QueryRow(ctx, `SELECT 1 FROM sealed LIMIT 1`).Scan(&n)
		if errors.Is(err, store.ErrNotFound) {
			err = tx.QueryRow(ctx, `SELECT 1 FROM signing_keys LIMIT 1`).Scan(&n)
		}
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		sealed = err == nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("keys: look for sealed values: %w", err)
	}
	return sealed, nil
}

// Check proves that the root fits the database, before anything else is asked
// of the two: ErrWrongRoot when it does not. It marks a database that has no
// mark yet.
func (r *Root) Check(ctx context.Context, db *store.DB) error {
	return db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, _, err := r.Get(ctx, tx, checkValue)
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return r.Put(ctx, tx, checkValue, 1, []byte("fits"))
	})
}

// Put seals a value under its name and version, which must be new
// (store.ErrConflict else): what is sealed is replaced by a higher version,
// never changed.
func (r *Root) Put(ctx context.Context, tx *store.Tx, name string, version int64, plaintext []byte) error {
	place, err := sealedPlace(name, version)
	if err != nil {
		return err
	}
	sealed, err := r.Seal(place, plaintext)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO sealed (name, version, sealed) VALUES (?, ?, ?)`, name, version, sealed); err != nil {
		return fmt.Errorf("keys: put %s: %w", place, err)
	}
	return nil
}

// Get opens the highest version of a name; store.ErrNotFound when there is none.
func (r *Root) Get(ctx context.Context, tx *store.Tx, name string) (plaintext []byte, version int64, err error) {
	var sealed []byte
	err = tx.QueryRow(ctx, `SELECT version, sealed FROM sealed WHERE name = ? ORDER BY version DESC LIMIT 1`, name).Scan(&version, &sealed)
	if err != nil {
		return nil, 0, fmt.Errorf("keys: get %s: %w", name, err)
	}
	place, err := sealedPlace(name, version)
	if err != nil {
		return nil, 0, err
	}
	plaintext, err = r.Open(place, sealed)
	return plaintext, version, err
}

// Drop destroys the versions of a name below one.
func (r *Root) Drop(ctx context.Context, tx *store.Tx, name string, below int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM sealed WHERE name = ? AND version < ?`, name, below); err != nil {
		return fmt.Errorf("keys: drop %s: %w", name, err)
	}
	return nil
}

// Secret returns the random secret of that name and size in bytes, made at the
// first call for it and the same ever after.
func (r *Root) Secret(ctx context.Context, db *store.DB, name string, size int) ([]byte, error) {
	if size < 16 || size > 1024 {
		return nil, fmt.Errorf("keys: secret %s: a secret has 16 to 1024 bytes, not %d", name, size)
	}
	name = "secret." + name
	var secret []byte
	err := db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		secret, _, err = r.Get(ctx, tx, name)
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		secret = make([]byte, size)
		_, _ = rand.Read(secret) // crypto/rand.Read never fails (Go 1.24)
		return r.Put(ctx, tx, name, 1, secret)
	})
	if err != nil {
		return nil, err
	}
	if len(secret) != size {
		return nil, fmt.Errorf("keys: %s has %d bytes, %d were asked for: two uses of one name", name, len(secret), size)
	}
	return secret, nil
}

// sealedPlace is what a row of the table sealed is bound to. A name holds no
// slash, so that no two rows have one place.
func sealedPlace(name string, version int64) (string, error) {
	if strings.ContainsRune(name, '/') {
		return "", fmt.Errorf("keys: name %q holds a slash", name)
	}
	return "sealed/" + name + "/" + strconv.FormatInt(version, 10), nil
}
