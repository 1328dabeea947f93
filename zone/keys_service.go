package zone

import (
	"maps"
	"path"
	"strconv"
	"strings"
)

func serviceType() typ[Service] {
	placed := then(upstream(), func(u *Upstream, at Pos) { u.Pos = at })
	return object("service", "where it listens, what it exposes and whom it calls",
		key("upstream", oneOrList(placed), func(s *Service) *[]Upstream { return &s.Upstreams },
			"where it listens. Several: the one with the least outstanding requests is asked, those that fail are ejected").must(),
		key("owner", text(), func(s *Service) *string { return &s.Owner }, "the person or team in charge of its security"),
		key("layer", integer(1, 99), func(s *Service) *int { return &s.Layer }, "the more sensitive, the deeper: a layer talks to its neighbours").
			later(Listed, "network rules from layers are not there yet"),
		key("embedded", boolean(), func(s *Service) *bool { return &s.Embedded },
			"it uses the Go package guard: it is itself the inner door").is("false"),
		key("sidecar", dialAddress(), func(s *Service) *string { return &s.Sidecar }, "its inner door, which the gateway and its callers dial"),
		key("proof", oneOf("proof", proofWords()), func(s *Service) *Proof { return &s.Proof }, "how a forwarded request proves itself").is("mac"),
		key("plain_headers", boolean(), func(s *Service) *bool { return &s.PlainHeaders }, "X-User-* also without an inner door").is("false"),
		key("health", healthType(), func(s *Service) *string { return &s.Health }, "asked every 5 s, besides the dial").says("the dial alone"),
		key("routes", routesType(), func(s *Service) *[]*Route { return &s.Routes }, "what it exposes; a route that is not here does not exist"),
		key("calls", callsType(), func(s *Service) *[]Call { return &s.Calls }, "the operations of other services that it may call; the default is none"),
		key("egress", oneOrList(origin("egress", "an origin such as https://api.bank.example")), func(s *Service) *[]string { return &s.Egress }, "the outside hosts that it may reach").
			later(Listed, "the egress proxy is not there yet: nothing stops or proxies the service's way out"),
		key("data", dataType(), func(s *Service) *[]Data { return &s.Data }, "its stores, by name").
			later(Listed, "logins and encryption derived from data are not there yet"),
		key("selectors", selectorsType(), func(s *Service) *map[string][]string { return &s.Selectors }, "who may fetch this service's identity on this host").says("same uid").
			laterIf(unattested, Listed, "sha256, unit and cgroup are not attested yet: a service with one of them gets no identity from the Workload API"),
		key("outbound", socketType(), func(s *Service) *string { return &s.Outbound }, "where the sidecar takes the service's calls; Host = name of the callee").says("unix:DIR2/out.sock"),
	)
}

// unattested says whether selectors name what no process can be known by yet.
func unattested(selectors map[string][]string) bool {
	return len(selectors["sha256"])+len(selectors["unit"])+len(selectors["cgroup"]) > 0
}

// servicesType is the mapping of services; files named by include add to it.
func servicesType() typ[[]*Service] {
	reserved := name()
	names := scalar("service name", reserved.doc, `^[a-z][a-z0-9-]*$`, func(s string) (string, error) {
		if s == "gateway" || s == "control" || s == "sidecar" {
			return "", wrong("choose another name", "%s is the name of a part of Sallyport", quote(s))
		}
		return reserved.parse(s)
	})
	return object("services", "the services of the zone",
		&each[[]*Service, string, Service]{names, serviceType(), "a service", func(all *[]*Service, name string, at Pos, s Service) {
			s.Name, s.Pos = name, at
			*all = append(*all, &s)
		}})
}

func routesType() typ[[]*Route] {
	return object("routes", "routes by METHOD /path",
		&each[[]*Route, operation, Route]{operationType(), routeType(), "a route", func(all *[]*Route, op operation, at Pos, rt Route) {
			rt.Method, rt.Path, rt.Pos = op.method, op.path, at
			*all = append(*all, &rt)
		}})
}

func callsType() typ[[]Call] {
	long := object("call", "{call: METHOD /path, as: service}",
		key("call", operationType(), func(c *callAs) *operation { return &c.operation }, "the operation, as the callee declares its route").must(),
		key("as", oneOf("identity of a call", []word[bool]{{"service", true}}), func(c *callAs) *bool { return &c.service },
			"`service`: with a token of the caller itself, without a user").says("the user of the request in hand"),
	)
	one := then(short(long, operationType(), func(c *callAs, op operation) { c.operation = op }),
		func(c *callAs, at Pos) { c.at = at })
	return object("calls", "operations by the name of the service that is called",
		&each[[]Call, string, []callAs]{name(), oneOrList(one), "operations of the service of this name", func(all *[]Call, callee string, _ Pos, calls []callAs) {
			for _, c := range calls {
				*all = append(*all, Call{Service: callee, Method: c.method, Path: c.path, AsService: c.service, Pos: c.at})
			}
		}})
}

// callAs is one call as it is written.
type callAs struct {
	operation
	service bool
	at      Pos
}

func healthType() typ[string] {
	return scalar("health", "GET /path", `^GET /[!-~]*$`, func(s string) (string, error) {
		op, err := parseOperation(s)
		if err == nil && (op.method != "GET" || len(wildcards(op.path)) > 0 || strings.Contains(op.path, "{$}")) {
			err = errNo
		}
		return op.path, err
	})
}

func socketType() typ[string] {
	return scalar("socket", "unix:PATH", `^unix:.+$`, func(s string) (string, error) {
		p, ok := strings.CutPrefix(s, "unix:")
		if !ok || p == "" || path.Clean(p) != p || len(p) > maxSocket || hasControl(p) {
			return "", errNo
		}
		return p, nil
	})
}

// selectors are the ways to know a process, as they are written.
type selectors struct{ uid, gid, path, sha256, unit, cgroup []string }

func selectorsType() typ[map[string][]string] {
	number := integer(0, 1<<31-1)
	id := typ[string]{form: number.form}
	id.read = func(r *reader, w written) (string, bool) {
		n, ok := number.read(r, w)
		return strconv.Itoa(n), ok
	}
	digest := matching("digest", "SHA-256 in lower-case hexadecimal digits", `^[0-9a-f]{64}$`, 64)
	of := object("selectors", "what a process must have; all that are named",
		key("uid", oneOrList(id), func(s *selectors) *[]string { return &s.uid }, "user id"),
		key("gid", oneOrList(id), func(s *selectors) *[]string { return &s.gid }, "group id"),
		key("path", oneOrList(text()), func(s *selectors) *[]string { return &s.path }, "path of the executable"),
		key("sha256", oneOrList(digest), func(s *selectors) *[]string { return &s.sha256 }, "digest of the executable"),
		key("unit", oneOrList(text()), func(s *selectors) *[]string { return &s.unit }, "systemd unit"),
		key("cgroup", oneOrList(text()), func(s *selectors) *[]string { return &s.cgroup }, "control group"),
	)
	return convert(of, func(s selectors) map[string][]string {
		all := map[string][]string{"uid": s.uid, "gid": s.gid, "path": s.path, "sha256": s.sha256, "unit": s.unit, "cgroup": s.cgroup}
		maps.DeleteFunc(all, func(_ string, values []string) bool { return len(values) == 0 })
		return all
	})
}
