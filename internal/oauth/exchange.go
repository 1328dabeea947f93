package oauth

import (
	"context"
	"slices"
	"strings"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// exchange makes of a user's access token another for the client that asks
// (RFC 8693): with no more scopes, for no longer, and it ends with the first. Only
// confidential clients may, whose grants say so; a token that is bound to a key
// must be shown with that key; what was exchanged is not exchanged again. Inside
// tokens are neither taken nor given here.
func (p *Provider) exchange(ctx context.Context, r goidc.TokenExchangeRequest) (goidc.TokenExchangeResult, error) {
	c := callOf(ctx)
	no := goidc.TokenExchangeResult{}
	const access = goidc.TokenTypeIdentifierAccessToken
	switch {
	case c.client == nil || c.client.public():
		return no, goidc.NewError(goidc.ErrorCodeUnauthorizedClient, "the client can keep no secret")
	case r.ActorToken != "" || r.SubjectTokenType != access || r.RequestedTokenType != "" && r.RequestedTokenType != access:
		return no, goidc.NewError(goidc.ErrorCodeInvalidRequest, "an access token is exchanged for an access token")
	case slices.ContainsFunc(slices.Concat(r.Audience, r.Resource), func(to string) bool { return to != p.Issuer }):
		return no, goidc.NewError(goidc.ErrorCodeInvalidTarget, "tokens are for this zone")
	}
	t, err := p.Resolve(ctx, r.SubjectToken)
	if err == nil {
		_, err = p.alive(ctx, t)
	}
	if err != nil {
		if problem.ReasonOf(err).Status() >= 500 {
			return no, c.fail(err)
		}
		return no, goidc.WrapError(goidc.ErrorCodeInvalidRequest, "the subject token is not valid", err)
	}
	parent, err := (&stores{p}).grant(ctx, "id = ?", t.Grant)
	if err != nil {
		return no, err
	}
	if t.Kind != kindUser || parent.parent != "" || t.JKT != "" && t.JKT != c.jkt() || t.X5T != "" && t.X5T != c.x5t() {
		return no, goidc.NewError(goidc.ErrorCodeInvalidRequest, "the subject token cannot be exchanged")
	}
	f := facts{
		Kind: kindUser, Session: t.Session, Offline: t.Session == "", Level: t.Level, Auth: store.Micros(t.AuthTime),
		Parent: t.Grant, Until: store.Micros(t.Until), Granted: strings.Join(t.Scopes, " "),
	}
	if t.Session != "" {
		f.SID = p.sid(t.Session, c.client.ID)
	}
	kept := map[string]any{}
	f.put(kept)
	return goidc.TokenExchangeResult{Subject: t.Subject, Store: kept}, nil
}

// exchanged gives the new grant its scopes: those that were asked for, or all that
// the subject token has and the client may have.
func (p *Provider) exchanged(_ context.Context, c *call, g *goidc.Grant) error {
	granted := fields(factsOf(g.Store).Granted)
	var scopes []string
	if asked := fields(g.Scopes); len(asked) > 0 {
		for _, s := range asked {
			if !slices.Contains(granted, s) {
				return goidc.NewError(goidc.ErrorCodeInvalidScope, "the subject token has no such scope")
			}
		}
		scopes = asked
	} else {
		for _, s := range granted {
			if slices.Contains(c.client.scopes(), s) {
				scopes = append(scopes, s)
			}
		}
	}
	scopes = slices.DeleteFunc(scopes, func(s string) bool { return s == scopeOffline })
	if len(scopes) == 0 {
		return goidc.NewError(goidc.ErrorCodeInvalidScope, "no scope is left")
	}
	g.Scopes = strings.Join(slices.Compact(sorted(scopes)), " ")
	return nil
}
