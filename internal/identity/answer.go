package identity

import (
	"net/http"
	"strings"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
)

// The answers of the account service in JSON.
type (
	userJSON struct {
		ID    string   `json:"id"`
		Email string   `json:"email"`
		Roles []string `json:"roles"`
	}
	loginJSON struct {
		Token     string   `json:"token,omitempty"` // not where the session came by a cookie
		ExpiresAt string   `json:"expires_at"`
		User      userJSON `json:"user"`
		// DeleteAt says that the account is to be deleted, and may be kept until then.
		DeleteAt string   `json:"delete_at,omitempty"`
		Codes    []string `json:"recovery_codes,omitempty"` // made with the first factor, told once
	}
	sessionJSON struct {
		ID         string `json:"id"`
		CreatedAt  string `json:"created_at"`
		LastUsedAt string `json:"last_used_at"`
		ExpiresAt  string `json:"expires_at"`
		Client     string `json:"client"`
		Agent      string `json:"agent"`
		Level      int    `json:"level"`
		Method     string `json:"method"`
		Current    bool   `json:"current"`
	}
	sessionsJSON struct {
		Sessions []sessionJSON `json:"sessions"`
	}
	revokedJSON struct {
		Revoked int `json:"revoked"`
	}
)

func userAnswer(u User) userJSON { return userJSON{ID: u.ID, Email: u.Email, Roles: u.Roles} }

// caller returns the user of a request. Reasons: auth.missing for nobody,
// access.kind for a key, a client, a program that acts for a user by OAuth, or a
// user of another issuer, who have no account to look after.
func caller(r *http.Request) (*policy.Principal, error) {
	switch p := policy.PrincipalFrom(r.Context()); {
	case p.Kind == policy.User && !p.OAuth && !ofIssuer(p):
		return p, nil
	case p.Kind == policy.Anonymous:
		return nil, problem.New(problem.AuthMissing, nil)
	default:
		return nil, problem.New(problem.AccessKind, nil)
	}
}

// ofIssuer says whether a user is one of another issuer: its subject names that
// (PROVIDER:SUB), which no account of this zone does.
func ofIssuer(p *policy.Principal) bool {
	return p.Kind == policy.User && strings.Contains(p.Subject, ":")
}

// onlyPost answers a path that is a page to browsers and takes POST from others.
func onlyPost(w http.ResponseWriter) error {
	w.Header().Set("Allow", http.MethodPost)
	return problem.New(problem.RouteMethod, nil)
}
