package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// Config is what the account service stands on. DB, Zone and Sessions are required.
type Config struct {
	DB       *store.DB
	Zone     *zone.Zone
	Sessions Sessions
	Clock    func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: nothing is logged
	// HashMemory bounds the memory of password hashes at work, in bytes; each
	// takes 19 MiB. 0: 128 MiB.
	HashMemory int64
}

// Sessions is what the account service needs of outside sessions. A user has
// sessions, each with a public id; the token that opens one is told once.
// Every method that ends sessions has committed the revocation when it returns.
type Sessions interface {
	Create(ctx context.Context, n NewSession) (token string, s Session, err error)
	List(ctx context.Context, user string) ([]Session, error)
	// Revoke ends one session of the user. That there is none is an error with
	// the reason account.unknown, whoever's it may be.
	Revoke(ctx context.Context, user, id string) error
	// RevokeAll ends all sessions of the user but one, and says how many.
	RevokeAll(ctx context.Context, user, except string) (int, error)
	// RevokeAllTx ends all sessions of the user within the transaction that
	// changes the account.
	RevokeAllTx(ctx context.Context, t *store.Tx, user string) error
}

// NewSession is a login that succeeded.
type NewSession struct {
	User     string
	Remember bool
	Level    int
	Method   string
	Client   netip.Addr
	Agent    string // the browser's own words; for its owner to know it by
}

// Session is an outside session as its owner sees it.
type Session struct {
	ID       string // public
	User     string
	Created  time.Time
	LastUsed time.Time
	Expires  time.Time
	Level    int
	Method   string
	Client   netip.Addr
	Agent    string
}

// Identity is the account service. It is safe for concurrent use.
type Identity struct {
	db       database
	zone     *zone.Zone
	sessions Sessions
	clock    func() time.Time
	log      *slog.Logger

	hasher    hasher
	hashing   *gate
	addresses *addressGate
	guesses   *guesses
	common    map[string]struct{}
	pages     *pages
}

// New builds the account service. It fails when the configuration cannot work.
func New(c Config) (*Identity, error) {
	if c.DB == nil || c.Zone == nil || c.Sessions == nil {
		return nil, errors.New("identity: DB, Zone and Sessions are required")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.HashMemory == 0 {
		c.HashMemory = hashMemory
	}
	budget := c.HashMemory / 1024
	if budget < currentMemory {
		return nil, fmt.Errorf("identity: hash memory of %d bytes is less than one hash takes, %d", c.HashMemory, currentMemory*1024)
	}
	pages, err := newPages(c.Zone)
	if err != nil {
		return nil, err
	}
	return &Identity{
		db:        sqlDatabase{c.DB},
		zone:      c.Zone,
		sessions:  c.Sessions,
		clock:     c.Clock,
		log:       c.Log,
		hasher:    newHasher(cost{currentMemory, currentPasses, currentThreads}, argon2id),
		hashing:   newGate(budget, hashQueue, hashPatience),
		addresses: newAddressGate(hashAddress),
		guesses:   newGuesses(c.Clock, guessEntries),
		common:    commonPasswords(),
		pages:     pages,
	}, nil
}

// For returns the account service as another map of the zone has it: with the
// same accounts, bounds and memory of guesses.
func (id *Identity) For(z *zone.Zone) (*Identity, error) {
	pages, err := newPages(z)
	if err != nil {
		return nil, err
	}
	next := *id
	next.zone, next.pages = z, pages
	return &next, nil
}
