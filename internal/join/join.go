// Package join keeps join tokens at rest: an id, a secret, one service, one use,
// ten minutes. Whoever shows id and secret is given the identity of the service.
//
// It promises that a secret is 256 random bits and is told once, when the token
// is made; that what is stored, its SHA-256, is of no use to whoever reads the
// database; that of any number of redemptions at once at most one succeeds; that
// a token is spent, and on disk as spent, before its redemption is answered; and
// that a refusal tells its caller nothing: unknown, spent, expired, revoked, the
// wrong secret and the wrong service read the same (join.refused). The cause
// inside the error is for the log.
//
// A secret that is wrong counts: after five tries the token is dead, whoever
// tried. Ids are random too, so only who has seen a token can spend its tries.
//
// It does not undo: a token whose answer was lost on the way is spent, and a new
// one is made. It neither knows the map nor issues certificates: that a service
// is declared, and that its certification request is sound, is to be known
// before its token is redeemed.
package join

import (
	"errors"
	"time"

	"sallyport.dev/internal/store"
)

// Bounds of tokens.
const (
	Life     = 10 * time.Minute
	MaxTries = 5   // redemptions begun of one token, the one that succeeds among them
	MaxOpen  = 256 // tokens that wait to be redeemed
)

// maxService bounds the name of a service, in bytes.
const maxService = 63

// Tokens are the join tokens of a zone. It is safe for concurrent use.
type Tokens struct {
	db    *store.DB
	clock func() time.Time
}

// New returns the tokens kept in db.
func New(db *store.DB, clock func() time.Time) *Tokens {
	return &Tokens{db: db, clock: clock}
}

// Token is one token without its secret.
type Token struct {
	ID      ID
	Service string
	Created time.Time
	Expires time.Time
	Spent   time.Time // zero: not redeemed
	Tries   int
}

// Open says whether the token may still be redeemed at a time.
func (t Token) Open(now time.Time) bool { return t.shut(now) == nil }

// Why a token is refused: for the log, never for who asked.
var (
	errUnknown = errors.New("no such join token: never made, revoked, or expired and forgotten")
	errSpent   = errors.New("the join token was used before")
	errExpired = errors.New("the join token has expired")
	errTries   = errors.New("the join token was tried too often with a wrong secret")
	errSecret  = errors.New("the secret of the join token is wrong")
)

// shut says why the token cannot be redeemed any more; nil when it can.
func (t Token) shut(now time.Time) error {
	switch {
	case !t.Spent.IsZero():
		return errSpent
	case !now.Before(t.Expires):
		return errExpired
	case t.Tries >= MaxTries:
		return errTries
	}
	return nil
}

// now is the time as it is stored, so that what is returned and what is read
// later are equal.
func (t *Tokens) now() time.Time { return store.FromMicros(store.Micros(t.clock())) }
