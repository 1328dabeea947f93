package factor

import (
	"context"
	"errors"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// Result is what a passkey proved.
type Result struct {
	User   string
	Factor Factor
	// Verified says that the authenticator verified its user: with it a passkey is
	// two factors, without it one. It is always so after FinishLogin.
	Verified bool
	// Cloned says that the sign counter did not grow: there may be a copy of the
	// key. It is a signal to look at, no proof.
	Cloned bool
}

// BeginLogin begins a login by passkey alone, whoever it may be of. optionsJSON
// and session are as of BeginRegistration. Nothing is stored or looked up.
// Reasons: account.invalid (no passkeys here).
func (f *Factors) BeginLogin(context.Context) (optionsJSON, session []byte, err error) {
	if err := f.need(); err != nil {
		return nil, nil, err
	}
	options, data, err := f.rp.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, nil, err
	}
	return f.begun(loggingIn, "", options, data)
}

// FinishLogin accepts the passkey of the user that it says, if it verified them.
// Reasons: account.invalid (an answer that cannot be read), auth.invalid (one that
// does not hold, or of no passkey of the zone), auth.expired.
func (f *Factors) FinishLogin(ctx context.Context, tx *store.Tx, session, response []byte) (Result, error) {
	return f.finish(ctx, tx, loggingIn, "", session, response)
}

// BeginAssert begins to ask a known user for a passkey, as a second factor or for
// a step-up. The authenticator verifies its user if it can. Reasons:
// account.invalid (no passkeys here, or none of the user).
func (f *Factors) BeginAssert(ctx context.Context, tx *store.Tx, user string) (optionsJSON, session []byte, err error) {
	if err := f.need(); err != nil {
		return nil, nil, err
	}
	if err := checkUser(user); err != nil {
		return nil, nil, err
	}
	h := holder{}
	if h.credentials, err = f.passkeys(ctx, tx, user); err != nil {
		return nil, nil, err
	}
	if len(h.credentials) == 0 {
		return nil, nil, invalid("the account has no passkey that works here")
	}
	if h.handle, err = handle(ctx, tx, user); err != nil {
		return nil, nil, err
	}
	options, data, err := f.rp.BeginLogin(h, webauthn.WithUserVerification(protocol.VerificationPreferred))
	if err != nil {
		return nil, nil, err
	}
	return f.begun(asserting, user, options, data)
}

// FinishAssert accepts a passkey of the user. Reasons are those of FinishLogin;
// another user's passkey is auth.invalid.
func (f *Factors) FinishAssert(ctx context.Context, tx *store.Tx, user string, session, response []byte) (Result, error) {
	if err := checkUser(user); err != nil {
		return Result{}, err
	}
	return f.finish(ctx, tx, asserting, user, session, response)
}

// finish verifies an assertion (WebAuthn section 7.2) and spends its challenge.
func (f *Factors) finish(ctx context.Context, tx *store.Tx, p purpose, user string, session, response []byte) (Result, error) {
	c, err := f.resume(p, user, session)
	if err != nil {
		return Result{}, err
	}
	if len(response) > maxResponse {
		return Result{}, invalid("response: more than 65536 bytes")
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return Result{}, malformed(err)
	}
	if err := f.checkOrigin(parsed.Response.CollectedClientData); err != nil {
		return Result{}, err
	}
	key, err := f.passkeyOf(ctx, tx, parsed.RawID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Result{}, refused(errors.New("factor: no passkey of the zone"))
	case err != nil:
		return Result{}, err
	case key.Stale, user != "" && key.user != user:
		return Result{}, refused(errors.New("factor: a passkey of another user or RP ID"))
	}
	h := holder{credentials: []webauthn.Credential{key.credential()}}
	if h.handle, err = handle(ctx, tx, key.user); err != nil {
		return Result{}, err
	}
	seen, err := f.verify(p, h, c.Data, parsed)
	if err != nil {
		return Result{}, refused(err)
	}
	if err := f.spendChallenge(ctx, tx, c); err != nil {
		return Result{}, err
	}
	return f.used(ctx, tx, key, seen, parsed.Response.AuthenticatorData.Flags.HasUserVerified())
}

// verify is the library's part. It returns the credential as it is now.
func (f *Factors) verify(p purpose, h holder, data webauthn.SessionData, parsed *protocol.ParsedCredentialAssertionData) (*webauthn.Credential, error) {
	if p == asserting {
		return f.rp.ValidateLogin(h, data, parsed)
	}
	_, seen, err := f.rp.ValidatePasskeyLogin(func(_, _ []byte) (webauthn.User, error) { return h, nil }, data, parsed)
	return seen, err
}

// used notes a use of a passkey.
func (f *Factors) used(ctx context.Context, tx *store.Tx, key passkey, seen *webauthn.Credential, verified bool) (Result, error) {
	now := store.Micros(f.clock())
	n, err := tx.Exec(ctx, "UPDATE factors SET sign_count = ?, backed_up = ?, used_at = ? WHERE id = ?",
		int64(seen.Authenticator.SignCount), seen.Flags.BackupState, now, key.ID)
	if err != nil {
		return Result{}, err
	}
	if n != 1 { // cannot be: it was read in this transaction
		return Result{}, problem.New(problem.InternalError, errors.New("factor: the passkey is gone"))
	}
	key.Synced, key.LastUsed = seen.Flags.BackupState, store.FromMicros(now)
	return Result{User: key.user, Factor: key.Factor, Verified: verified, Cloned: seen.Authenticator.CloneWarning}, nil
}
