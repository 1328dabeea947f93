package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
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
}

// Resolve says what an access token stands for, opaque or JWT: one that is not in
// the table is none, whatever its signature says. It is one indexed read. Whether
// the user may still act, and with what rights, its caller asks. Reasons:
// auth.invalid, auth.expired, auth.revoked, auth.unavailable.
func (p *Provider) Resolve(ctx context.Context, token string) (Resolved, error) {
	if !looksLikeToken(token) {
		return Resolved{}, problem.New(problem.AuthInvalid, nil)
	}
	var t Resolved
	var scopes string
	var auth, issued, until, gone int64
	var offline, known int
	err := p.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT g.id, g.kind, g.sub, g.client_id, g.session_id, g.offline, g.level, g.authenticated_at, g.revoked_at,
			t.scopes, t.jkt, t.x5t, t.created_at, t.expires_at, CASE WHEN c.id IS NULL THEN 0 ELSE 1 END
			FROM oauth_tokens t JOIN oauth_grants g ON g.id = t.grant_id LEFT JOIN oauth_clients c ON c.id = g.client_id WHERE t.hash = ?`, hashOf(token)).
			Scan(&t.Grant, &t.Kind, &t.Subject, &t.Client, &t.Session, &offline, &t.Level, &auth, &gone, &scopes, &t.JKT, &t.X5T, &issued, &until, &known)
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Resolved{}, problem.New(problem.AuthInvalid, nil)
	case err != nil:
		return Resolved{}, problem.New(problem.AuthUnavailable, err)
	case gone != 0 || known == 0 && p.state.Load().clients[t.Client] == nil: // a client that the map has no more
		return Resolved{}, problem.New(problem.AuthRevoked, nil)
	}
	t.Issued, t.Until, t.AuthTime = store.FromMicros(issued), store.FromMicros(until), store.FromMicros(auth)
	if !p.now().Before(t.Until) {
		return Resolved{}, problem.New(problem.AuthExpired, nil)
	}
	if offline != 0 {
		t.Session = ""
	}
	t.Scopes = sorted(fields(scopes))
	if c := p.state.Load().clients[t.Client]; c != nil {
		t.Scopes = c.may(t.Scopes)
	}
	return t, nil
}

// introspected answers an introspection (RFC 7662) of a client that the library
// has let in, from our own table. It is told of its own tokens only.
func (p *Provider) introspected(r *http.Request, c *call, a *reply) {
	answer := map[string]any{"active": false}
	t, err := p.Resolve(r.Context(), c.form.Get("token"))
	if err == nil && t.Client == c.claimed {
		err = p.alive(r.Context(), t)
	}
	if err == nil && t.Client == c.claimed {
		answer = map[string]any{
			"active": true, "iss": p.Issuer, "sub": t.Subject, "client_id": t.Client, "scope": strings.Join(t.Scopes, " "), "aud": p.Issuer,
			"iat": t.Issued.Unix(), "nbf": t.Issued.Unix(), "exp": t.Until.Unix(), "token_type": "Bearer",
		}
		confirmation := map[string]string{}
		if t.JKT != "" {
			answer["token_type"] = "DPoP"
			confirmation["jkt"] = t.JKT
		}
		if t.X5T != "" {
			confirmation["x5t#S256"] = t.X5T
		}
		if len(confirmation) > 0 {
			answer["cnf"] = confirmation
		}
		if t.Kind == kindUser {
			answer["acr"], answer["auth_time"] = acrOf(t.Level), t.AuthTime.Unix()
		}
	}
	a.status = http.StatusOK
	if problem.ReasonOf(err).Status() >= http.StatusInternalServerError && err != nil {
		a.status, answer = http.StatusServiceUnavailable, map[string]any{"error": "temporarily_unavailable"}
		a.header.Set("Retry-After", "1")
	}
	a.header.Set("Content-Type", "application/json")
	a.body.Reset()
	_ = json.NewEncoder(&a.body).Encode(answer) // plain values always marshal
}

// alive asks whether the user of a token may act.
func (p *Provider) alive(ctx context.Context, t Resolved) error {
	if t.Kind != kindUser {
		return nil
	}
	return p.Users.Active(ctx, t.Subject, t.Session)
}
