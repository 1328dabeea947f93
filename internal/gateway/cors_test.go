package gateway

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

const app = "https://app.example"

func corsRoute(method string, allow zone.Allow, origins ...string) *zone.Route {
	return &zone.Route{Method: method, Path: "/things/{id}", Allow: allow, CORS: &zone.CORS{Origins: origins, Headers: []string{"authorization", "x-custom"}}}
}

func TestPreflight(t *testing.T) {
	const both = zone.AllowAnonymous | zone.AllowUser
	routes := []*zone.Route{
		corsRoute("GET", both, app, "https://other.example"),
		corsRoute("PUT", zone.AllowUser, app),
		corsRoute("DELETE", zone.AllowUser, "https://other.example"),
		{Method: "POST", Path: "/things/{id}", Allow: both},
		{Method: "GET", Path: "/open", Allow: zone.AllowAnonymous, CORS: &zone.CORS{Origins: []string{"*"}}},
		{Method: "GET", Path: "/mine", Allow: both, CORS: &zone.CORS{Origins: []string{"*"}}}, // the map refuses this; so do we
		{Method: "GET", Path: "/own", Allow: both, CORS: &zone.CORS{Origins: []string{app}}},
		{Method: "OPTIONS", Path: "/own", Allow: both}, // a service that answers OPTIONS itself
	}
	d := openDoor(t, routes)
	c := d.client(true)
	for _, k := range []struct {
		name, path string
		fields     []string
		status     int
		origin     string // Access-Control-Allow-Origin
		methods    string
	}{
		{"declared", "/things/1", []string{"Origin: " + app, "Access-Control-Request-Method: GET"}, 204, app, "GET, HEAD, PUT"},
		{"declared for another method", "/things/1", []string{"Origin: " + app, "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization"}, 204, app, "GET, HEAD, PUT"},
		{"other origin, other methods", "/things/1", []string{"Origin: https://other.example", "Access-Control-Request-Method: DELETE"}, 204, "https://other.example", "DELETE, GET, HEAD"},
		{"method of another origin", "/things/1", []string{"Origin: " + app, "Access-Control-Request-Method: DELETE"}, 405, "", ""},
		{"method without cors", "/things/1", []string{"Origin: " + app, "Access-Control-Request-Method: POST"}, 405, "", ""},
		{"method that is not", "/things/1", []string{"Origin: " + app, "Access-Control-Request-Method: PATCH"}, 405, "", ""},
		{"unknown origin", "/things/1", []string{"Origin: https://evil.example", "Access-Control-Request-Method: GET"}, 405, "", ""},
		{"origin by prefix", "/things/1", []string{"Origin: " + app + ".evil.example", "Access-Control-Request-Method: GET"}, 405, "", ""},
		{"origin by suffix", "/things/1", []string{"Origin: https://evil.app.example", "Access-Control-Request-Method: GET"}, 405, "", ""},
		{"origin in plain", "/things/1", []string{"Origin: http://app.example", "Access-Control-Request-Method: GET"}, 405, "", ""},
		{"origin with port", "/things/1", []string{"Origin: " + app + ":8443", "Access-Control-Request-Method: GET"}, 405, "", ""},
		{"null origin", "/things/1", []string{"Origin: null", "Access-Control-Request-Method: GET"}, 405, "", ""},
		{"two origins", "/things/1", []string{"Origin: " + app, "Origin: " + app, "Access-Control-Request-Method: GET"}, 405, "", ""},
		{"no preflight", "/things/1", []string{"Origin: " + app}, 405, "", ""},
		{"anybody", "/open", []string{"Origin: https://who.example", "Access-Control-Request-Method: GET"}, 204, "*", "GET, HEAD"},
		{"anybody, where users go", "/mine", []string{"Origin: https://who.example", "Access-Control-Request-Method: GET"}, 405, "", ""},
		{"unknown path", "/none", []string{"Origin: " + app, "Access-Control-Request-Method: GET"}, 404, "", ""},
		{"not a preflight, and the service has OPTIONS", "/own", []string{"Origin: " + app}, 200, "", ""},
	} {
		got := d.do(c, "OPTIONS", k.path, "", k.fields...)
		if got.status != k.status || got.header.Get("Access-Control-Allow-Origin") != k.origin || got.header.Get("Access-Control-Allow-Methods") != k.methods {
			t.Errorf("%s: got %d %v, want %d, origin %q, methods %q", k.name, got.status, got.header, k.status, k.origin, k.methods)
		}
		if creds := got.header.Get("Access-Control-Allow-Credentials"); (creds == "true") != (k.origin != "" && k.origin != "*") {
			t.Errorf("%s: credentials %q", k.name, creds)
		}
		if k.status == 204 {
			if length := got.header.Get("Content-Length"); length != "" { // RFC 9110 section 8.6
				t.Errorf("%s: Content-Length %q with 204", k.name, length)
			}
			vary := strings.Join(got.header["Vary"], ", ")
			if k.origin != "*" && !strings.Contains(vary, "Origin") || !strings.Contains(vary, "Access-Control-Request-Method") {
				t.Errorf("%s: Vary %q", k.name, vary)
			}
			if r := d.last(); r.Reason != "ok" || r.Status != 204 || r.Method != "OPTIONS" {
				t.Errorf("%s: record %+v", k.name, r)
			}
		}
	}
	if n := len(d.service.all()); n != 1 {
		t.Errorf("%d preflights reached the service, want the one that is none", n)
	}
}

// What the service says about other origins never leaves; what the map says does,
// also on refusals, or the page could not read why.
func TestShare(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", upstreamtest.Always("HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://evil.example\r\nAccess-Control-Allow-Credentials: true\r\nVary: Accept\r\nContent-Length: 2\r\n\r\nok"))
	routes := []*zone.Route{
		corsRoute("GET", zone.AllowAnonymous|zone.AllowUser, app),
		corsRoute("PUT", zone.AllowUser, app),
		{Method: "GET", Path: "/open", Allow: zone.AllowAnonymous, CORS: &zone.CORS{Origins: []string{"*"}}},
		{Method: "GET", Path: "/closed", Allow: zone.AllowAnonymous},
	}
	d := openDoor(t, routes, behind(s))
	c := d.client(false)
	for _, k := range []struct {
		name, method, path, origin string
		status                     int
		want                       string
		vary                       []string
	}{
		{"declared", "GET", "/things/1", app, 200, app, []string{"Accept", "Origin"}},
		{"refused", "PUT", "/things/1", app, 401, app, []string{"Origin"}},
		{"another origin", "GET", "/things/1", "https://evil.example", 200, "", []string{"Accept", "Origin"}},
		{"same origin", "GET", "/things/1", "", 200, "", []string{"Accept", "Origin"}},
		{"anybody", "GET", "/open", "https://who.example", 200, "*", []string{"Accept"}},
		{"not declared", "GET", "/closed", "https://evil.example", 200, "", []string{"Accept"}},
	} {
		var fields []string
		if k.origin != "" {
			fields = []string{"Origin: " + k.origin}
		}
		got := d.do(c, k.method, k.path, "", fields...)
		if got.status != k.status || got.header.Get("Access-Control-Allow-Origin") != k.want || !slices.Equal(got.header["Vary"], k.vary) {
			t.Errorf("%s: got %d %v, want %d, origin %q, Vary %q", k.name, got.status, got.header, k.status, k.want, k.vary)
		}
		if creds := got.header.Get("Access-Control-Allow-Credentials"); (creds == "true") != (k.want == app) {
			t.Errorf("%s: credentials %q", k.name, creds)
		}
		if corp := got.header.Get("Cross-Origin-Resource-Policy"); (corp == "") != strings.HasPrefix(k.path, "/things") && k.path != "/open" {
			t.Errorf("%s: Cross-Origin-Resource-Policy %q", k.name, corp)
		}
	}
}

func TestVary(t *testing.T) {
	for _, c := range []struct{ have, want []string }{
		{nil, []string{"Origin"}},
		{[]string{"Accept"}, []string{"Accept", "Origin"}},
		{[]string{"Accept, origin"}, []string{"Accept, origin"}},
		{[]string{"*"}, []string{"*"}},
	} {
		shared := append(make([]string, 0, 4), c.have...) // room behind it, which is not ours
		h := http.Header{"Vary": shared}
		vary(h, "Origin")
		if !slices.Equal(h["Vary"], c.want) {
			t.Errorf("vary(%q) = %q, want %q", c.have, h["Vary"], c.want)
		}
		if over := shared[:cap(shared)]; over[len(c.have)] != "" {
			t.Errorf("vary(%q) wrote behind a slice that it does not own", c.have)
		}
	}
}
