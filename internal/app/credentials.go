package app

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/apikey"
	"sallyport.dev/internal/bearer"
	"sallyport.dev/internal/gateway"
	"sallyport.dev/internal/identity"
	"sallyport.dev/internal/oauth"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/token"
)

// credentials resolves outside credentials for the gateway and for the token
// service: it is the only place that knows both sessions and accounts.
type credentials struct {
	sessions *session.Sessions
	identity func() *identity.Identity // of the map in force
	keys     *apikey.Keys
	openID   *oauth.Provider
	issuers  atomic.Pointer[bearer.Issuers] // of the map in force; others than this zone
	clock    func() time.Time
}

// Authenticate returns the principal of a credential and how long that may be
// remembered. The prefix of the credential says what it is; a key in the place
// of a session, or the other way round, is not valid.
func (c *credentials) Authenticate(ctx context.Context, cred gateway.Credential) (policy.Principal, time.Time, error) {
	value := string(cred.Value)
	switch {
	case strings.HasPrefix(value, session.Prefix) && cred.Kind != gateway.KeyCredential:
		s, err := c.sessions.Lookup(ctx, value)
		if err != nil {
			return policy.Principal{}, time.Time{}, err
		}
		p, err := c.identity().Entering(ctx, s.User, s.Reached)
		if err != nil {
			return policy.Principal{}, time.Time{}, err
		}
		p.Session, p.Level, p.AuthTime = s.ID, s.Level, s.AuthTime
		p.Method = "session"
		if cred.Kind == gateway.CookieCredential {
			p.Method = "cookie"
		}
		return p, s.ValidUntil, nil
	case strings.HasPrefix(value, apikey.Prefix) && cred.Kind != gateway.CookieCredential:
		p, until, err := c.keys.Resolve(ctx, value)
		p.Method = "key"
		if err == nil && until.IsZero() { // it never expires
			until = c.clock().Add(24 * time.Hour)
		}
		return p, until, err
	case strings.HasPrefix(value, oauth.AccessPrefix) && (cred.Kind == gateway.BearerCredential || cred.Kind == gateway.DPoPCredential):
		return c.resolveToken(ctx, value)
	case isJWT(value) && (cred.Kind == gateway.BearerCredential || cred.Kind == gateway.DPoPCredential):
		// One of ours stands in a table, whatever it says of itself.
		p, until, err := c.resolveToken(ctx, value)
		if problem.ReasonOf(err) != problem.AuthInvalid || cred.Kind == gateway.DPoPCredential {
			return p, until, err
		}
		return c.issuers.Load().Verify(ctx, value)
	}
	return policy.Principal{}, time.Time{}, problem.New(problem.AuthInvalid, nil)
}

// exchange is the token service: it mints on sight of the outside credential
// itself, so that whoever asks cannot name a user.
type exchange struct {
	credentials seen
	minter      *token.Minter
}

// Exchange resolves the credential anew and mints the inside token of its
// principal. The principal that the gateway has in hand is not believed; only
// an anonymous one needs no credential.
func (e *exchange) Exchange(ctx context.Context, cred gateway.Credential, _ *policy.Principal, listener, transaction string) (string, time.Time, error) {
	subject := token.Subject{Subject: policy.AnonymousSubject, Listener: listener, Method: "none", Transaction: transaction}
	if cred.Kind != gateway.NoCredential {
		p, err := e.credentials.Authenticate(ctx, cred)
		if err == nil && p.StepUp { // the door has refused it already
			err = problem.New(problem.AuthStepUp, nil)
		}
		if err != nil {
			return "", time.Time{}, err
		}
		subject = token.Subject{
			Subject: p.Subject, Roles: p.Roles, Scopes: p.Scopes, Level: p.Level,
			Client: p.Client, Listener: listener, Method: p.Method, Transaction: transaction,
		}
	}
	t, err := e.minter.Mint(ctx, subject)
	if err != nil {
		return "", time.Time{}, problem.New(problem.TokenUnavailable, err)
	}
	return t.Value, t.Expires, nil
}

// accountSessions hands sessions to the account service in its own words.
type accountSessions struct{ sessions *session.Sessions }

func (a accountSessions) CreateTx(ctx context.Context, tx *store.Tx, n identity.NewSession) (string, identity.Session, error) {
	tok, s, err := a.sessions.CreateTx(ctx, tx, session.NewSession(n))
	return tok, accountSession(s), err
}

func (a accountSessions) RaiseTx(ctx context.Context, tx *store.Tx, user, id string, level int, method string) (string, identity.Session, error) {
	tok, s, err := a.sessions.RaiseTx(ctx, tx, user, id, level, method)
	return tok, accountSession(s), err
}

func (a accountSessions) LiveTx(ctx context.Context, tx *store.Tx, user, id string) error {
	return a.sessions.LiveTx(ctx, tx, user, id)
}

func (a accountSessions) RevokeTx(ctx context.Context, tx *store.Tx, user, id string) error {
	return a.sessions.RevokeTx(ctx, tx, user, id)
}

func (a accountSessions) List(ctx context.Context, user string) ([]identity.Session, error) {
	list, err := a.sessions.List(ctx, user)
	out := make([]identity.Session, len(list))
	for i, s := range list {
		out[i] = accountSession(s)
	}
	return out, err
}

func (a accountSessions) Revoke(ctx context.Context, user, id string) error {
	return a.sessions.Revoke(ctx, user, id)
}

func (a accountSessions) RevokeAll(ctx context.Context, user, except string) (int, error) {
	return a.sessions.RevokeAll(ctx, user, except)
}

func (a accountSessions) RevokeAllTx(ctx context.Context, t *store.Tx, user, except string) (int, error) {
	return a.sessions.RevokeAllTx(ctx, t, user, except)
}

func accountSession(s session.Session) identity.Session {
	return identity.Session{
		ID: s.ID, User: s.User, Created: s.Created, AuthTime: s.AuthTime, Remember: s.Remember, LastUsed: s.LastUsed, Expires: s.Expires,
		Level: s.Level, Method: s.Method, Client: s.Client, Agent: s.Agent,
	}
}
