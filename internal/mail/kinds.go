package mail

import (
	"maps"
	"slices"
)

// The kinds of letters.
const (
	Verify            = "verify"             // somebody made an account with the address
	Exists            = "exists"             // somebody wanted to, and there is one
	Invite            = "invite"             // somebody is asked to make one
	Recover           = "recover"            // the password was forgotten
	PasswordChanged   = "password-changed"   // #nosec G101 -- the name of a letter; with keys and grants it was recovered
	EmailChanged      = "email-changed"      // to the old address
	EmailConfirm      = "email-confirm"      // to the new one
	NewDevice         = "new-device"         // a login from a device that was not seen before
	FactorAdded       = "factor-added"       // a passkey, TOTP, recovery codes
	FactorRemoved     = "factor-removed"     //
	DeletionScheduled = "deletion-scheduled" // and may be taken back until then
	Deleted           = "deleted"            //
	KeyCreated        = "key-created"        // an API key of the user's own, or a key that signs with it
	KeyExpiring       = "key-expiring"       // an API key
	ProviderLinked    = "provider-linked"    // an outside account opens this one from now on
	RecoveryUsed      = "recovery-used"      // a recovery code
)

// need says what a letter's data holds. Each key must be there; those that end
// in ? may be empty.
//
// link and recover are addresses of pages of the zone; at, expires and due are
// times (RFC 3339); the rest is text for people.
type need []string

// events are told in the same way: what happened, when, and from where.
func event(more ...string) need { return append(need{"at", "device?", "place?", "link"}, more...) }

// needs are the kinds with their data.
func needs() map[string]need {
	return map[string]need{
		Verify:            {"link", "expires"},
		Exists:            {"link", "recover"},
		Invite:            {"link", "expires"},
		Recover:           {"link", "expires"},
		PasswordChanged:   event("keys?", "grants?"),
		EmailChanged:      event(),
		EmailConfirm:      {"link", "expires"},
		NewDevice:         event(),
		FactorAdded:       event("factor", "ended?"),
		FactorRemoved:     event("factor"),
		DeletionScheduled: {"due", "link"},
		Deleted:           {"at"},
		KeyCreated:        event("name", "expires", "signing?"),
		KeyExpiring:       {"name", "expires", "link"},
		ProviderLinked:    event("provider"),
		RecoveryUsed:      event("left"),
	}
}

// Kinds returns the kinds of letters there are templates for, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(needs())) }

// Languages returns the languages of the letters; the first is the one that is
// taken for all others.
func Languages() []string { return []string{"en", "de"} }
