package identity

import (
	"context"
	"net/http"
	"time"

	"sallyport.dev/internal/broker"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/store"
)

// Broker asks other providers who somebody is; see broker.Broker.
type Broker interface {
	List() []broker.Provider
	Begin(ctx context.Context, name string, ask broker.Ask) (redirect string, s broker.State, err error)
	Finish(ctx context.Context, name string, s broker.State, r *http.Request) (broker.Claims, error)
	Metadata(name string) ([]byte, error)
}

// Keys are the API keys of users. Reasons are those of package apikey's owned keys.
// Methods that take a transaction do their work within it, so that its letter is asked
// for in the same.
type Keys interface {
	// Offered are the scopes that keys of users may have; none: users have no keys.
	Offered() []string
	ListKeys(ctx context.Context, user string) ([]Key, error)
	CreateKey(ctx context.Context, t *store.Tx, user string, n NewKey) (Key, obs.Secret, error)
	// RotateKey gives a key another text. The one before goes on for a while.
	RotateKey(ctx context.Context, t *store.Tx, user, id string) (Key, obs.Secret, error)
	RevokeKey(ctx context.Context, user, id string) error
	// AddSigningKey adds a public key (ed25519), or makes a secret (hmac-sha256),
	// which is told this once. It returns the API key that it is one of, too.
	AddSigningKey(ctx context.Context, t *store.Tx, user, id, algorithm, public string) (Key, SigningKey, obs.Secret, error)
	RemoveSigningKey(ctx context.Context, user, id, signing string) error
	// EndKeys ends all keys of a user and says how many were live, DeleteKeys also
	// forgets that there were any.
	EndKeys(ctx context.Context, t *store.Tx, user string) (int, error)
	DeleteKeys(ctx context.Context, t *store.Tx, user string) error
}

// NewKey describes a key that a user makes.
type NewKey struct {
	Name      string
	Scopes    []string
	Addresses []string
	Life      time.Duration // 0: as long as the keys do without one
}

// Key is an API key of a user, without its text.
type Key struct {
	ID, Name               string
	Scopes, Addresses      []string
	Created, Expires, Used time.Time
	Signing                []SigningKey
}

// SigningKey is a key with which the holder of an API key signs requests.
type SigningKey struct {
	ID, Algorithm    string
	Created, Expires time.Time
}

// Grants are what users let OAuth clients do.
type Grants interface {
	Grants(ctx context.Context, user string) ([]Grant, error)
	// RevokeGrant ends all that a client was granted by a user. Reason
	// account.unknown: there is nothing.
	RevokeGrant(ctx context.Context, user, client string) error
	// EndGrants ends all that clients were granted by a user, and says how many
	// clients that were.
	EndGrants(ctx context.Context, t *store.Tx, user string) (int, error)
}

// Grant is what a user let one OAuth client do.
type Grant struct {
	Client, Title string
	Scopes        []string
	Since, Used   time.Time
}
