package identity

import (
	"context"
	"net/netip"
	"time"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/store"
)

// Sessions is what the account service needs of outside sessions. A user has
// sessions, each with a public id; the token that opens one is told once.
// Methods that end in Tx do their work within a transaction of the caller; the
// others have committed when they return.
type Sessions interface {
	CreateTx(ctx context.Context, t *store.Tx, n NewSession) (token string, s Session, err error)
	// RaiseTx gives a live session of the user a new token and id, and notes that a
	// credential was proved now. Reasons auth.invalid, auth.revoked, auth.expired.
	RaiseTx(ctx context.Context, t *store.Tx, user, id string, level int, method string) (token string, s Session, err error)
	// LiveTx says whether a session of the user lives. Reasons auth.invalid,
	// auth.revoked, auth.expired.
	LiveTx(ctx context.Context, t *store.Tx, user, id string) error
	List(ctx context.Context, user string) ([]Session, error)
	// Revoke ends one session of the user. That there is none is an error with
	// the reason account.unknown, whoever's it may be.
	Revoke(ctx context.Context, user, id string) error
	RevokeTx(ctx context.Context, t *store.Tx, user, id string) error
	// RevokeAll ends all sessions of the user but one, and says how many.
	RevokeAll(ctx context.Context, user, except string) (int, error)
	RevokeAllTx(ctx context.Context, t *store.Tx, user, except string) (int, error)
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
	AuthTime time.Time // when a credential was last proved
	LastUsed time.Time
	Expires  time.Time
	Remember bool
	Level    int
	Method   string
	Client   netip.Addr
	Agent    string
}

// Mail takes letters, in the transaction that gives the reason for one, and writes
// them; see mail.Outbox.
type Mail interface {
	Enqueue(ctx context.Context, tx *store.Tx, job mail.Job) error
	Compose(kind, language string, data map[string]string) (mail.Letter, error)
}
