package identity

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/guess"
	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// Config is what the account service stands on. What is not said to be optional
// is required.
type Config struct {
	DB        *store.DB
	Root      *keys.Root
	Zone      *zone.Zone
	Sessions  Sessions
	Passwords *password.Passwords
	Factors   *factor.Factors
	Flows     *flow.Flows
	Guesses   *guess.Guesses

	Mail   Mail   // nil: the zone has no mail
	Broker Broker // nil: there are no other providers
	Keys   Keys   // nil: users have no API keys
	Grants Grants // nil: there are no OAuth clients
	// Ended is called in the transaction that ends all sessions of a user but one
	// (spared; empty: all): what was granted without a session must end too. One
	// session that ends is told by the sessions themselves. nil: nobody is told.
	Ended func(ctx context.Context, tx *store.Tx, user, spared string) error

	Base  string           // where the pages are: https://HOST[:PORT]
	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: nothing is logged
}

// Identity is the account service. It is safe for concurrent use.
type Identity struct {
	config Config
	db     database
	zone   *zone.Zone
	clock  func() time.Time
	log    *slog.Logger

	sessions  Sessions
	passwords *password.Passwords
	factors   *factor.Factors
	flows     *flow.Flows
	guesses   *guess.Guesses
	mail      Mail
	broker    Broker
	keys      Keys
	grants    Grants

	addresses *addressGate
	pages     *page.Pages
}

// New builds the account service. It fails when the configuration cannot work.
func New(c Config) (*Identity, error) {
	if c.DB == nil || c.Root == nil || c.Zone == nil || c.Sessions == nil || c.Passwords == nil || c.Factors == nil || c.Flows == nil || c.Guesses == nil {
		return nil, errors.New("identity: DB, Root, Zone, Sessions, Passwords, Factors, Flows and Guesses are required")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return build(c, newAddressGate(hashAddress))
}

// For returns the account service as another map of the zone has it: with the
// same accounts and bounds. change puts parts in place that the map changes too,
// such as Broker, Factors and Base; nil changes none.
func (id *Identity) For(z *zone.Zone, change func(*Config)) (*Identity, error) {
	c := id.config
	c.Zone = z
	if change != nil {
		change(&c)
	}
	return build(c, id.addresses)
}

func build(c Config, addresses *addressGate) (*Identity, error) {
	pages, err := page.New(page.Config{Zone: c.Zone, Log: c.Log, Clock: c.Clock})
	if err != nil {
		return nil, err
	}
	return &Identity{
		config: c, db: sqlDatabase{c.DB}, zone: c.Zone, clock: c.Clock, log: c.Log,
		sessions: c.Sessions, passwords: c.Passwords, factors: c.Factors, flows: c.Flows, guesses: c.Guesses,
		mail: c.Mail, broker: c.Broker, keys: c.Keys, grants: c.Grants,
		addresses: addresses, pages: pages,
	}, nil
}
