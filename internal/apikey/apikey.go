// Package apikey keeps API keys: what a program shows to say who it is. A key
// has no owner (a service account, which administrators make) or is one that a
// user made for a program of theirs. It may have keys of its own with which its
// requests are signed.
//
// It promises that the text of a key is 256 random bits and is told once; that
// what is stored of it, its SHA-256, opens nothing; that the secret of an HMAC
// is stored sealed only, and of an Ed25519 key only the public half; that a key
// that was revoked, has expired or whose owner is disabled or gone resolves to
// nobody; that a change of a key is a revocation of what is remembered of it, in
// the same transaction; and that a key of a user never reaches what the user
// could not: it has no roles, and only scopes that the map offers to users, as
// the map is when the key is used.
//
// It does not see addresses: a principal says from which networks it may come,
// and the door compares (policy.Principal.From). It sends no letters either: Run
// tells who has to be reminded.
package apikey

import (
	"errors"
	"log/slog"
	"time"

	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/store"
)

// Config is what API keys stand on. DB and Root are required.
type Config struct {
	DB    *store.DB
	Root  *keys.Root // seals the secrets of HMACs
	Clock func() time.Time
	Log   *slog.Logger
	// Offered returns the scopes that users may give to keys of theirs, by the map
	// in force (see UserScopes). nil: none, so that no user has a key.
	Offered func() []string
}

// Keys are the API keys of a zone. It is safe for concurrent use.
type Keys struct {
	db      database
	root    *keys.Root
	clock   func() time.Time
	log     *slog.Logger
	offered func() []string

	patience time.Duration // how long a request waits to have a last use written
}

// New returns the keys of a store.
func New(c Config) (*Keys, error) {
	if c.DB == nil || c.Root == nil {
		return nil, errors.New("apikey: DB and Root are required")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Offered == nil {
		c.Offered = func() []string { return nil }
	}
	return &Keys{db: sqlDatabase{c.DB}, root: c.Root, clock: c.Clock, log: c.Log, offered: c.Offered, patience: touchPatience}, nil
}

// now is the time as it is stored, so that what is returned and what is read
// later are equal.
func (k *Keys) now() time.Time { return store.FromMicros(store.Micros(k.clock())) }
