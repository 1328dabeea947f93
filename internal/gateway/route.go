package gateway

import (
	"fmt"
	"slices"
	"strings"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream"
	"sallyport.dev/zone"
)

// route is an operation of the map or a local one, with everything resolved
// that a request would else look up.
type route struct {
	*zone.Route               // never nil but for requests without a route; Route.Service is nil for local routes
	*counters                 // its metrics
	service     *upstream.Set // nil for local routes
	local       *Local        // nil for routes of services
	params      *policy.Params
	whole       *zone.Matcher // all routes of the service; nil when all are on this listener
	pattern     string        // METHOD /path, the label of records and metrics
	serviceName string        // likewise
	limitKey    string        // prefix of its keys in the limiter
	policyFor   string        // its RateLimit-Policy item; empty without a limit
	durable     bool          // its record is synced before the answer leaves
	bodyLimit   int64         // bytes
}

// buildRoutes makes the routes of a listener and the one matcher over them:
// what is not in it does not exist.
func (l *listener) buildRoutes(g *Gateway, cfg *Config) error {
	l.routes = make(map[*zone.Route]*route)
	l.unrouted = &route{counters: newCounters(g.metrics, "", "")}
	var all []*zone.Route
	for _, svc := range cfg.Zone.Services {
		whole, err := l.wholeOf(svc)
		if err != nil {
			return err
		}
		for _, zr := range svc.Routes {
			if !l.has(zr) {
				continue
			}
			params, err := policy.CompileParams(zr.Params)
			if err != nil {
				return fmt.Errorf("%s: %w", zr.Pattern(), err)
			}
			all = append(all, zr)
			l.addRoute(g, &route{
				Route: zr, service: l.rules.pools[svc.Name].Set, params: params, whole: whole,
				serviceName: svc.Name, bodyLimit: l.Limits.Body,
			})
		}
	}
	for i := range cfg.Locals {
		local := &cfg.Locals[i]
		if local.Listener != l.Name {
			continue
		}
		zr := &zone.Route{
			Listener: l.Name, Method: local.Method, Path: local.Path,
			Allow: local.Allow, Roles: local.Roles, Limit: local.Limit,
		}
		all = append(all, zr)
		rt := &route{
			Route: zr, local: local,
			serviceName: local.Service, durable: local.Durable, bodyLimit: local.Body,
		}
		if rt.bodyLimit <= 0 {
			rt.bodyLimit = l.Limits.Body
		}
		l.addRoute(g, rt)
	}
	matcher, err := zone.NewMatcher(all)
	if err != nil {
		return err
	}
	l.matcher = matcher
	return nil
}

// has says whether a route exists on the listener. One that services alone may
// call exists on none.
func (l *listener) has(zr *zone.Route) bool {
	return zr.Listener == l.Name && zr.Allow&^zone.AllowService != 0
}

// wholeOf returns the matcher over all routes of a service of which some are not
// on this listener, nil when all are. The service finds the most specific of all
// its routes: a wider one of this listener must not open a narrower one of another.
func (l *listener) wholeOf(svc *zone.Service) (*zone.Matcher, error) {
	if !slices.ContainsFunc(svc.Routes, func(zr *zone.Route) bool { return !l.has(zr) }) {
		return nil, nil
	}
	whole, err := zone.NewMatcher(svc.Routes)
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", svc.Name, err)
	}
	return whole, nil
}

func (l *listener) addRoute(g *Gateway, rt *route) {
	rt.pattern = rt.Pattern()
	rt.counters = newCounters(g.metrics, rt.serviceName, rt.pattern)
	rt.limitKey = limitName("r", rt.serviceName+" "+rt.pattern)
	rt.policyFor = policyItem("route", rt.Limit)
	l.routes[rt.Route] = rt
}

// routeStage finds the declared route. There is no redirect and no cleaning:
// another path is another path.
func routeStage(g *Gateway, t *trip) problem.Reason {
	l := t.listener
	matched, found := l.matcher.Match(t.r.Method, t.path, &t.values)
	if found != zone.Matched {
		if t.encodedSlash { // no route takes it here, so nobody can tell what it means
			return problem.RequestPath
		}
		if found == zone.NotFound {
			return problem.RouteUnknown
		}
		return wrongMethod(g, t)
	}
	if whole := l.routes[matched].whole; whole != nil {
		if narrower, _ := whole.Match(t.r.Method, t.path, nil); narrower != matched {
			return problem.RouteUnknown // it is another listener's
		}
	}
	t.route = l.routes[matched]
	if t.encodedSlash && !t.route.EncodedSlash {
		return problem.RequestPath
	}
	// A restriction that cannot be enforced yet closes the route: to leave it out
	// would open it.
	if len(t.route.NotEnforced) > 0 {
		return problem.ZoneNotEnforced
	}
	if b := t.body; b != nil {
		b.limit.Store(t.route.bodyLimit)
	}
	if t.r.ContentLength > t.route.bodyLimit {
		return problem.RequestBodyTooLarge
	}
	return problem.OK
}

// wrongMethod answers a preflight of a route with cors, and refuses the rest
// with the methods that there are (RFC 9110 section 15.5.6).
func wrongMethod(g *Gateway, t *trip) problem.Reason {
	if g.corsPreflight(t) {
		return problem.OK // answered and recorded: the walk ends here
	}
	t.extra.Set("Allow", strings.Join(t.listener.matcher.Methods(t.path), ", "))
	return problem.RouteMethod
}
