package gateway

import (
	"net/url"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// authorizeStage decides what the gateway can: kind, roles, scopes and
// login of the principal, the types of the parameters, and the owner where the path names it.
// What else concerns a single object the guard decides, which sees it.
//
// The principal comes first: what a route takes is no business of those who may
// not call it.
func authorizeStage(g *Gateway, t *trip) problem.Reason {
	if reason := g.admits(t.route, t.principal); reason != problem.OK {
		return reason
	}
	if t.route.Signed {
		if reason := g.checkSignature(t); reason != problem.OK {
			return reason
		}
	}
	if reason := t.route.checkParams(&t.values, t.query); reason != problem.OK {
		return reason
	}
	if o := t.route.Owner; o.Kind == zone.OwnerPath && !policy.Owns(t.principal, t.values.Get(o.Arg)) {
		return problem.OwnerDenied
	}
	switch t.route.Stream {
	case zone.StreamWebSocket:
		return g.openWebSocket(t)
	case zone.StreamGRPC:
		return openGRPC(t)
	}
	return problem.OK
}

// admits judges a principal by a route: also while a stream is open. A login that
// lacks its second factor reaches local routes alone, which judge it themselves:
// they are the way to that.
func (g *Gateway) admits(rt *route, p *policy.Principal) problem.Reason {
	if reason := policy.Authorize(rt.Route, p); reason != problem.OK {
		return reason
	}
	if p.StepUp && rt.local == nil {
		return problem.AuthStepUp
	}
	return policy.Recent(rt.Route, p, g.clock())
}

// checkParams checks the values of a path and of a raw query.
func (rt *route) checkParams(values *zone.Values, rawQuery string) problem.Reason {
	if rt.params.Empty() {
		return problem.OK
	}
	var query url.Values
	if rawQuery != "" {
		var err error
		// checkQuery has let pass only what every parser reads alike.
		if query, err = url.ParseQuery(rawQuery); err != nil {
			return problem.RequestQuery
		}
	}
	return rt.params.Check(values, query)
}
