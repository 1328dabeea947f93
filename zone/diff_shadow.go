package zone

import "strings"

// shadow tells who else takes the requests of a route that left its listener, or
// took those of one that came: to remove a narrow route can open what it closed.
func (d *difference) shadow(before, after *reach, rt *Route, dir Direction) {
	then, now, verb := before, after, "its requests are taken now by "
	if dir == Gain {
		then, now, verb = after, before, "its requests were taken before by "
	}
	path := example(rt.Path)
	for _, l := range now.zone.Listeners {
		other := now.taker(l.Name, rt.Method, path)
		if other == nil || sameRoute(other, rt) || sameRoute(other, then.taker(l.Name, rt.Method, path)) {
			continue
		}
		d.add(opposite(dir), now.zone.rowOf(other.Service, other).who(),
			verb+other.Pattern()+" of "+other.Service.Name+" on listener "+l.Name)
	}
}

// sameRoute says whether two maps write a route at the same place.
func sameRoute(a, b *Route) bool {
	return a != nil && b != nil && a.Pattern() == b.Pattern() && a.Service.Name == b.Service.Name
}

// example is a path that a route takes: of all its paths one that no narrower
// route takes by its name.
func example(path string) string {
	const any = "sallyport-diff"
	segments := strings.Split(path, "/")
	for i, s := range segments {
		switch {
		case s == "{$}":
			segments[i] = ""
		case i == len(segments)-1 && s == "", wildName.MatchString(s):
			segments[i] = any
		}
	}
	return strings.Join(segments, "/")
}

// reach finds the routes of requests as the gateway does.
type reach struct {
	zone     *Zone
	matchers map[string]*Matcher // by the name of a meeting
}

func reachOf(z *Zone) *reach {
	routes := map[string][]*Route{}
	for _, s := range z.Services {
		for _, rt := range s.Routes {
			for _, name := range meetingsOf(rt) {
				routes[name] = append(routes[name], rt)
			}
		}
	}
	w := &reach{z, map[string]*Matcher{}}
	for name, list := range routes {
		if m, err := NewMatcher(list); err == nil { // no zone that was read has conflicts
			w.matchers[name] = m
		}
	}
	return w
}

// taker returns the route that takes a request on a listener, nil for none: the
// most specific one of the listener, unless its service has one that is more
// specific and not there.
func (w *reach) taker(listener, method, path string) *Route {
	m := w.matchers["listener "+listener]
	if m == nil {
		return nil
	}
	rt, _ := m.Match(method, path, nil)
	if rt == nil {
		return nil
	}
	if most, _ := w.matchers["service "+rt.Service.Name].Match(method, path, nil); most != rt {
		return nil
	}
	return rt
}
