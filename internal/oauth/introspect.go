package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/recall"
)

// introspection is the answer of RFC 7662. The zero value is all that is said of
// a token that is not active, or another client's.
type introspection struct {
	Active    bool          `json:"active"`
	Issuer    string        `json:"iss,omitempty"`
	Subject   string        `json:"sub,omitempty"`
	Client    string        `json:"client_id,omitempty"`
	Scope     string        `json:"scope,omitempty"`
	Audience  string        `json:"aud,omitempty"`
	Issued    int64         `json:"iat,omitempty"`
	NotBefore int64         `json:"nbf,omitempty"`
	Expires   int64         `json:"exp,omitempty"`
	Type      string        `json:"token_type,omitempty"`
	Bound     *confirmation `json:"cnf,omitempty"`
	Level     string        `json:"acr,omitempty"`
	AuthTime  int64         `json:"auth_time,omitempty"`
}

// confirmation is what a token is bound to (RFC 7800).
type confirmation struct {
	JKT string `json:"jkt,omitempty"`
	X5T string `json:"x5t#S256,omitempty"`
}

// secretive says whether the client shows who it is by a secret. Such a call for
// introspection needs nothing of the library, and services make many of them.
func (c *call) secretive() bool {
	return c.client != nil && len(c.client.secrets) > 0
}

// introspect answers an introspection of a client with a secret.
func (p *Provider) introspect(r *http.Request, c *call) (*reply, error) {
	presented := c.form.Get("client_secret")
	if c.method == goidc.AuthnMethodSecretBasic {
		_, presented, _ = r.BasicAuth()
	}
	if !c.client.secret(presented) {
		return nil, &fault{code: "invalid_client", text: "the client could not show who it is", status: http.StatusUnauthorized}
	}
	if !c.form.Has("token") {
		return nil, invalid("token is required")
	}
	a := newReply()
	p.introspected(r, c, a)
	return a, nil
}

// introspected answers for a client that has shown who it is. It is told of its own
// tokens only.
func (p *Provider) introspected(r *http.Request, c *call, a *reply) {
	var answer any = introspection{}
	t, err := p.live(r.Context(), c.form.Get("token"))
	a.status = http.StatusOK
	switch {
	case err == nil && t.Client == c.claimed:
		answer = p.introspection(t)
	case err != nil && problem.ReasonOf(err).Status() >= http.StatusInternalServerError:
		a.status, answer = http.StatusServiceUnavailable, errorBody{Code: "temporarily_unavailable"}
		a.header.Set("Retry-After", "1")
	}
	a.header.Set("Content-Type", "application/json")
	a.body.Reset()
	_ = json.NewEncoder(&a.body).Encode(answer) // plain values always marshal
}

func (p *Provider) introspection(t Resolved) introspection {
	i := introspection{
		Active: true, Issuer: p.Issuer, Subject: t.Subject, Client: t.Client, Scope: strings.Join(t.Scopes, " "), Audience: p.Issuer,
		Issued: t.Issued.Unix(), NotBefore: t.Issued.Unix(), Expires: t.Until.Unix(), Type: "Bearer",
	}
	if t.JKT != "" {
		i.Type = "DPoP"
	}
	if t.JKT != "" || t.X5T != "" {
		i.Bound = &confirmation{t.JKT, t.X5T}
	}
	if t.Kind == kindUser {
		i.Level, i.AuthTime = acrOf(t.Level), t.AuthTime.Unix()
	}
	return i
}

// live is Resolve for a token whose user may act, remembered until a revocation.
func (p *Provider) live(ctx context.Context, token string) (Resolved, error) {
	if !looksLikeToken(token) {
		return Resolved{}, problem.New(problem.AuthInvalid, nil)
	}
	ask := func(ctx context.Context) (t Resolved, until time.Time, err error) {
		if t, err = p.read(ctx, token); err != nil {
			return Resolved{}, time.Time{}, err
		}
		until, err = p.alive(ctx, t)
		return t, until, err
	}
	var t Resolved
	var err error
	if p.Introspected == nil {
		t, _, err = ask(ctx)
	} else {
		t, err = p.Introspected.Recall(ctx, recall.Key{Hash: sha256.Sum256([]byte(token))}, ask)
	}
	if err != nil {
		return Resolved{}, err
	}
	return p.judge(t)
}

// alive asks whether the user of a token may act, and until when that and the token
// may be believed.
func (p *Provider) alive(ctx context.Context, t Resolved) (until time.Time, err error) {
	if t.Kind != kindUser {
		return t.Until, nil
	}
	until, err = p.Users.Active(ctx, t.Subject, t.Session)
	if until.IsZero() || t.Until.Before(until) {
		until = t.Until
	}
	return until, err
}
