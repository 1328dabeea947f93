package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"time"

	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/page"
	"sallyport.dev/internal/store"
)

// The kinds of flows that wait for the link of a letter, which are also the kinds
// of the jobs that ask for one. Such a job says what somebody typed; only Letter
// looks whether there is an account.
const (
	flowRegister = "register"
	flowInvite   = "invite"
	flowEmail    = "email"
	flowRecover  = "recover"
)

// How long the links of letters work.
const (
	verifyLife  = 24 * time.Hour
	inviteLife  = 7 * 24 * time.Hour
	recoverLife = 30 * time.Minute
)

// linked is what the link of a letter is about. Which fields are set depends on
// the kind of the flow.
type linked struct {
	Email   string `json:"email"`             // register, invite, email: the address that is shown to be theirs; recover: that of the account
	Before  string `json:"before,omitempty"`  // email: the address of the account
	Hash    string `json:"hash,omitempty"`    // register: of the password
	Form    string `json:"form,omitempty"`    // register
	Locale  string `json:"locale,omitempty"`  // register
	Browser string `json:"browser,omitempty"` // register: the browser in which the password was chosen
}

// Letter writes the letter of a job, or none: it is the Render of the outbox. Here,
// after the answer, is where known and unknown accounts part.
func (id *Identity) Letter(ctx context.Context, tx *store.Tx, job mail.Job) (*mail.Letter, error) {
	t := storeTx{tx}
	switch job.Kind {
	case flowRegister:
		return id.registerLetter(ctx, t, job)
	case flowRecover:
		return id.recoverLetter(ctx, t, job)
	case flowEmail:
		return id.emailLetter(ctx, t, job)
	case flowInvite:
		return id.inviteLetter(ctx, t, job)
	}
	return id.compose(job.Address, job.Kind, job.Language, job.Data)
}

func (id *Identity) compose(to, kind, language string, data map[string]string) (*mail.Letter, error) {
	l, err := id.mail.Compose(kind, language, data)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	l.To = to
	return &l, nil
}

// linkLetter begins a flow and writes the letter whose link goes on with it.
func (id *Identity) linkLetter(ctx context.Context, t tx, to, letter, language, path string, r flow.Record, data linked) (*mail.Letter, error) {
	token, err := id.flows.Begin(ctx, t.whole(), r, data)
	if err != nil {
		return nil, err
	}
	return id.compose(to, letter, language, map[string]string{
		"link": id.config.Base + path + "?token=" + url.QueryEscape(token), "expires": page.Stamp(r.Expires),
	})
}

// registerLetter: the owner of an account is told that there is one, everybody
// else gets the link that makes it. An account whose address nobody has shown to
// be theirs is for whoever does.
func (id *Identity) registerLetter(ctx context.Context, t tx, job mail.Job) (*mail.Letter, error) {
	a, found, err := id.accountByEmailTx(ctx, t, job.Address)
	if err != nil {
		return nil, err
	}
	to, language := job.Address, job.Language
	if found {
		claimable, err := id.claimable(ctx, t, a)
		switch {
		case err != nil || a.Disabled:
			return nil, err
		case !claimable:
			return id.existsLetter(a)
		}
		to = a.Email
	}
	return id.linkLetter(ctx, t, to, mail.Verify, language, verifyPath,
		flow.Record{Kind: flowRegister, Expires: id.clock().Add(verifyLife)},
		linked{Email: to, Hash: job.Data["hash"], Form: job.Data["form"], Locale: job.Language, Browser: job.Data["browser"]})
}

// existsLetter tells the owner of an account that somebody wanted to have one with
// its address, which was told to nobody else.
func (id *Identity) existsLetter(a account) (*mail.Letter, error) {
	return id.compose(a.Email, mail.Exists, a.Locale, map[string]string{
		"link": id.config.Base + page.LoginPath, "recover": id.config.Base + recoverPath,
	})
}

// recoverLetter goes to the address that is stored, never to what was typed. An
// account that is disabled gets none; nor does one whose address nobody has shown
// to be theirs, once it is guarded by a factor: the letter would be less than that.
func (id *Identity) recoverLetter(ctx context.Context, t tx, job mail.Job) (*mail.Letter, error) {
	a, found, err := id.accountByEmailTx(ctx, t, job.Address)
	if err != nil || !found || a.Disabled {
		return nil, err
	}
	if !a.Verified {
		if claimable, err := id.claimable(ctx, t, a); err != nil || !claimable {
			return nil, err
		}
	}
	if err := id.flows.End(ctx, t.whole(), a.ID, flowRecover); err != nil {
		return nil, err
	}
	return id.linkLetter(ctx, t, a.Email, mail.Recover, a.Locale, passwordPath,
		flow.Record{Kind: flowRecover, User: a.ID, Expires: id.clock().Add(recoverLife)}, linked{Email: a.Email})
}

// emailLetter asks the new address of an account. That it is taken is told to its
// owner alone.
func (id *Identity) emailLetter(ctx context.Context, t tx, job mail.Job) (*mail.Letter, error) {
	a, found, err := id.accountInTx(ctx, t, job.User)
	if err != nil || !found || a.Disabled {
		return nil, err
	}
	other, taken, err := id.accountByEmailTx(ctx, t, job.Address)
	if err != nil {
		return nil, err
	}
	if taken && other.ID != a.ID {
		if other.Disabled {
			return nil, nil
		}
		return id.existsLetter(other)
	}
	if err := id.flows.End(ctx, t.whole(), a.ID, flowEmail); err != nil {
		return nil, err
	}
	return id.linkLetter(ctx, t, job.Address, mail.EmailConfirm, a.Locale, verifyPath,
		flow.Record{Kind: flowEmail, User: a.ID, Expires: id.clock().Add(verifyLife)}, linked{Email: job.Address, Before: a.Email})
}

// inviteLetter is the letter of an invitation that is open still.
func (id *Identity) inviteLetter(ctx context.Context, t tx, job mail.Job) (*mail.Letter, error) {
	if _, found, err := id.accountByEmailTx(ctx, t, job.Address); err != nil || found {
		return nil, err
	}
	open, there, err := id.invitation(ctx, t, job.Address)
	if err != nil || !there {
		return nil, err
	}
	guest := guestOf(job.Address)
	if err := id.flows.End(ctx, t.whole(), guest, flowInvite); err != nil {
		return nil, err
	}
	return id.linkLetter(ctx, t, job.Address, mail.Invite, job.Language, verifyPath,
		flow.Record{Kind: flowInvite, User: guest, Expires: open.Expires}, linked{Email: job.Address})
}

// guestOf stands for the user of an invitation, who is none yet.
func guestOf(email string) string {
	sum := sha256.Sum256([]byte("invite " + foldEmail(email)))
	return "guest-" + hex.EncodeToString(sum[:])
}
