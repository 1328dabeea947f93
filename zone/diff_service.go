package zone

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (d *difference) services(before, after *Zone) {
	var names []string
	for _, s := range slices.Concat(before.Services, after.Services) {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	none := &Service{}
	was, now := reachOf(before), reachOf(after)
	for _, name := range slices.Compact(names) {
		b, a := cmp.Or(before.Service(name), none), cmp.Or(after.Service(name), none)
		d.routes(was, now, b, a)
		d.what = "service " + name
		d.value(innerDoor(b), innerDoor(a), "every caller", "inner door")
		if b != none && a != none {
			d.value(upstreams(b), upstreams(a), "every caller", "upstream")
			d.value(b.Health, a.Health, "the gateway, without a token", "health")
			d.value(layerText(b), layerText(a), "every caller", "layer")
			d.value(selectorText(b), selectorText(a), "processes that fetch its identity", "selectors")
			d.value(fieldText(b), fieldText(a), "readers of its data", "fields")
		}
		d.set(b.Egress, a.Egress, func(dir Direction, origin string) {
			d.add(dir, "service "+name, "egress to "+origin+" "+words(dir))
		})
		d.set(rights(b), rights(a), func(dir Direction, right string) {
			d.add(dir, "service "+name, right+" "+words(dir))
		})
		d.set(calls(b), calls(a), func(dir Direction, call string) {
			d.add(dir, "service "+name, "call of "+call+" "+words(dir))
		})
	}
}

func upstreams(s *Service) string {
	list := make([]string, len(s.Upstreams))
	for i, u := range s.Upstreams {
		list[i] = u.URL
	}
	return strings.Join(list, ", ")
}

func innerDoor(s *Service) string {
	switch {
	case s.Embedded:
		return "embedded"
	case s.Sidecar != "":
		return "sidecar " + s.Sidecar
	default:
		return ""
	}
}

func layerText(s *Service) string {
	if s.Layer == 0 {
		return ""
	}
	return strconv.Itoa(s.Layer)
}

func selectorText(s *Service) string {
	var list []string
	for _, kind := range sortedKeys(s.Selectors) {
		list = append(list, kind+" "+strings.Join(s.Selectors[kind], " or "))
	}
	return strings.Join(list, ", ")
}

// fieldText says how the fields of a service's data are classed.
func fieldText(s *Service) string {
	var list []string
	for _, data := range s.Data {
		for _, table := range sortedKeys(data.Tables) {
			fields := data.Tables[table].Fields
			for _, name := range sortedKeys(fields) {
				list = append(list, strings.TrimSpace(data.Name+" "+table+"."+name+" "+fields[name].Class+" "+fields[name].Search))
			}
		}
	}
	return strings.Join(list, ", ")
}

func calls(s *Service) []string {
	list := make([]string, len(s.Calls))
	for i, c := range s.Calls {
		list[i] = c.Method + " " + c.Path + " of " + c.Service
		if c.AsService {
			list[i] += " as service"
		}
	}
	return list
}

func rights(s *Service) []string {
	var list []string
	for _, data := range s.Data {
		for _, table := range sortedKeys(data.Tables) {
			for _, right := range data.Tables[table].Rights {
				list = append(list, right+" on "+table+" of "+data.Name)
			}
		}
	}
	return list
}

func (d *difference) routes(was, now *reach, b, a *Service) {
	of := func(s *Service, op string) *Route {
		for _, rt := range s.Routes {
			if rt.Pattern() == op {
				return rt
			}
		}
		return nil
	}
	patterns := func(s *Service) []string {
		list := make([]string, len(s.Routes))
		for i, rt := range s.Routes {
			list[i] = rt.Pattern()
		}
		return list
	}
	d.set(patterns(b), patterns(a), func(dir Direction, op string) {
		z, s, verb := now.zone, a, "route added on listener "
		if dir == Lose {
			z, s, verb = was.zone, b, "route removed from listener "
		}
		rt := of(s, op)
		d.what = op + " of " + s.Name
		d.add(dir, z.rowOf(s, rt).who(), verb+rt.Listener)
		d.shadow(was, now, rt, dir)
	})
	for _, rt := range a.Routes {
		old := of(b, rt.Pattern())
		if old == nil {
			continue
		}
		d.what = rt.Pattern() + " of " + a.Name
		d.route(old, rt)
		if old.Listener != rt.Listener || (old.Allow == AllowService) != (rt.Allow == AllowService) {
			d.shadow(was, now, old, Lose)
			d.shadow(was, now, rt, Gain)
		}
	}
}

// route tells how access through one route changed.
func (d *difference) route(was, now *Route) {
	d.value(was.Listener, now.Listener, "every caller", "listener")
	d.set(was.Allow.Kinds(), now.Allow.Kinds(), func(dir Direction, kind string) {
		d.add(dir, kind, "allow: "+kind+" "+words(dir))
	})
	d.roles(was.Roles, now.Roles)
	d.scopes(was.Scopes, now.Scopes)
	if o, n := was.Owner, now.Owner; o.Kind == NoOwner || n.Kind == NoOwner {
		d.flag(o.Kind != NoOwner, n.Kind != NoOwner, "who does not own the object", "ownership ("+cmp.Or(o.String(), n.String())+")")
	} else {
		d.value(o.String(), n.String(), "owners", "owner")
	}
	d.flag(was.MFA, now.MFA, "users with one factor", "a second factor")
	d.age(was.MaxAge, now.MaxAge, "users with an older login", "max_age")
	d.rate(was.Limit, now.Limit, "every caller")
	d.flag(was.Once, now.Once, "who replays a request", "a new request each time")
	d.flag(was.Signed, now.Signed, "callers who do not sign", "a signature")
	d.value(was.Proof.String(), now.Proof.String(), "the gateway", "proof")
	d.value(was.Stream.String(), now.Stream.String(), "every caller", "stream")
	d.value(uploadText(was.Upload), uploadText(now.Upload), "every caller", "upload")
	d.value(paramText(was.Params), paramText(now.Params), "every caller", "params")
	d.flag(!was.EncodedSlash, !now.EncodedSlash, "paths with %2F", "a path without %2F")
	d.set(origins(was.CORS), origins(now.CORS), func(dir Direction, origin string) {
		d.add(dir, "pages of "+origin, "cors "+words(dir))
	})
	d.set(corsHeaders(was.CORS), corsHeaders(now.CORS), func(dir Direction, header string) {
		d.add(dir, "pages of other origins", "cors header "+header+" "+words(dir))
	})
	if closed := len(now.NotEnforced) > 0; closed != (len(was.NotEnforced) > 0) {
		if closed {
			d.add(Lose, "every caller", "closed: "+strings.Join(now.NotEnforced, ", ")+" not enforced yet")
		} else {
			d.add(Gain, "every caller", "no longer closed: "+strings.Join(was.NotEnforced, ", ")+" was not enforced")
		}
	}
}

// roles: any suffices, and none written asks for none.
func (d *difference) roles(was, now []string) {
	switch {
	case len(was) == 0 && len(now) > 0:
		d.add(Lose, "callers without role "+strings.Join(now, " or "), "a role is needed now")
	case len(was) > 0 && len(now) == 0:
		d.add(Gain, "callers without role "+strings.Join(was, " or "), "no role is needed any more")
	default:
		d.set(was, now, func(dir Direction, role string) { d.add(dir, "role "+role, "role "+words(dir)) })
	}
}

// scopes: all are needed of keys and tokens, and none written lets none of them pass.
func (d *difference) scopes(was, now []string) {
	switch {
	case len(was) == 0 && len(now) > 0:
		d.add(Gain, "keys and tokens with scope "+strings.Join(now, " and "), "scopes written")
	case len(was) > 0 && len(now) == 0:
		d.add(Lose, "keys and tokens", "scopes removed, and without scopes none of them passes")
	default:
		d.set(now, was, func(dir Direction, scope string) { // fewer scopes let more pass
			verb := "needed now"
			if dir == Gain {
				verb = "not needed any more"
			}
			d.add(dir, "keys and tokens without scope "+scope, "scope "+verb)
		})
	}
}

func (d *difference) age(was, now time.Duration, who, name string) {
	text := name + ": " + ageText(was) + " became " + ageText(now)
	switch {
	case was == now:
	case now == 0, was != 0 && now > was:
		d.add(Gain, who, text)
	default:
		d.add(Lose, who, text)
	}
}

func ageText(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	return FormatDuration(d)
}

func uploadText(u *Upload) string {
	if u == nil {
		return ""
	}
	return strings.Join(u.Types, ", ") + " to " + FormatSize(u.Size)
}

func paramText(params []Param) string {
	list := make([]string, len(params))
	for i, p := range params {
		list[i] = p.Name + " " + p.String()
	}
	return strings.Join(list, ", ")
}

func origins(c *CORS) []string {
	if c == nil {
		return nil
	}
	return c.Origins
}

func corsHeaders(c *CORS) []string {
	if c == nil {
		return nil
	}
	return c.Headers
}
