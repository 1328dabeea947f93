package gateway

import (
	"net/http"
	"slices"
	"strings"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// CORS after the Fetch standard (section 3.2), by declaration alone: a route
// without `cors` has none of these fields, whatever its service says.

// preflightAge is how long a browser may remember a preflight, in seconds: an
// origin that is taken out of the map is out after so long.
const preflightAge = "600"

// exposed are the fields beside the safelisted ones that a script may read. Without
// the nonce and what a challenge says, no script could make the proof of its token.
const exposed = obs.CorrelationHeader + ", Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, DPoP-Nonce"

// sharesWith returns what Access-Control-Allow-Origin says to an origin; empty:
// nothing. `*` holds on routes that take anonymous callers only: nobody's
// credentials are of use there.
func sharesWith(rt *zone.Route, origin string) string {
	if rt.CORS == nil || origin == "" {
		return ""
	}
	if slices.Contains(rt.CORS.Origins, origin) { // serialized origins compare as bytes
		return origin
	}
	if rt.Allow == zone.AllowAnonymous && slices.Contains(rt.CORS.Origins, "*") {
		return "*"
	}
	return ""
}

// share adds the fields that let the declared origins read an answer. Vary goes
// on answers to other origins too: a cache must not hand them what this one got.
func share(h http.Header, rt *zone.Route, origins []string) {
	if !slices.Contains(rt.CORS.Origins, "*") {
		vary(h, "Origin")
	}
	if len(origins) != 1 {
		return
	}
	allowed := sharesWith(rt, origins[0])
	if allowed == "" {
		return
	}
	h["Access-Control-Allow-Origin"] = []string{allowed}
	if allowed != "*" {
		h["Access-Control-Allow-Credentials"] = []string{"true"} // an origin named is an origin trusted
	}
	h["Access-Control-Expose-Headers"] = []string{exposed}
}

// vary adds a member to Vary (RFC 9110 section 12.5.5) unless it is there. The
// fields it finds may belong to somebody else, so they are not written to.
func vary(h http.Header, member string) {
	for _, f := range h["Vary"] {
		for token := range strings.SplitSeq(f, ",") {
			if token = strings.Trim(token, " \t"); token == "*" || strings.EqualFold(token, member) {
				return
			}
		}
	}
	h["Vary"] = append(slices.Clip(h["Vary"]), member)
}

// corsPreflight answers a preflight for a route that declares cors for its
// origin, without asking the service. It reports whether it has answered; any
// other OPTIONS request takes the way of every request.
func (g *Gateway) corsPreflight(t *trip) bool {
	origins, methods := t.r.Header["Origin"], t.r.Header["Access-Control-Request-Method"]
	if t.r.Method != http.MethodOptions || len(origins) != 1 || len(methods) != 1 {
		return false
	}
	asked := methods[0]
	var values zone.Values
	var rt *zone.Route
	var named []string
	for _, m := range t.listener.matcher.Methods(t.path) {
		if r, found := t.listener.matcher.Match(m, t.path, &values); found == zone.Matched && sharesWith(r, origins[0]) != "" {
			named = append(named, m)
			if m == asked {
				rt = r
			}
		}
	}
	if rt == nil {
		return false
	}
	t.route = t.listener.routes[rt] // the route that is asked for names the record
	t.reason = problem.OK
	h := t.w.Header() // not through reply's table, which lets no service say these
	h["Access-Control-Allow-Methods"] = []string{strings.Join(named, ", ")}
	if len(rt.CORS.Headers) > 0 {
		h["Access-Control-Allow-Headers"] = []string{strings.Join(rt.CORS.Headers, ", ")}
	}
	h["Access-Control-Max-Age"] = []string{preflightAge}
	vary(h, "Access-Control-Request-Method")
	vary(h, "Access-Control-Request-Headers")
	g.reply(t, http.StatusNoContent, nil, nil)
	return true
}
