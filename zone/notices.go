package zone

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// observe tells what no single key shows: what is weak, what can never pass,
// and what is restricted by a part that is missing. Then it closes the routes
// whose restrictions are not enforced.
func (r *reader) observe(z *Zone) {
	if host, _, _ := net.SplitHostPort(z.Admin); !loopback(host) {
		r.notice(r.at("listeners.admin.address").value, "listeners.admin.address", Warning, "the admin listener can be reached from other hosts; keep it on loopback")
	}
	if z.Identity.Registration == RegistrationOpen && z.Identity.Mail == nil {
		r.notice(r.at("identity.registration").value, "identity.registration", Warning, "open registration without mail makes accounts of addresses that nobody proved; for development only")
	}
	for _, s := range z.Services {
		r.observeService(z, s)
		for _, rt := range s.Routes {
			r.observeRoute(rt)
		}
		for _, c := range s.Calls {
			r.observeCall(z, s, c)
		}
	}
	r.close(z)
}

func (r *reader) observeService(z *Zone, s *Service) {
	path := servicePath(s)
	if !s.InnerDoor() {
		r.notice(s.Pos, path, Warning, "no inner door: SV-03 to SV-10 are not met for this service; write `embedded: true` when it uses the package guard")
	}
	for _, u := range s.Upstreams {
		for _, other := range z.Services {
			if other != s && slices.ContainsFunc(other.Upstreams, func(o Upstream) bool { return o.Address == u.Address && o.Network == u.Network }) {
				r.notice(u.Pos, path+".upstream", Warning, fmt.Sprintf("service %s has the same upstream: one process cannot be two services", other.Name))
			}
		}
		at := path + ".upstream"
		switch {
		case s.Embedded && u.Scheme == "http" && u.Network == "tcp":
			r.notice(u.Pos, at, Warning, "reached over mutual TLS all the same, as every inner door; write https://"+u.Address)
		case s.Embedded:
		case !u.Local() || u.Scheme == "https":
			r.notice(u.Pos, at, StopsServe, "without `embedded` a service is reached in plain, by the gateway or its sidecar, on loopback and unix sockets only")
		case u.Network == "tcp":
			r.notice(u.Pos, at, Warning, "plain loopback: any process of this host can speak to it; a unix socket is better")
		}
	}
	if _, written := r.places[path+".proof"]; written && !s.InnerDoor() {
		r.notice(r.at(path+".proof").value, path+".proof", RefusesRoute, "the inner door checks the proof, and the service has none: every route of it answers 503 zone.not_enforced")
	}
}

func (r *reader) observeRoute(rt *Route) {
	path := routePath(rt)
	at := r.at(path + ".allow").value
	outside := rt.Allow & (AllowKey | AllowClient)
	if outside != 0 && len(rt.Scopes) == 0 {
		r.notice(at, path+".scopes", Warning, fmt.Sprintf("without scopes no %s ever passes; write `scopes: [NAME]`", strings.Join(outside.Kinds(), " or ")))
	}
	if machines := rt.Allow & (AllowKey | AllowClient); rt.MFA && machines != 0 {
		r.notice(at, path+".mfa", Warning, fmt.Sprintf("two factors are a person's: no %s ever passes", strings.Join(machines.Kinds(), " or ")))
	}
	if rt.Path == "/" || strings.HasSuffix(rt.Path, "/") {
		r.notice(rt.Pos, path, Warning, fmt.Sprintf("a trailing slash takes every path below it; write %s{$} for this path alone", rt.Path))
	}
	if _, written := r.places[path+".proof"]; written && !rt.Service.InnerDoor() {
		r.notice(r.at(path+".proof").value, path+".proof", RefusesRoute, "the inner door checks the proof, and the service has none: the route answers 503 zone.not_enforced")
	}
	// The gateway checks the owner in the path by itself; the rest takes a guard.
	if rt.Owner.Kind > OwnerPath && !rt.Service.InnerDoor() {
		r.notice(r.at(path+".owner").value, path+".owner", RefusesRoute, "this ownership is checked by the inner door, and the service has none: the route answers 503 zone.not_enforced")
	}
}

func (r *reader) observeCall(z *Zone, s *Service, c Call) {
	path := pathOf(servicePath(s)+".calls", c.Service)
	if !s.InnerDoor() {
		r.notice(c.Pos, path, Warning, "a service without inner door has nothing to make calls with")
	}
	for _, rt := range z.Service(c.Service).Routes {
		if rt.Method == c.Method && rt.Path == c.Path && c.AsService && rt.Allow&(AllowService|AllowAnonymous) == 0 {
			r.notice(c.Pos, path, Warning, fmt.Sprintf("the call can never pass: %s of %s does not allow service", rt.Pattern(), c.Service))
		}
		if rt.Method == c.Method && rt.Path == c.Path && !c.AsService && rt.MaxAge > 0 {
			r.notice(c.Pos, path, Warning, fmt.Sprintf("on behalf of a user the call never passes: %s of %s has max_age, which the outer door alone can judge", rt.Pattern(), c.Service))
		}
	}
}

// close fills in Route.NotEnforced from the notices that refuse a route, or
// every route of a service.
func (r *reader) close(z *Zone) {
	refused := map[string][]string{} // keys by the path of the route or service that they restrict
	for _, n := range r.notices {
		if n.Effect == RefusesRoute {
			above := parentOf(n.Path)
			refused[above] = append(refused[above], nameOf(n.Path))
		}
	}
	for _, s := range z.Services {
		for _, rt := range s.Routes {
			keys := slices.Concat(refused[servicePath(s)], refused[routePath(rt)])
			slices.Sort(keys)
			rt.NotEnforced = slices.Compact(keys)
		}
	}
}
