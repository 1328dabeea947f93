package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/internal/store"
)

// unit is all that a call changes. The library saves whole objects, one by one,
// with nothing in between; so they are gathered and committed together, each
// against the version that was read, before the answer leaves.
type unit struct {
	request *goidc.AuthnSession
	kind    string // of the request
	grants  []*grantChange
	token   *goidc.Token // issued; its text is in the answer
	access  string       // that text, once the answer is there
	reused  string       // a grant whose refresh token came again
	replay  string       // a grant whose code came again
	refresh refreshUse
	consent *consent
}

// grantChange is what becomes of one grant.
type grantChange struct {
	goidc.Grant
	facts   facts
	version int64 // as read; 0: it is new
	revoked bool
}

// Why a unit could not be committed.
var (
	errReplayed  = errors.New("oauth: redeemed before") // a code or device code: its grant ends
	errRotated   = errors.New("oauth: rotated meanwhile")
	errEnded     = errors.New("oauth: ended meanwhile")
	errAssertion = errors.New("oauth: the client assertion was used before")
)

// The names under which what we know of an object travels in the library's maps.
// A request's map becomes its grant's: the names of versions differ.
const (
	requestVersion = "~request"
	grantVersion   = "~grant"
	factsName      = "facts"
)

// facts are what we keep of a request, and then of its grant.
type facts struct {
	Asked     int64  `json:"asked,omitempty"`     // when the request came; microseconds
	Login     bool   `json:"login,omitempty"`     // the user was sent to log in
	Shown     string `json:"shown,omitempty"`     // to whom the consent page was shown
	Place     string `json:"place,omitempty"`     // from where a device asked
	JKT       string `json:"jkt,omitempty"`       // the key that was proved when it was pushed
	Essential string `json:"essential,omitempty"` // levels of which the login must have one
	Kind      string `json:"kind,omitempty"`      // of the grant: user, client
	Session   string `json:"session,omitempty"`
	SID       string `json:"sid,omitempty"`
	Level     int    `json:"level,omitempty"`
	Auth      int64  `json:"auth,omitempty"` // when the user authenticated; microseconds
	Offline   bool   `json:"offline,omitempty"`
	Parent    string `json:"parent,omitempty"`  // exchange: the grant it was made of
	Until     int64  `json:"until,omitempty"`   // exchange: the end of the subject token; microseconds
	Granted   string `json:"granted,omitempty"` // exchange: the scopes of the subject token
	Hint      string `json:"hint,omitempty"`    // the user whom the client expects (id_token_hint)
}

func factsOf(m map[string]any) facts {
	var f facts
	if text, ok := m[factsName].(string); ok {
		_ = json.Unmarshal([]byte(text), &f) // written by put
	}
	return f
}

func (f facts) put(m map[string]any) {
	b, _ := json.Marshal(f) // numbers and texts always marshal
	m[factsName] = string(b)
}

// change returns the change of a grant, a new one when there is none.
func (u *unit) change(id string) *grantChange {
	for _, g := range u.grants {
		if g.ID == id {
			return g
		}
	}
	g := &grantChange{}
	g.ID = id
	u.grants = append(u.grants, g)
	return g
}

func (u *unit) saveGrant(g *goidc.Grant) {
	ch := u.change(g.ID)
	if g.RevokedAt != 0 {
		ch.revoked = true // it supersedes all other changes: they were made of a copy that does not hold
		return
	}
	ch.Grant, ch.facts = *g, factsOf(g.Store)
	ch.version, _ = g.Store[grantVersion].(int64)
}

// refused drops what a request that was refused would have changed, but for what
// ends with it: a token that nobody was given must not take another's place.
func (u *unit) refused() {
	u.token, u.consent = nil, nil
	u.grants = slices.DeleteFunc(u.grants, func(g *grantChange) bool { return !g.revoked })
}

func (u *unit) saveRequest(as *goidc.AuthnSession, kind string) {
	as2 := *as
	as2.Store = maps.Clone(as.Store)
	u.request, u.kind = &as2, kind
}

// commit writes the unit. authenticated says that the client was not refused as
// one that did not show who it is: its assertion counts as used then, if it was
// looked at at all.
func (p *Provider) commit(ctx context.Context, c *call, authenticated bool) error {
	u := c.unit
	used := authenticated && c.assertion.held
	if u.request == nil && len(u.grants) == 0 && u.token == nil && u.reused == "" && !used {
		return nil
	}
	now := p.now()
	return p.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		// Asked here: one writer follows another, so that what is written for a client of
		// the map either ends with it or is not written.
		if c.client != nil && !c.client.stored && p.state.Load().clients[c.client.ID] == nil {
			return errEnded
		}
		if used {
			if err := c.assertion.take(ctx, tx, c.claimed, now); err != nil {
				return err
			}
		}
		if u.reused != "" {
			if err := p.endGrants(ctx, tx, "refresh_reuse", "id = ?", u.reused); err != nil {
				return err
			}
		}
		if u.request != nil {
			if err := u.writeRequest(ctx, tx, c); err != nil {
				return err
			}
		}
		ended := false
		for _, g := range u.grants {
			if err := p.writeGrant(ctx, tx, u, g, now); err != nil {
				return err
			}
			ended = ended || g.revoked
		}
		if u.consent != nil {
			if err := u.consent.write(ctx, tx, now); err != nil {
				return err
			}
		}
		if u.token == nil || ended {
			return nil
		}
		return u.writeToken(ctx, tx)
	})
}

// redemption is what the redemption of a code compares.
type redemption struct {
	RedirectURI string `json:"redirect_uri,omitempty"`
	Nonce       string `json:"nonce,omitempty"`
	Challenge   string `json:"code_challenge,omitempty"`
}

// microsOf makes microseconds of the library's seconds; 0 stays never.
func microsOf(seconds int) int64 { return int64(seconds) * int64(time.Second/time.Microsecond) }

// secondsOf is the way back.
func secondsOf(micros int64) int { return int(micros / int64(time.Second/time.Microsecond)) }

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
