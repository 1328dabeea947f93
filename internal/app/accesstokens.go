package app

import (
	"context"

	"sallyport.dev/internal/control"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

// accessTokens tells control of the access tokens of the zone's own provider:
// from the store each time, so that a revocation made anywhere is known.
type accessTokens struct{ credentials *credentials }

// AccessToken knows access tokens and nothing else: a session, an API key, a
// token of another issuer or an inside token is none.
func (a accessTokens) AccessToken(ctx context.Context, value string) (control.AccessToken, error) {
	p, _, err := a.credentials.resolveToken(ctx, value)
	if err == nil && p.StepUp { // as at the door
		err = problem.New(problem.AuthStepUp, nil)
	}
	if err != nil {
		return control.AccessToken{}, err
	}
	return control.AccessToken{
		Subject: p.Subject, Roles: p.Roles, Scopes: p.Scopes, Level: p.Level, Client: p.Client,
		Bound: p.Bound != (policy.Bound{}),
	}, nil
}
