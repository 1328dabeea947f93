// Package session keeps the sessions of users on the outside: opaque tokens,
// their lifetimes and their end.
//
// It promises that a token is 256 random bits and says nothing; that what is
// stored, its SHA-256, is of no use to whoever reads the database; that a
// session ends at its absolute end or when it has idled, whichever comes first,
// and does not come back; that a revocation is committed, and told to every
// subscriber of the store, before it is answered; and that a new token (Create,
// RaiseTx) is never one that a caller chose.
//
// It refuses a string that cannot be a token before anything is hashed or read,
// and answers AuthUnavailable, never "allowed", when the store does not answer.
//
// # Levels
//
// A session that is remembered lives long, the proof of two factors does not: its
// level counts as 2 until `absolute` after the last proof, and as 1 from then on.
// ValidUntil never lies beyond that moment, so that caches ask again. A session
// that is not remembered has ended by then. Reached says what was proved, however
// long ago.
//
// # Lifetimes
//
// The lifetimes of the map are stamped on a session when it is made. A map that
// shortens them later shortens sessions that exist; one that lengthens them does
// not. A remembered session has one lifetime, `remember`, and no idle bound
// below it, by whatever method the user logged in. RaiseTx does not lengthen one.
//
// Use is written down at most once a minute a session (once in an eighth of an
// idle bound under eight minutes), and kept in memory until Run writes it, every
// five seconds, for many sessions at once. A lookup neither writes nor waits for
// a writer. So a session may idle out early, by that minute and by what its
// caller caches, and after kill -9 by five seconds more. It never idles out late.
package session

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// Sessions are the sessions of a zone. It is safe for concurrent use.
type Sessions struct {
	db    *store.DB
	life  atomic.Pointer[zone.Sessions]
	clock func() time.Time
	uses  uses
	hooks Hooks
}

// Hooks are told of sessions that end, within the transaction that ends them: for
// what hangs on a session and must not outlive it. An error undoes the whole.
type Hooks struct {
	// Ended is called for each session that is revoked. One that comes to its end by
	// time is told to nobody.
	Ended func(ctx context.Context, tx *store.Tx, user, id string) error
	// Moved is called when a live session gets a new id (RaiseTx). nil: the old
	// one counts as ended.
	Moved func(ctx context.Context, tx *store.Tx, user, from, to string) error
}

// SetHooks sets who is told. It is called before the sessions are used.
func (s *Sessions) SetHooks(h Hooks) { s.hooks = h }

// New returns the sessions kept in db. Lifetimes that are zero end sessions at once.
func New(db *store.DB, life zone.Sessions, clock func() time.Time) *Sessions {
	s := &Sessions{db: db, clock: clock}
	s.SetLifetimes(life)
	return s
}

// SetLifetimes puts the lifetimes of another map in force.
func (s *Sessions) SetLifetimes(life zone.Sessions) { s.life.Store(&life) }

// MaxPerUser bounds the live sessions of a user: a login beyond it ends the one
// that was not used for the longest time.
const MaxPerUser = 100

// NewSession is what a login knows.
type NewSession struct {
	User     string     // id of the account
	Remember bool       // the user asked to stay logged in
	Level    int        // authentication level: 1 one factor, 2 two factors
	Method   string     // how the user authenticated, e.g. password
	Client   netip.Addr // may be invalid: unknown
	Agent    string     // User-Agent, as it came: it is cut and cleaned
}

// Session is one session. It holds nothing that lets anybody in.
type Session struct {
	ID         string    // public: what the user lists and revokes
	User       string    // id of the account
	Created    time.Time // login
	AuthTime   time.Time // when a credential was last proved: login or step-up
	LastUsed   time.Time // a minute behind at most
	Expires    time.Time // its end, however much it is used
	ValidUntil time.Time // its end if it is not used again; never after Expires. A cache may rely on it, until a revocation
	Remember   bool
	Level      int // as it counts now, see the package document
	Reached    int // as it was proved, at the login or a step-up since: it does not fade
	Method     string
	Client     netip.Addr
	Agent      string
}
