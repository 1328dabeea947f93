package identity

import (
	"context"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

// Principal returns the rights of a user as they are now, for a session that
// was found valid: the caller adds what the session knows (level, method, time
// of login, its id). reached is the level that the session was made with: whoever
// must hold a second factor by now, and came with one factor before, is refused with
// auth.step_up. A disabled or deleted account is refused with auth.revoked, the
// store's absence with auth.unavailable.
func (id *Identity) Principal(ctx context.Context, user string, reached int) (policy.Principal, error) {
	p, err := id.Entering(ctx, user, reached)
	if err == nil && p.StepUp {
		return policy.Principal{}, problem.New(problem.AuthStepUp, nil)
	}
	return p, err
}

// Entering is Principal for the outer door, which leads whoever has to step up to
// their second factor and nowhere else: such a principal says so.
func (id *Identity) Entering(ctx context.Context, user string, reached int) (policy.Principal, error) {
	a, found, err := id.accountByID(ctx, user)
	if err != nil {
		return policy.Principal{}, err
	}
	if !found || a.Disabled {
		return policy.Principal{}, problem.New(problem.AuthRevoked, nil)
	}
	return policy.Principal{
		Kind: policy.User, Subject: a.ID, Roles: a.Roles, Version: a.Version,
		StepUp: reached < policy.TwoFactors && id.mustHoldFactor(a),
	}, nil
}
