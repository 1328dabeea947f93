package sidecar

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"sallyport.dev/guard"
	"sallyport.dev/internal/problem"
)

// facts are what the service is told in plain of who a request acts for. Empty
// ones are not said.
type facts struct {
	user, roles, scopes, client, caller, correlation, trace string
}

// factsOf returns what the guard knows of a request that came through Protect.
func factsOf(r *http.Request) (facts, error) {
	ctx := r.Context()
	f, err := plainly(guard.PrincipalFrom(ctx), guard.Caller(ctx))
	if err != nil {
		return facts{}, err
	}
	f.correlation = guard.CorrelationID(ctx)
	// The guard has put its own trace there. What Connection nominates is removed
	// from the copy for the service, not from here.
	if v := r.Header[headerTrace]; len(v) == 1 {
		f.trace = v[0]
	}
	return f, nil
}

// plainly says a principal in header values.
func plainly(p *guard.Principal, caller string) (facts, error) {
	f := facts{caller: caller}
	if p.Anonymous() {
		return f, f.check()
	}
	f.user, f.client = p.Subject, p.Client
	var err error
	if f.roles, err = list(p.Roles); err != nil {
		return facts{}, err
	}
	if f.scopes, err = list(p.Scopes); err != nil {
		return facts{}, err
	}
	return f, f.check()
}

// list joins members by commas (RFC 9110 section 5.6.1).
func list(members []string) (string, error) {
	for _, m := range members {
		if m == "" || strings.Contains(m, ",") {
			return "", problem.New(problem.InsideTokenInvalid, errors.New("a role or scope cannot be said in a list"))
		}
	}
	return strings.Join(members, ","), nil
}

// check refuses values that would not be read as they were written.
func (f *facts) check() error {
	for _, v := range []string{f.user, f.roles, f.scopes, f.client, f.caller} {
		if strings.Trim(v, " ") != v {
			return problem.New(problem.InsideTokenInvalid, errors.New("a fact begins or ends with a blank"))
		}
		for i := range len(v) {
			if v[i] < ' ' || v[i] > '~' {
				return problem.New(problem.InsideTokenInvalid, errors.New("a fact cannot be said in a header"))
			}
		}
	}
	return nil
}

// fact is one header that the sidecar says.
type fact struct{ name, value string }

// fields returns the facts as headers; those that are empty are not said.
func (f *facts) fields() [7]fact {
	return [...]fact{
		{headerUser, f.user}, {headerRoles, f.roles}, {headerScopes, f.scopes}, {headerClient, f.client},
		{headerCaller, f.caller}, {headerCorrelation, f.correlation}, {headerTrace, f.trace},
	}
}

// correlationOf returns the correlation id for a refusal.
func correlationOf(ctx context.Context) string { return guard.CorrelationID(ctx) }
