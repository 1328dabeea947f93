// Package policy decides access from the map: pure functions over a route and a
// principal, used by the gateway (coarse) and again by the guard (fine).
//
// It promises that the zero values deny: a zero Principal is anonymous with no
// rights, a route without allow takes nobody.
package policy

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// Kind is the kind of a principal. The zero value is Anonymous.
type Kind uint8

// The kinds of principals, as `allow` names them.
const (
	Anonymous Kind = iota
	User           // a session, or an OAuth token of a user
	Key            // an API key
	Client         // OAuth client credentials
	Service        // a service of the zone, inside only
)

// TwoFactors is the authentication level of who showed two factors.
const TwoFactors = 2

// AnonymousSubject is the `sub` of a request without a credential.
const AnonymousSubject = "anonymous"

// Principal is who a request acts for. It is immutable once handed out.
type Principal struct {
	Kind     Kind
	Subject  string   // `sub`: user id, key_ID, client id; AnonymousSubject
	Roles    []string // sorted
	Scopes   []string // sorted; of a key or OAuth token. They never limit sessions
	OAuth    bool     // the credential is an OAuth token: scopes limit it
	Client   string   // OAuth client id or API key id; empty for sessions
	Level    int      // authentication level: 0 none, 1 one factor, 2 two factors
	Method   string   // how it authenticated: session, cookie, key, certificate
	AuthTime time.Time
	Version  uint64         // grows with every change of the account's rights
	Session  string         // public id of the session; empty for keys
	Owner    string         // user id of whose key it is; empty: nobody's, or no key. It gives no rights
	Networks []netip.Prefix // from where the credential is taken; empty: from anywhere
	Bound    Bound          // the key that whoever sends the credential must hold
	// StepUp: the zone wants two factors of the user by now, and the session was made
	// with one. It opens nothing but the way to the second.
	StepUp bool
}

// Bound is what a credential is bound to (`cnf`, RFC 7800). The zero value is
// nothing: who has the credential is believed.
type Bound struct {
	JKT string // thumbprint of a DPoP key (RFC 9449 section 6)
	X5T string // SHA-256 of a client certificate, base64url (RFC 8705 section 3.1)
}

// From says whether the principal's credential may come from a client's address.
// The door asks at every request: what is remembered of a credential is the
// same for all clients.
func (p *Principal) From(client netip.Addr) bool {
	if len(p.Networks) == 0 {
		return true
	}
	client = client.Unmap().WithZone("")
	return slices.ContainsFunc(p.Networks, func(n netip.Prefix) bool { return n.Contains(client) })
}

type principalKey struct{}

// WithPrincipal returns a context that carries the principal of a request.
func WithPrincipal(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalFrom returns the principal of a request; an anonymous one when there is none, never nil.
func PrincipalFrom(ctx context.Context) *Principal {
	if p, ok := ctx.Value(principalKey{}).(*Principal); ok && p != nil {
		return p
	}
	return &Principal{Kind: Anonymous, Subject: AnonymousSubject}
}
