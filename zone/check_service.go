package zone

import (
	"fmt"
	"net"
	"net/url"
)

func (r *reader) checkService(z *Zone, s *Service) {
	path := servicePath(s)
	if s.Embedded && s.Sidecar != "" {
		r.fail(r.at(path+".sidecar").key, fmt.Sprintf("service %s has both a sidecar and embedded", s.Name), "keep one: a service has one inner door")
	}
	for _, u := range s.Upstreams {
		switch {
		case !u.Local() && !s.InnerDoor():
			r.fail(u.Pos, fmt.Sprintf("service %s has no inner door and is not on this host", s.Name),
				"write `embedded: true` when it uses the package guard, `sidecar: HOST:PORT`, or listen on loopback or a unix socket")
		case !u.Local() && s.Sidecar != "":
			r.fail(u.Pos, fmt.Sprintf("service %s is not on the host of its sidecar", s.Name), "listen on loopback or a unix socket; only the sidecar speaks to it")
		case !u.Local() && u.Scheme == "http":
			r.fail(u.Pos, fmt.Sprintf("service %s would be called over plain http on the network", s.Name), "write https://")
		case s.Sidecar != "" && u.Scheme == "https":
			r.fail(u.Pos, fmt.Sprintf("service %s is spoken to by its own sidecar, which needs no https", s.Name), "write http:// or unix:")
		}
		r.checkDial(z, u.Pos, u.Address)
	}
	r.checkDial(z, r.at(path+".sidecar").value, s.Sidecar)
	written := map[Call]bool{}
	for _, c := range s.Calls {
		at := c.Pos
		if c.Pos = (Pos{}); written[c] && c.Method != "" {
			r.fail(at, fmt.Sprintf("calls: %s %s of %s is there twice", c.Method, c.Path, c.Service), "keep one of them")
		}
		written[c] = true
	}
	for _, other := range z.Services {
		if other == s {
			return // the ones after s will find s
		}
		if s.Sidecar != "" && s.Sidecar == other.Sidecar {
			r.fail(r.at(path+".sidecar").value, fmt.Sprintf("services %s and %s have the same sidecar", other.Name, s.Name), "give each service its own")
		}
	}
}

// checkDial refuses an upstream that is a listener of the zone itself: it would
// put the admin listener outside, or send requests round in circles.
func (r *reader) checkDial(z *Zone, at Pos, address string) {
	for _, d := range r.doorsOf(z) {
		host, _, _ := net.SplitHostPort(address)
		doorHost, _, _ := net.SplitHostPort(d.address)
		if overlap(address, d.address) && (!anyAddress(doorHost) || loopback(host)) {
			r.fail(at, fmt.Sprintf("%s is the zone's own listener %s", address, d.name), "write the address on which the service listens")
		}
	}
}

func (r *reader) checkCall(z *Zone, s *Service, c Call) {
	callee := z.Service(c.Service)
	if c.Method == "" { // was not read
		return
	}
	if callee == nil {
		names := make([]string, len(z.Services))
		for i, s := range z.Services {
			names[i] = s.Name
		}
		r.fail(c.Pos, fmt.Sprintf("calls: there is no service %s", c.Service), suggest(c.Service, names))
		return
	}
	op := operation{c.Method, c.Path}
	if rt := r.declared(callee, op); rt != nil {
		if rt.Path != c.Path {
			r.fail(c.Pos, fmt.Sprintf("calls: service %s names the wildcards of %s otherwise", callee.Name, op), "write "+rt.Pattern())
		}
		return
	}
	if len(r.errors) == maxErrors { // to search what was meant takes its time
		r.more++
		return
	}
	known := make([]string, len(callee.Routes))
	for i, rt := range callee.Routes {
		known[i] = rt.Pattern()
	}
	mend := "declare the route there"
	if len(known) > 0 {
		mend += "; " + suggest(op.String(), known)
	}
	r.fail(c.Pos, fmt.Sprintf("calls: service %s has no route %s", callee.Name, op), mend)
}

// declared returns the route of a service that takes the paths of an operation,
// whatever the names of its wildcards; nil when there is none.
func (r *reader) declared(s *Service, op operation) *Route {
	if r.routes == nil {
		r.routes = make(map[*Service]map[operation]*Route)
	}
	index := r.routes[s]
	if index == nil {
		index = make(map[operation]*Route, len(s.Routes))
		for _, rt := range s.Routes {
			index[operation{rt.Method, nameless(rt.Path)}] = rt
		}
		r.routes[s] = index
	}
	return index[operation{op.method, nameless(op.path)}]
}

func (r *reader) checkData(s *Service, d Data) {
	sql := d.Engine == "postgres" || d.Engine == "mysql"
	for name, t := range d.Tables {
		path := pathOf(pathOf(servicePath(s)+".data", d.Name)+".tables", name) + ".rights"
		for _, right := range t.Rights {
			if broker := right == "read" || right == "write"; d.Engine != "" && broker == sql {
				r.fail(r.at(path).value, fmt.Sprintf("rights: %s has no right %s", d.Engine, right), "SQL has select, insert, update, delete; a broker has read, write")
			}
		}
	}
}

// safeRedirect says whether a code sent there stays private (RFC 8252 section 7.3).
func safeRedirect(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && (u.Scheme == "https" || loopback(u.Hostname()))
}
