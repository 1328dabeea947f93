package factor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// Config is what factors stand on. DB, Root and Zone are required.
type Config struct {
	DB    *store.DB
	Root  *keys.Root
	Zone  string           // the zone's name: apps and authenticators show it
	Clock func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: nothing is logged

	// RPID is the host that passkeys are made for; empty: there are no passkeys.
	// Site chooses it.
	RPID string
	// Origins are where the account service is met, each as a browser writes it:
	// https://HOST[:PORT], HOST being RPID or below it; http for localhost only.
	Origins []string
	// LeaveRPID is a recorded RP ID that the zone leaves on purpose: passkeys made
	// for it stop working. Empty: none. It may stay set once it has been left.
	LeaveRPID string
}

// Kind is a kind of factor.
type Kind string

// The kinds of factors.
const (
	Passkey Kind = "passkey"
	TOTP    Kind = "totp"
)

// Factor is a factor as its owner sees it.
type Factor struct {
	ID       string    `json:"id"` // public
	Kind     Kind      `json:"kind"`
	Name     string    `json:"name"` // the owner's own
	Created  time.Time `json:"created_at"`
	LastUsed time.Time `json:"last_used_at,omitzero"`
	// Synced says that the passkey is kept by more than one device.
	Synced bool `json:"synced,omitempty"`
	// Stale says that the passkey was made for another RP ID: no browser offers it
	// here. It still counts as held, since the account must not become weaker by it.
	Stale bool `json:"stale,omitempty"`
}

// Outcome says how a code was judged.
type Outcome uint8

// The outcomes. The zero value refuses.
const (
	Wrong Outcome = iota // not a code of the user
	Used                 // it was right, and accepted before
	Right                // accepted now, and not again
)

func (o Outcome) String() string {
	switch o {
	case Right:
		return "right"
	case Used:
		return "used before"
	default:
		return "wrong"
	}
}

// The bounds of a user.
const (
	maxPasskeys = 20
	maxTOTP     = 3  // each makes guessing as much easier
	maxName     = 64 // characters
)

// Factors are the factors of a zone's users. It is safe for concurrent use.
type Factors struct {
	db      *store.DB
	root    *keys.Root
	zone    string
	clock   func() time.Time
	log     *slog.Logger
	codes   []byte // keys the HMAC of recovery codes
	leaving string

	rpID    string
	origins []string
	rp      *webauthn.WebAuthn // nil: no passkeys
}

// New returns the factors of a zone and records its RP ID. The error is a
// *SiteError when another one is recorded that cannot be left silently.
func New(ctx context.Context, c Config) (*Factors, error) {
	if c.DB == nil || c.Root == nil || c.Zone == "" {
		return nil, errors.New("factor: DB, Root and Zone are required")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	f := &Factors{db: c.DB, root: c.Root, zone: c.Zone, clock: c.Clock, log: c.Log, leaving: c.LeaveRPID}
	var err error
	if f.codes, err = c.Root.Secret(ctx, c.DB, "recovery-codes", 32); err != nil {
		return nil, fmt.Errorf("factor: secret of the recovery codes: %w", err)
	}
	return f.At(ctx, c.RPID, c.Origins)
}

// At returns the same factors as met at another RP ID or other origins, which a
// changed map may give. Errors are as of New; f stays as it is.
func (f *Factors) At(ctx context.Context, rpID string, origins []string) (*Factors, error) {
	next := *f
	next.rpID, next.origins, next.rp = rpID, nil, nil
	if rpID != "" {
		var err error
		if next.origins, err = checkSite(rpID, origins); err != nil {
			return nil, err
		}
		if next.rp, err = relyingParty(f.zone, rpID, next.origins); err != nil {
			return nil, err
		}
	}
	if err := next.settle(ctx); err != nil {
		return nil, err
	}
	return &next, nil
}

// HasPasskeys says whether passkeys can be made and used here.
func (f *Factors) HasPasskeys() bool { return f.rp != nil }

// answer gives an error of the store its reason, where no caller's transaction
// does: without the store nobody is let in.
func answer(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*problem.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return problem.New(problem.ClientClosed, err)
	case errors.Is(err, store.ErrUnavailable), ctx.Err() != nil:
		return problem.New(problem.AuthUnavailable, err)
	}
	return problem.New(problem.InternalError, err)
}

func invalid(detail string) error { return problem.WithDetail(problem.AccountInvalid, detail) }
