package factor

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// BeginRegistration begins to make a passkey. account is how authenticators show
// the account. optionsJSON is for the browser, {"publicKey": ...} as
// parseCreationOptionsFromJSON takes its value; session is for the server's record
// of what is under way and must not leave it. Reasons: account.invalid (no
// passkeys here, too many).
func (f *Factors) BeginRegistration(ctx context.Context, tx *store.Tx, user, account string) (optionsJSON, session []byte, err error) {
	if err := f.need(); err != nil {
		return nil, nil, err
	}
	if err := checkUser(user); err != nil {
		return nil, nil, err
	}
	if account == "" || len(account) > maxAccount {
		return nil, nil, invalid("account: want 1 to 320 bytes")
	}
	if err := f.room(ctx, tx, user, Passkey); err != nil {
		return nil, nil, err
	}
	h := holder{account: account}
	if h.handle, err = newHandle(ctx, tx, user); err != nil {
		return nil, nil, err
	}
	if h.credentials, err = f.passkeys(ctx, tx, user); err != nil {
		return nil, nil, err
	}
	options, data, err := f.rp.BeginRegistration(h,
		webauthn.WithCredentialParameters(algorithms()),
		webauthn.WithExclusions(webauthn.Credentials(h.credentials).CredentialDescriptors()))
	if err != nil {
		return nil, nil, err
	}
	return f.begun(registering, user, options, data)
}

// FinishRegistration adds the passkey that the browser made. Reasons:
// account.invalid (name, answer that cannot be read, too many), account.exists
// (it is there already), auth.invalid (the answer does not hold), auth.expired.
func (f *Factors) FinishRegistration(ctx context.Context, tx *store.Tx, user string, session, response []byte, name string) (Factor, error) {
	name, err := checkName(name)
	if err != nil {
		return Factor{}, err
	}
	if err := checkUser(user); err != nil {
		return Factor{}, err
	}
	c, err := f.resume(registering, user, session)
	if err != nil {
		return Factor{}, err
	}
	made, err := f.made(ctx, tx, c, response)
	if err != nil {
		return Factor{}, err
	}
	if err := f.room(ctx, tx, user, Passkey); err != nil {
		return Factor{}, err
	}
	if recorded, err := site(ctx, tx); err != nil {
		return Factor{}, err
	} else if recorded != f.rpID { // by another process of the zone
		return Factor{}, invalid("the zone's passkeys are made for another host now; load the page again")
	}
	if err := f.spendChallenge(ctx, tx, c); err != nil {
		return Factor{}, err
	}
	return f.insertPasskey(ctx, tx, user, name, made)
}

// made reads and verifies the answer (WebAuthn section 7.1).
func (f *Factors) made(ctx context.Context, tx *store.Tx, c ceremony, response []byte) (*webauthn.Credential, error) {
	if len(response) > maxResponse {
		return nil, invalid("response: more than 65536 bytes")
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return nil, malformed(err)
	}
	if err := checkAttestation(&parsed.Response.AttestationObject); err != nil {
		return nil, malformed(err)
	}
	if err := f.checkOrigin(parsed.Response.CollectedClientData); err != nil {
		return nil, err
	}
	h := holder{}
	if h.handle, err = handle(ctx, tx, c.User); errors.Is(err, store.ErrNotFound) {
		return nil, refused(errors.New("factor: the user's factors were removed"))
	} else if err != nil {
		return nil, err
	}
	made, err := f.rp.CreateCredential(h, c.Data, parsed)
	if err != nil {
		return nil, refused(err)
	}
	return made, nil
}

// checkAttestation refuses what need not be read, before it is: nothing would be
// believed of an attestation that was not asked for, and what is verified here or
// at a login costs what the sender's key makes it cost, while all who write wait.
func checkAttestation(a *protocol.AttestationObject) error {
	switch protocol.AttestationFormat(a.Format) {
	case protocol.AttestationFormatNone:
	case protocol.AttestationFormatPacked: // by the passkey itself, which some send unasked
		for _, others := range []string{"x5c", "ecdaaKeyId"} { // WebAuthn section 8.2
			if _, there := a.AttStatement[others]; there {
				return errors.New("factor: attestation of others that was not asked for")
			}
		}
	default:
		return errors.New("factor: attestation that was not asked for")
	}
	if n := len(a.AuthData.AttData.CredentialPublicKey); n > maxPublicKey {
		return fmt.Errorf("factor: a public key of %d bytes", n)
	}
	return nil
}

func (f *Factors) insertPasskey(ctx context.Context, tx *store.Tx, user, name string, made *webauthn.Credential) (Factor, error) {
	now := store.Micros(f.clock())
	fac := Factor{ID: newID(), Kind: Passkey, Name: name, Created: store.FromMicros(now), Synced: made.Flags.BackupState}
	plain, err := json.Marshal(record{
		Credential: made.ID,
		PublicKey:  made.PublicKey,
		AAGUID:     made.Authenticator.AAGUID,
		Transports: transports(made.Transport),
		Eligible:   made.Flags.BackupEligible,
	})
	if err != nil {
		return Factor{}, err
	}
	sealed, err := f.root.Seal(place(Passkey, user, fac.ID), plain)
	if err != nil {
		return Factor{}, err
	}
	hash := sha256.Sum256(made.ID)
	n, err := tx.Exec(ctx, `INSERT INTO factors (id, user_id, kind, name, sealed, credential, rp_id, sign_count, backed_up, created_at)
		VALUES (?, ?, 'passkey', ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		fac.ID, user, name, sealed, hash[:], f.rpID, int64(made.Authenticator.SignCount), fac.Synced, now)
	if err == nil && n == 0 {
		return Factor{}, problem.WithDetail(problem.AccountExists, "the passkey is registered already")
	}
	if err != nil {
		return Factor{}, err
	}
	return fac, nil
}

// transports keeps those that WebAuthn knows, each once: the list is the
// client's own word.
func transports(list []protocol.AuthenticatorTransport) []string {
	kept := []string{}
	for _, t := range list {
		switch t {
		case protocol.USB, protocol.NFC, protocol.BLE, protocol.SmartCard, protocol.Hybrid, protocol.Internal:
			if !slices.Contains(kept, string(t)) {
				kept = append(kept, string(t))
			}
		}
	}
	return kept
}
