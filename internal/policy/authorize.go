package policy

import (
	"slices"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// Authorize judges a principal by a route's allow, roles and scopes, in this
// order (INTERFACE section 1):
//
//   - allow: any kind of the list suffices, and `anonymous` takes everybody;
//   - roles: any role of the list suffices;
//   - scopes: all are needed of an API key or OAuth token, and a route without
//     scopes takes neither; they never limit a session;
//   - mfa: two factors are needed of everybody, so that no key passes.
//
// It returns OK, AuthMissing or AuthStepUp where a login could help, else
// AccessKind, AccessRole or AccessScope. A nil principal is anonymous; a kind that is not
// known is refused everywhere.
func Authorize(rt *zone.Route, p *Principal) problem.Reason {
	if p == nil {
		p = &Principal{}
	}
	kind, known := p.Kind.allow()
	switch {
	case !known:
		return problem.AccessKind
	case rt.Allow&(kind|zone.AllowAnonymous) == 0 && p.Kind == Anonymous:
		return problem.AuthMissing
	case rt.Allow&(kind|zone.AllowAnonymous) == 0:
		return problem.AccessKind
	}
	if r := authorizeRoles(rt, p); r != problem.OK {
		return r
	}
	if limited(p) && (len(rt.Scopes) == 0 || !holdsAll(p.Scopes, rt.Scopes)) {
		return problem.AccessScope
	}
	switch {
	case !rt.MFA || p.Level >= TwoFactors:
		return problem.OK
	case p.Kind == Anonymous:
		return problem.AuthMissing
	}
	return problem.AuthStepUp
}

// Recent judges how long ago a principal logged in, by the route's max_age; at
// now. A key was never logged in: it counts from when it was made. It returns OK
// or AuthStepUp.
func Recent(rt *zone.Route, p *Principal, now time.Time) problem.Reason {
	if rt.MaxAge > 0 && now.Sub(p.AuthTime) > rt.MaxAge {
		return problem.AuthStepUp
	}
	return problem.OK
}

// AuthorizeCall is Authorize for a request that came from a service which the
// route's Callers name, on behalf of p. Such a caller satisfies `service`,
// whoever p is, if only its kind is known: but roles that the route asks for are
// asked of p all the same, and so are scopes of a key or OAuth token and the second
// factor of a user. A route
// that does not allow `service` judges p as it does outside.
//
// max_age is judged at the outer door, for the route that was asked for there: what
// p brings to another service does not say when p logged in. So nobody calls a route
// with max_age on behalf of a user.
func AuthorizeCall(rt *zone.Route, p *Principal) problem.Reason {
	if p == nil {
		p = &Principal{}
	}
	if r := authorizeCall(rt, p); r != problem.OK {
		return r
	}
	if rt.MaxAge > 0 && (p.Kind == User || rt.Allow&zone.AllowService == 0 && p.Kind != Service) {
		return problem.AuthStepUp
	}
	return problem.OK
}

func authorizeCall(rt *zone.Route, p *Principal) problem.Reason {
	if rt.Allow&zone.AllowService == 0 {
		return Authorize(rt, p)
	}
	if _, known := p.Kind.allow(); !known {
		return problem.AccessKind
	}
	if r := authorizeRoles(rt, p); r != problem.OK {
		return r
	}
	if limited(p) && !holdsAll(p.Scopes, rt.Scopes) {
		return problem.AccessScope
	}
	if rt.MFA && p.Kind == User && p.Level < TwoFactors {
		return problem.AuthStepUp
	}
	return problem.OK
}

func authorizeRoles(rt *zone.Route, p *Principal) problem.Reason {
	switch {
	case len(rt.Roles) == 0:
		return problem.OK
	case slices.ContainsFunc(rt.Roles, func(role string) bool { return slices.Contains(p.Roles, role) }):
		return problem.OK
	case p.Kind == Anonymous:
		return problem.AuthMissing
	default:
		return problem.AccessRole
	}
}

// limited says whether scopes limit p: all credentials do but sessions.
func limited(p *Principal) bool {
	switch p.Kind {
	case Anonymous, User, Service:
		return p.OAuth
	default:
		return true
	}
}

func holdsAll(held, needed []string) bool {
	for _, n := range needed {
		if !slices.Contains(held, n) {
			return false
		}
	}
	return true
}

// allow returns the word of `allow` for a kind; false for a kind that is not known.
func (k Kind) allow() (zone.Allow, bool) {
	switch k {
	case Anonymous:
		return zone.AllowAnonymous, true
	case User:
		return zone.AllowUser, true
	case Key:
		return zone.AllowKey, true
	case Client:
		return zone.AllowClient, true
	case Service:
		return zone.AllowService, true
	default:
		return 0, false
	}
}

// Callers are the services whose `calls` name an operation. The zero value lets
// nobody call.
type Callers []string

// Check returns OK when the map lets the service call the operation, else InsideCall.
func (c Callers) Check(service string) problem.Reason {
	if service != "" && slices.Contains(c, service) {
		return problem.OK
	}
	return problem.InsideCall
}

// Owns says whether an object that names owner is p's: the two are the same
// text. Nobody owns what names no owner, and an anonymous principal owns nothing.
func Owns(p *Principal, owner string) bool {
	return p != nil && p.Kind != Anonymous && p.Subject != AnonymousSubject && owner != "" && owner == p.Subject
}
