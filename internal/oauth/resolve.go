package oauth

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Resolved is what an access token stands for.
type Resolved struct {
	Kind     string // user or client
	Subject  string // user id, or client id
	Client   string
	Scopes   []string // sorted
	Level    int      // of the login; 0 for clients
	AuthTime time.Time
	Session  string    // public id of the session it came from; empty: none, or offline
	JKT      string    // the key that requests must prove (DPoP); empty: none
	X5T      string    // the certificate that connections must show; empty: none
	Issued   time.Time // when it was given out
	Until    time.Time // its end; a cache may rely on it until a revocation
	Grant    string    // id of the grant

	stored bool // the client is one of the command line
}

// Resolve says what an access token stands for, opaque or JWT: one that is not in
// the table is none, whatever its signature says. It is one indexed read. Whether
// the user may still act, and with what rights, its caller asks. Reasons:
// auth.invalid, auth.expired, auth.revoked, auth.unavailable.
func (p *Provider) Resolve(ctx context.Context, token string) (Resolved, error) {
	if !looksLikeToken(token) {
		return Resolved{}, problem.New(problem.AuthInvalid, nil)
	}
	t, err := p.read(ctx, token)
	if err != nil {
		return Resolved{}, err
	}
	return p.judge(t)
}

// read reads what is kept of a token that was not taken back.
func (p *Provider) read(ctx context.Context, token string) (Resolved, error) {
	var t Resolved
	var scopes string
	var auth, issued, until, gone int64
	var offline, stored int
	err := p.db.Look(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT g.id, g.kind, g.sub, g.client_id, g.session_id, g.offline, g.level, g.authenticated_at, g.revoked_at,
			t.scopes, t.jkt, t.x5t, t.created_at, t.expires_at, CASE WHEN c.id IS NULL THEN 0 ELSE 1 END
			FROM oauth_tokens t JOIN oauth_grants g ON g.id = t.grant_id LEFT JOIN oauth_clients c ON c.id = g.client_id WHERE t.hash = ?`, hashOf(token)).
			Scan(&t.Grant, &t.Kind, &t.Subject, &t.Client, &t.Session, &offline, &t.Level, &auth, &gone, &scopes, &t.JKT, &t.X5T, &issued, &until, &stored)
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Resolved{}, problem.New(problem.AuthInvalid, nil)
	case err != nil:
		return Resolved{}, problem.New(problem.AuthUnavailable, err)
	case gone != 0:
		return Resolved{}, problem.New(problem.AuthRevoked, nil)
	}
	t.Issued, t.Until, t.AuthTime = store.FromMicros(issued), store.FromMicros(until), store.FromMicros(auth)
	if offline != 0 {
		t.Session = ""
	}
	t.Scopes, t.stored = sorted(fields(scopes)), stored != 0
	return t, nil
}

// judge holds a token to the map and the time of now.
func (p *Provider) judge(t Resolved) (Resolved, error) {
	c := p.state.Load().clients[t.Client]
	if c == nil && !t.stored { // the map has it no more
		return Resolved{}, problem.New(problem.AuthRevoked, nil)
	}
	if !p.now().Before(t.Until) {
		return Resolved{}, problem.New(problem.AuthExpired, nil)
	}
	if c != nil {
		t.Scopes = c.may(slices.Clone(t.Scopes)) // they may be remembered, for others too
	}
	return t, nil
}
