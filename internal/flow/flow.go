package flow

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// The bounds of a flow.
const (
	maxData = 16 << 10            // bytes of its data, as JSON
	maxLife = 30 * 24 * time.Hour // an invitation
	idBytes = 32                  // of its id
	idText  = 43                  // characters of that in base64url
)

// Flows are the flows of a zone. It is safe for concurrent use.
type Flows struct {
	db    *store.DB
	root  *keys.Root
	clock func() time.Time
}

// New returns the flows kept in db, sealed under root.
func New(db *store.DB, root *keys.Root, clock func() time.Time) *Flows {
	return &Flows{db: db, root: root, clock: clock}
}

// Record is a flow.
type Record struct {
	Kind    string
	User    string    // empty: nobody yet
	Browser string    // what the browser's cookie holds; empty: bound to none
	Tries   int       // wrong answers before it ends; 0: 1
	Expires time.Time // at most 30 days ahead
}

// Begin keeps a flow with its data, which is written as JSON, and returns its id,
// the only time it is told.
func (f *Flows) Begin(ctx context.Context, tx *store.Tx, r Record, data any) (id string, err error) {
	now := f.clock()
	if r.Kind == "" || !r.Expires.After(now) || r.Expires.Sub(now) > maxLife {
		return "", fmt.Errorf("flow: a flow needs a kind and an end within %v", maxLife)
	}
	secret := make([]byte, idBytes)
	_, _ = rand.Read(secret) // crypto/rand.Read never fails (Go 1.24)
	id = base64.RawURLEncoding.EncodeToString(secret)
	hash := sha256.Sum256([]byte(id))
	sealed, err := f.seal(hash, data)
	if err != nil {
		return "", err
	}
	_, err = tx.Exec(ctx, `INSERT INTO flows (hash, kind, user_id, browser, data, tries, created_at, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		hash[:], r.Kind, r.User, bound(r.Browser), sealed, max(1, r.Tries), store.Micros(now), store.Micros(r.Expires))
	return id, err
}

// Get reads a live flow of a kind into data. Reason: account.flow.
func (f *Flows) Get(ctx context.Context, tx *store.Tx, kind, id, browser string, data any) (Record, error) {
	return f.read(ctx, tx, "SELECT user_id, browser, data, tries, expires_at FROM flows WHERE hash = ? AND kind = ? AND tries > 0 AND expires_at > ?",
		kind, id, browser, data)
}

// Take ends a live flow and reads it into data: of any number of callers at once
// one is told it. Reason: account.flow. The caller's transaction must be rolled
// back on an error, or a flow that another browser asked for is gone.
func (f *Flows) Take(ctx context.Context, tx *store.Tx, kind, id, browser string, data any) (Record, error) {
	return f.read(ctx, tx, "DELETE FROM flows WHERE hash = ? AND kind = ? AND expires_at > ? RETURNING user_id, browser, data, tries, expires_at",
		kind, id, browser, data)
}

func (f *Flows) read(ctx context.Context, tx *store.Tx, query, kind, id, browser string, data any) (Record, error) {
	if len(id) != idText {
		return Record{}, ended(nil)
	}
	hash := sha256.Sum256([]byte(id))
	r := Record{Kind: kind, Browser: browser}
	var binding, sealed []byte
	var expires int64
	err := tx.QueryRow(ctx, query, hash[:], kind, store.Micros(f.clock())).Scan(&r.User, &binding, &sealed, &r.Tries, &expires)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Record{}, ended(nil)
	case err != nil:
		return Record{}, err
	case len(binding) > 0 && subtle.ConstantTimeCompare(binding, bound(browser)) != 1:
		return Record{}, ended(errors.New("flow: of another browser"))
	}
	r.Expires = store.FromMicros(expires)
	plain, err := f.root.Open(place(hash), sealed)
	if err != nil {
		return Record{}, fmt.Errorf("flow: %w", err)
	}
	if data != nil {
		if err := json.Unmarshal(plain, data); err != nil {
			return Record{}, fmt.Errorf("flow: %w", err)
		}
	}
	return r, nil
}

// Update replaces the data of a live flow. Reason: account.flow.
func (f *Flows) Update(ctx context.Context, tx *store.Tx, kind, id string, data any) error {
	hash := sha256.Sum256([]byte(id))
	sealed, err := f.seal(hash, data)
	if err != nil {
		return err
	}
	n, err := tx.Exec(ctx, "UPDATE flows SET data = ? WHERE hash = ? AND kind = ? AND expires_at > ?",
		sealed, hash[:], kind, store.Micros(f.clock()))
	if err == nil && n == 0 {
		err = ended(nil)
	}
	return err
}

// Try takes one of the tries that are left, before an answer is looked at, so
// that answers sent at once are all counted; the flow ends with its last.
// Reason: account.flow when there was none.
func (f *Flows) Try(ctx context.Context, tx *store.Tx, kind, id string) (left int, err error) {
	hash := sha256.Sum256([]byte(id))
	err = tx.QueryRow(ctx, "UPDATE flows SET tries = tries - 1 WHERE hash = ? AND kind = ? AND tries > 0 AND expires_at > ? RETURNING tries",
		hash[:], kind, store.Micros(f.clock())).Scan(&left)
	if errors.Is(err, store.ErrNotFound) {
		return 0, ended(nil)
	}
	return left, err
}

// End ends all flows of a user of some kinds, or of all kinds when none is named.
func (f *Flows) End(ctx context.Context, tx *store.Tx, user string, kinds ...string) error {
	if user == "" {
		return nil
	}
	if len(kinds) == 0 {
		_, err := tx.Exec(ctx, "DELETE FROM flows WHERE user_id = ?", user)
		return err
	}
	for _, kind := range kinds {
		if _, err := tx.Exec(ctx, "DELETE FROM flows WHERE user_id = ? AND kind = ?", user, kind); err != nil {
			return err
		}
	}
	return nil
}

// Pruned is how many flows one call of Prune removes at most: logins wait for it.
const Pruned = 1000

// Prune removes flows that have expired, and says how many.
func (f *Flows) Prune(ctx context.Context) (int64, error) {
	var n int64
	err := f.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		n, err = tx.Exec(ctx, "DELETE FROM flows WHERE hash IN (SELECT hash FROM flows WHERE expires_at <= ? LIMIT ?)",
			store.Micros(f.clock()), Pruned)
		return err
	})
	return n, err
}

func (f *Flows) seal(hash [sha256.Size]byte, data any) ([]byte, error) {
	plain, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("flow: %w", err)
	}
	if len(plain) > maxData {
		return nil, fmt.Errorf("flow: data of %d bytes is over %d", len(plain), maxData)
	}
	return f.root.Seal(place(hash), plain)
}

// place is where the data of a flow belongs: it opens in its own row only.
func place(hash [sha256.Size]byte) string { return "flow/" + hex.EncodeToString(hash[:]) }

// bound is what is kept of a browser's cookie.
func bound(browser string) []byte {
	if browser == "" {
		return []byte{}
	}
	sum := sha256.Sum256([]byte("browser " + browser))
	return sum[:]
}

func ended(cause error) error { return problem.New(problem.AccountFlow, cause) }
