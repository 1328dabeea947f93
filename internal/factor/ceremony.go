package factor

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// maxResponse bounds an answer of a browser, in bytes.
const maxResponse = 64 << 10

// purpose parts the ceremonies, so that none can be finished as another.
type purpose string

const (
	registering purpose = "register"
	loggingIn   purpose = "login"
	asserting   purpose = "assert"
)

// ceremony is what the server keeps between the two halves of one; the session
// bytes are its JSON.
type ceremony struct {
	Purpose purpose              `json:"purpose"`
	User    string               `json:"user"` // empty for loggingIn
	Expires int64                `json:"expires"`
	Data    webauthn.SessionData `json:"data"`
}

// begun writes the first half of a ceremony.
func (f *Factors) begun(p purpose, user string, options any, data *webauthn.SessionData) (optionsJSON, session []byte, err error) {
	data.AllowedCredentialIDs = nil // whose a passkey is the store says, when it is used
	if optionsJSON, err = json.Marshal(options); err != nil {
		return nil, nil, err
	}
	session, err = json.Marshal(ceremony{p, user, store.Micros(f.clock().Add(ceremonyLife)), *data})
	return optionsJSON, session, err
}

// resume reads what begun wrote.
func (f *Factors) resume(p purpose, user string, session []byte) (ceremony, error) {
	var c ceremony
	if err := f.need(); err != nil {
		return ceremony{}, err
	}
	if err := json.Unmarshal(session, &c); err != nil {
		return ceremony{}, problem.New(problem.AuthInvalid, errors.New("factor: the session is none"))
	}
	switch {
	case c.Purpose != p || c.User != user:
		return ceremony{}, problem.New(problem.AuthInvalid, errors.New("factor: the session is of another ceremony or user"))
	case store.Micros(f.clock()) >= c.Expires:
		return ceremony{}, problem.New(problem.AuthExpired, errors.New("factor: the ceremony took too long"))
	case c.Data.RelyingPartyID != f.rpID:
		return ceremony{}, problem.New(problem.AuthInvalid, errors.New("factor: the session is of another RP ID"))
	}
	return c, nil
}

// need refuses where there are no passkeys.
func (f *Factors) need() error {
	if f.rp == nil {
		return invalid("passkeys are not available at this address")
	}
	return nil
}

// checkOrigin demands an origin of the list as it stands: the library lets case
// and user names differ.
func (f *Factors) checkOrigin(client protocol.CollectedClientData) error {
	if !slices.Contains(f.origins, client.Origin) {
		return problem.New(problem.AuthInvalid, errors.New("factor: the answer is of another origin"))
	}
	return nil
}

// malformed refuses an answer that cannot be read.
func malformed(err error) error {
	return &problem.Error{Reason: problem.AccountInvalid, Detail: "response: not an answer of a browser to this request", Cause: err}
}

// refused refuses an answer that does not hold.
func refused(err error) error { return problem.New(problem.AuthInvalid, err) }

// spendPrune is how many challenges that are over one spending removes.
const spendPrune = 100

// spend marks a challenge as answered and says whether this was the first time.
func (f *Factors) spend(ctx context.Context, tx *store.Tx, challenge []byte, until time.Time) (bool, error) {
	if _, err := tx.Exec(ctx, `DELETE FROM factor_challenges WHERE hash IN
		(SELECT hash FROM factor_challenges WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`, store.Micros(f.clock()), spendPrune); err != nil {
		return false, err
	}
	hash := sha256.Sum256(challenge)
	n, err := tx.Exec(ctx, "INSERT INTO factor_challenges (hash, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING", hash[:], store.Micros(until))
	return n == 1, err
}

// spendChallenge is spend for a ceremony.
func (f *Factors) spendChallenge(ctx context.Context, tx *store.Tx, c ceremony) error {
	first, err := f.spend(ctx, tx, []byte(c.Data.Challenge), store.FromMicros(c.Expires))
	if err == nil && !first {
		return refused(errors.New("factor: the challenge was answered before"))
	}
	return err
}
