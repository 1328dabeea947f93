package factor

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"sallyport.dev/internal/store"
)

const (
	handleBytes = 64  // the most that WebAuthn allows
	maxAccount  = 320 // bytes of an account's name: an address has no more
	maxUser     = 128 // bytes of a user's id
	// maxPublicKey is bytes of a COSE key: RSA of 4096 bits takes 527, and is verified
	// in less than a millisecond. One that fills an answer would take seconds.
	maxPublicKey = 600
)

// checkUser refuses what can be no user: it goes into the names of seals.
func checkUser(user string) error {
	if user == "" || len(user) > maxUser {
		return errors.New("factor: a user's id has 1 to 128 bytes")
	}
	for i := range len(user) {
		if user[i] <= ' ' || user[i] > '~' || user[i] == '/' {
			return errors.New("factor: a user's id is visible ASCII without slashes")
		}
	}
	return nil
}

// place is what a sealed value is bound to: moved to another user or row it does
// not open.
func place(kind Kind, user, id string) string {
	return "factor/" + string(kind) + "/" + user + "/" + id
}

// draftPlace is that of an app that is being set up.
func draftPlace(user string) string { return "factor/draft/" + user }

// record is the sealed part of a passkey: what must not change, and what tells of
// its owner's devices.
type record struct {
	Credential []byte   `json:"credential"` // its id
	PublicKey  []byte   `json:"public_key"` // COSE
	AAGUID     []byte   `json:"aaguid"`     // model of the authenticator; often zero
	Transports []string `json:"transports"`
	Eligible   bool     `json:"eligible"` // may be synchronised; never changes
}

// passkey is a row of a passkey.
type passkey struct {
	Factor
	user   string
	count  uint32 // sign counter
	record record
}

const passkeyColumns = factorColumns + ", user_id, sign_count, sealed"

func (f *Factors) scanPasskey(row scanner) (passkey, error) {
	var p passkey
	var sealed []byte
	var err error
	if p.Factor, err = f.scanFactor(row, &p.user, &p.count, &sealed); err != nil {
		return passkey{}, err
	}
	plain, err := f.root.Open(place(Passkey, p.user, p.ID), sealed)
	if err != nil {
		return passkey{}, err
	}
	if err := json.Unmarshal(plain, &p.record); err != nil {
		return passkey{}, fmt.Errorf("factor: record of passkey %s: %w", p.ID, err)
	}
	return p, nil
}

// passkeyOf returns the passkey with a credential's id; store.ErrNotFound when
// there is none.
func (f *Factors) passkeyOf(ctx context.Context, tx *store.Tx, credential []byte) (passkey, error) {
	hash := sha256.Sum256(credential)
	return f.scanPasskey(tx.QueryRow(ctx, "SELECT "+passkeyColumns+" FROM factors WHERE credential = ?", hash[:]))
}

// passkeys returns the passkeys of a user that this RP ID can use.
func (f *Factors) passkeys(ctx context.Context, tx *store.Tx, user string) ([]webauthn.Credential, error) {
	rows, err := tx.Query(ctx, "SELECT "+passkeyColumns+" FROM factors WHERE user_id = ? AND kind = 'passkey' AND rp_id = ? ORDER BY created_at, id", user, f.rpID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // a record that does not open leaves them
	var list []webauthn.Credential
	for rows.Next() {
		p, err := f.scanPasskey(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, p.credential())
	}
	return list, rows.Err()
}

// credential is the passkey as the library wants it.
func (p passkey) credential() webauthn.Credential {
	flags := protocol.FlagUserPresent | protocol.FlagUserVerified // it was, when it was made
	if p.record.Eligible {
		flags |= protocol.FlagBackupEligible
	}
	if p.Synced {
		flags |= protocol.FlagBackupState
	}
	c := webauthn.Credential{
		ID:                p.record.Credential,
		PublicKey:         p.record.PublicKey,
		AttestationFormat: string(protocol.AttestationFormatNone),
		Flags:             webauthn.NewCredentialFlags(flags),
		Authenticator:     webauthn.Authenticator{AAGUID: p.record.AAGUID, SignCount: p.count},
	}
	for _, t := range p.record.Transports {
		c.Transport = append(c.Transport, protocol.AuthenticatorTransport(t))
	}
	return c
}

// holder is a user as the library wants one.
type holder struct {
	handle      []byte
	account     string
	credentials []webauthn.Credential
}

func (h holder) WebAuthnID() []byte                         { return h.handle }
func (h holder) WebAuthnName() string                       { return h.account }
func (h holder) WebAuthnDisplayName() string                { return h.account }
func (h holder) WebAuthnCredentials() []webauthn.Credential { return h.credentials }

// handle returns by what name authenticators know a user; store.ErrNotFound when
// by none.
func handle(ctx context.Context, tx *store.Tx, user string) (h []byte, err error) {
	err = tx.QueryRow(ctx, "SELECT handle FROM factor_handles WHERE user_id = ?", user).Scan(&h)
	return h, err
}

// newHandle is handle, and makes one.
func newHandle(ctx context.Context, tx *store.Tx, user string) ([]byte, error) {
	h, err := handle(ctx, tx, user)
	if !errors.Is(err, store.ErrNotFound) {
		return h, err
	}
	h = make([]byte, handleBytes)
	_, _ = rand.Read(h) // crypto/rand.Read never fails (Go 1.24)
	_, err = tx.Exec(ctx, "INSERT INTO factor_handles (user_id, handle) VALUES (?, ?)", user, h)
	return h, err
}
