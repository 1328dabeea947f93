package zone

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

func (r *reader) checkRoute(z *Zone, rt *Route) {
	path := routePath(rt)
	r.checkListenerOf(z, rt, path)
	r.checkCallers(rt, path)
	r.checkOwner(rt, path)
	r.checkForm(rt, path)
}

func (r *reader) checkListenerOf(z *Zone, rt *Route, path string) {
	l := z.Listener(rt.Listener)
	switch {
	case rt.Listener == "admin" || rt.Listener == "control":
		r.fail(r.at(path+".listener").value, fmt.Sprintf("listener %s never serves routes of services", rt.Listener), "name an outside listener: "+strings.Join(listenerNames(z), ", "))
	case l == nil:
		mend := suggest(rt.Listener, listenerNames(z))
		if _, written := r.places[path+".listener"]; !written {
			mend = "write `listener: NAME` on the route, or name one listener public"
		}
		r.fail(r.at(path+".listener").value, fmt.Sprintf("there is no outside listener %s", rt.Listener), mend)
	case !l.Anonymous && rt.Allow.Has(AllowAnonymous):
		r.fail(r.at(path+".allow").value, fmt.Sprintf("listener %s takes no anonymous requests", l.Name), "allow user, key or client; or write `anonymous: true` on the listener")
	}
	if rt.Listener == z.Identity.Listener && reserved(rt.Path) {
		r.fail(rt.Pos, fmt.Sprintf("%s belongs to the account service on listener %s", rt.Path, rt.Listener), "choose another path, or let identity.listener be another")
	}
}

// reserved says whether a path is one of the account service.
func reserved(path string) bool {
	first, _, _ := strings.Cut(path[1:], "/")
	return first == "auth" || first == "oauth" || first == ".well-known" || first == "robots.txt"
}

// checkCallers refuses restrictions that the allowed callers cannot meet or escape.
func (r *reader) checkCallers(rt *Route, path string) {
	anonymous := rt.Allow.Has(AllowAnonymous)
	for _, k := range []struct {
		name    string
		written bool
	}{
		{"owner", rt.Owner.Kind != NoOwner}, {"roles", len(rt.Roles) > 0}, {"scopes", len(rt.Scopes) > 0},
		{"mfa", rt.MFA}, {"max_age", rt.MaxAge > 0}, {"signed", rt.Signed},
	} {
		at := r.at(path + "." + k.name).key
		switch user := rt.Allow.Has(AllowUser); {
		case !k.written || rt.Allow == 0:
		case anonymous:
			r.fail(at, k.name+" on a route that allows anonymous: whoever has no credential passes anyway", "remove anonymous, or "+k.name)
		case !user && (k.name == "mfa" || k.name == "max_age"):
			r.fail(at, k.name+" on a route without user: only users step up", "allow user, or remove "+k.name)
		case rt.Allow != AllowKey && k.name == "signed":
			r.fail(at, "signed on a route that allows more than key: requests are signed with the key of an API key", "write allow: key")
		}
	}
	if rt.Allow == AllowService {
		for _, k := range []string{"limit", "cors", "listener"} {
			if p, written := r.places[path+"."+k]; written {
				r.fail(p.key, k+" on a route that only services may call: it is on no listener, where this would hold", "remove "+k+", or allow user, key or client")
			}
		}
	}
	if rt.CORS != nil && slices.Contains(rt.CORS.Origins, "*") && rt.Allow != AllowAnonymous {
		r.fail(r.at(path+".cors.origins").value, "cors: * on a route that is not anonymous only", "name the origins")
	}
}

func (r *reader) checkOwner(rt *Route, path string) {
	at := r.at(path + ".owner").value
	switch o := rt.Owner; o.Kind {
	case OwnerPath:
		names := wildcards(rt.Path)
		if several, known := names[o.Arg]; !known {
			var list []string
			for n := range names {
				list = append(list, n)
			}
			mend := suggest(o.Arg, list)
			if len(list) == 0 {
				mend = "this path has none; use response:, read: or code"
			}
			r.fail(at, fmt.Sprintf("owner: {%s} is no wildcard of %s", o.Arg, rt.Path), mend)
		} else if several {
			r.fail(at, fmt.Sprintf("owner: {%s...} takes several segments", o.Arg), "name a wildcard of one segment")
		}
	case OwnerResponse:
		if rt.Method != "GET" {
			r.fail(at, "owner: response: is for GET only: a write would be done before its answer is judged", "use read:"+o.Arg+" or path:NAME")
		} else if rt.Stream != NoStream {
			r.fail(at, "owner: response: needs the whole answer, and a stream has none", "use path:NAME or code")
		}
	case OwnerRead:
		switch {
		case rt.Method == "GET":
			r.fail(at, "owner: read: is for writes", "use response:"+o.Arg)
		case r.declared(rt.Service, operation{"GET", rt.Path}) == nil:
			r.fail(at, fmt.Sprintf("owner: read: asks the service for GET %s, which it does not declare", rt.Path), "declare that route, or use path:NAME or code")
		}
	case OwnerCode:
		if !rt.Service.Embedded {
			r.fail(at, fmt.Sprintf("owner: code needs `embedded`, for the handler calls guard.Owns, and service %s is not", rt.Service.Name), "use path:, response: or read:")
		}
	}
}

// checkForm refuses keys that do not go with the method or with each other.
func (r *reader) checkForm(rt *Route, path string) {
	stream := r.at(path + ".stream").value
	switch {
	case rt.Stream == StreamWebSocket && rt.Method != "GET":
		r.fail(stream, "stream: websocket starts with GET", "declare GET "+rt.Path)
	case rt.Stream == StreamGRPC && rt.Method != "POST":
		r.fail(stream, "stream: grpc is POST", "declare POST "+rt.Path)
	case rt.Stream == StreamWebSocket && rt.CORS != nil:
		r.fail(r.at(path+".cors").key, "cors on stream: websocket: browsers ask for no leave there; with a cookie only the zone's own pages may open it", "remove cors")
	case rt.Stream == StreamGRPC && rt.Signed:
		r.fail(r.at(path+".signed").key, "signed on stream: grpc: what is signed is a whole body, and a call has none before it ends", "remove signed, or stream")
	case rt.Stream == StreamGRPC && rt.Upload != nil:
		r.fail(r.at(path+".upload").key, "upload on stream: grpc: a call is many messages and no upload", "remove upload, or stream")
	}
	if rt.Upload != nil && !isOneOf(rt.Method, []string{"POST", "PUT", "PATCH"}) {
		r.fail(r.at(path+".upload").key, "upload on "+rt.Method+", which has no body", "remove upload, or declare POST, PUT or PATCH")
	}
	for _, p := range rt.Params {
		if several := wildcards(rt.Path)[p.Name]; several && p.Kind != ParamRegexp && p.Kind != ParamEnum {
			r.fail(r.at(pathOf(path+".params", p.Name)).value, fmt.Sprintf("params: {%s...} takes several segments", p.Name), "write a list of values or a regular expression")
		}
	}
}

// checkConflicts registers the routes of each listener, and of each service, with
// http.ServeMux, whose rules they follow: no two may take a common request
// without one being more specific.
func (r *reader) checkConflicts(z *Zone) {
	meetings := map[string]*meeting{}
	for _, s := range z.Services {
		for _, rt := range s.Routes {
			for _, name := range meetingsOf(rt) {
				if meetings[name] == nil {
					meetings[name] = &meeting{mux: http.NewServeMux()}
				}
				if text, mend := meetings[name].take(rt); text != "" {
					r.fail(rt.Pos, text, mend)
					break
				}
			}
		}
	}
}

// meeting is where routes meet: a listener, or the guard of a service.
type meeting struct {
	mux      *http.ServeMux
	patterns []pattern // of the routes that it took
}

// meetingsOf names where a route meets others. One that services alone may call is on
// no listener; it meets the others of its service only.
func meetingsOf(rt *Route) []string {
	names := []string{"service " + rt.Service.Name}
	if rt.Allow != AllowService {
		names = append(names, "listener "+rt.Listener)
	}
	return names
}

// take adds a route, or says why it cannot stand with those that are there.
func (m *meeting) take(rt *Route) (text, mend string) {
	p, err := parsePattern(rt)
	if err == nil && register(m.mux, rt) == "" {
		m.patterns = append(m.patterns, p)
		return "", ""
	}
	for i := range m.patterns {
		if other := &m.patterns[i]; err == nil && p.conflicts(other) {
			return conflict(other.route, rt), "make one of them more specific, or put them on different listeners"
		}
	}
	return rt.Pattern() + " is refused by http.ServeMux", "write it otherwise"
}

// conflict says why two routes cannot stand together.
func conflict(first, second *Route) string {
	mux := http.NewServeMux()
	register(mux, first)
	why := register(mux, second)
	text := fmt.Sprintf("%s conflicts with %s of service %s at %s", second.Pattern(), first.Pattern(), first.Service.Name, first.Pos)
	if _, example, ok := strings.Cut(why, `like "`); ok {
		example, _, _ = strings.Cut(example, `"`)
		return text + ": both take " + example + " and neither is more specific"
	}
	return text + ": both take the same requests"
}

// register returns why the mux refuses a route, "" when it takes it.
func register(mux *http.ServeMux, rt *Route) (why string) {
	defer func() {
		if p := recover(); p != nil {
			why = fmt.Sprint(p)
		}
	}()
	mux.HandleFunc(rt.Pattern(), func(http.ResponseWriter, *http.Request) {})
	return ""
}
