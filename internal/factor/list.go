package factor

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// newID returns a public id of at least 128 random bits.
func newID() string { return strings.ToLower(rand.Text()) }

const factorColumns = "id, kind, name, rp_id, backed_up, created_at, used_at"

type scanner interface{ Scan(dest ...any) error }

func (f *Factors) scanFactor(row scanner, more ...any) (Factor, error) {
	var fac Factor
	var kind, rpID string
	var created, used int64
	err := row.Scan(append([]any{&fac.ID, &kind, &fac.Name, &rpID, &fac.Synced, &created, &used}, more...)...)
	fac.Kind = Kind(kind)
	fac.Stale = fac.Kind == Passkey && rpID != f.rpID
	fac.Created, fac.LastUsed = store.FromMicros(created), store.FromMicros(used)
	return fac, err
}

// List returns the factors of a user, oldest first. Reasons: auth.unavailable.
func (f *Factors) List(ctx context.Context, user string) (list []Factor, err error) {
	err = f.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		list, err = f.ListTx(ctx, tx, user)
		return err
	})
	return list, answer(ctx, err)
}

// ListTx is List within a transaction of the caller. Errors are the store's.
func (f *Factors) ListTx(ctx context.Context, tx *store.Tx, user string) ([]Factor, error) {
	rows, err := tx.Query(ctx, "SELECT "+factorColumns+" FROM factors WHERE user_id = ? ORDER BY created_at, id", user)
	if err != nil {
		return nil, err
	}
	list := []Factor{}
	for rows.Next() {
		fac, err := f.scanFactor(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, fac)
	}
	return list, rows.Err()
}

// Held is what a user holds, as counts.
type Held struct {
	Passkeys int // stale ones among them
	TOTP     int // authenticator apps
	Codes    int // recovery codes that are left
}

// Any says whether the user holds a second factor. Recovery codes stand in for
// one, they are none.
func (h Held) Any() bool { return h.Passkeys > 0 || h.TOTP > 0 }

// Has returns what a user holds. Reasons: auth.unavailable.
func (f *Factors) Has(ctx context.Context, user string) (held Held, err error) {
	err = f.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		held, err = f.HasTx(ctx, tx, user)
		return err
	})
	return held, answer(ctx, err)
}

// HasTx is Has within a transaction of the caller: one statement, whatever the
// user holds. Errors are the store's.
func (f *Factors) HasTx(ctx context.Context, tx *store.Tx, user string) (held Held, err error) {
	err = tx.QueryRow(ctx, `SELECT
		(SELECT COUNT(*) FROM factors WHERE user_id = ? AND kind = 'passkey'),
		(SELECT COUNT(*) FROM factors WHERE user_id = ? AND kind = 'totp'),
		(SELECT COUNT(*) FROM recovery_codes WHERE user_id = ? AND used_at = 0)`,
		user, user, user).Scan(&held.Passkeys, &held.TOTP, &held.Codes)
	return held, err
}

// Rename gives a factor of the user another name. Reasons: account.invalid
// (name), account.unknown.
func (f *Factors) Rename(ctx context.Context, tx *store.Tx, user, id, name string) error {
	name, err := checkName(name)
	if err != nil {
		return err
	}
	n, err := tx.Exec(ctx, "UPDATE factors SET name = ? WHERE id = ? AND user_id = ?", name, id, user)
	if err == nil && n == 0 {
		return problem.New(problem.AccountUnknown, nil)
	}
	return err
}

// Remove ends a factor of the user and returns what it was. With the last one
// the recovery codes end too: old paper must not open the account once there is a
// new factor. Reasons: account.unknown.
func (f *Factors) Remove(ctx context.Context, tx *store.Tx, user, id string) (Factor, error) {
	fac, err := f.scanFactor(tx.QueryRow(ctx, "SELECT "+factorColumns+" FROM factors WHERE id = ? AND user_id = ?", id, user))
	if errors.Is(err, store.ErrNotFound) {
		return Factor{}, problem.New(problem.AccountUnknown, nil)
	}
	if err != nil {
		return Factor{}, err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM factors WHERE id = ? AND user_id = ?", id, user); err != nil {
		return Factor{}, err
	}
	held, err := f.HasTx(ctx, tx, user)
	if err == nil && !held.Any() {
		_, err = tx.Exec(ctx, "DELETE FROM recovery_codes WHERE user_id = ?", user)
	}
	return fac, err
}

// RemoveAll forgets all that is kept of a user, by what name authenticators know
// it included, and says how many factors that ended.
func (f *Factors) RemoveAll(ctx context.Context, tx *store.Tx, user string) (int, error) {
	n, err := tx.Exec(ctx, "DELETE FROM factors WHERE user_id = ?", user)
	if err != nil {
		return 0, err
	}
	for _, statement := range []string{
		"DELETE FROM recovery_codes WHERE user_id = ?",
		"DELETE FROM factor_handles WHERE user_id = ?",
	} {
		if _, err := tx.Exec(ctx, statement, user); err != nil {
			return 0, err
		}
	}
	return int(n), nil
}

// checkName returns a name without the spaces around it.
func checkName(name string) (string, error) {
	name = strings.TrimSpace(name)
	n := 0
	for _, r := range name {
		if n++; !unicode.IsPrint(r) || r == utf8.RuneError {
			return "", invalid("name: want printable characters")
		}
	}
	if n == 0 || n > maxName {
		return "", invalid("name: want 1 to 64 characters")
	}
	return name, nil
}

// room refuses one more factor of a kind than a user may have.
func (f *Factors) room(ctx context.Context, tx *store.Tx, user string, kind Kind) error {
	held, err := f.HasTx(ctx, tx, user)
	switch {
	case err != nil:
		return err
	case kind == Passkey && held.Passkeys >= maxPasskeys:
		return invalid("a user has at most 20 passkeys; remove one first")
	case kind == TOTP && held.TOTP >= maxTOTP:
		return invalid("a user has at most 3 authenticator apps; remove one first")
	}
	return nil
}
