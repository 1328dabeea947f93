package zone

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// routesOf reads `METHOD /path` lines; a line that starts with ~ has EncodedSlash.
func routesOf(lines ...string) []*Route {
	var routes []*Route
	for _, l := range lines {
		l, slash := strings.CutPrefix(l, "~")
		method, path, _ := strings.Cut(l, " ")
		routes = append(routes, &Route{Method: method, Path: path, EncodedSlash: slash})
	}
	return routes
}

func (f Found) String() string { return [...]string{"NotFound", "WrongMethod", "Matched"}[f] }

func show(rt *Route, found Found, v Values) string {
	if rt == nil {
		return fmt.Sprint(found, " ", len(v))
	}
	s := rt.Pattern()
	for _, x := range v {
		s += fmt.Sprintf(" %s=%q", x.Name, x.Value)
	}
	return s
}

func TestMatch(t *testing.T) {
	m, err := NewMatcher(routesOf(
		"GET /{$}",
		"GET /orders", "POST /orders", "GET /orders/{id}", "GET /orders/new", "PATCH /orders/{id}",
		"GET /users/{user}/orders", "GET /users/{user}/orders/{id}", "GET /users/me/profile",
		"GET /files/{rest...}", "GET /files/top/{$}", "GET /tree/", "HEAD /orders/new",
		"~GET /raw/{name}", "~GET /rawrest/{rest...}", "GET /mixed/{name}", "~GET /mixed/{rest...}",
		"GET /a/b/z", "GET /a/{x}/c", "GET /caf%C3%A9/{$}", "DELETE /rawonly/{id}",
	))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ method, path, want string }{
		{"GET", "/", "GET /{$}"},
		{"GET", "/orders", "GET /orders"},
		{"HEAD", "/orders", "GET /orders"},
		{"DELETE", "/orders", "WrongMethod 0"},
		{"GET", "/orders/7", `GET /orders/{id} id="7"`},
		{"GET", "/orders/new", "GET /orders/new"},
		{"HEAD", "/orders/new", "HEAD /orders/new"},
		{"PATCH", "/orders/new", `PATCH /orders/{id} id="new"`},
		{"GET", "/orders/a%20b", `GET /orders/{id} id="a b"`},
		{"GET", "/orders/%6Eew", "GET /orders/new"},                       // read as the service's own ServeMux reads it
		{"GET", "/users/me/orders", `GET /users/{user}/orders user="me"`}, // backtracks
		{"GET", "/users/u1/orders/9", `GET /users/{user}/orders/{id} user="u1" id="9"`},
		{"GET", "/users/me/orders/9", `GET /users/{user}/orders/{id} user="me" id="9"`},
		{"GET", "/a/b/z", "GET /a/b/z"},
		{"GET", "/a/b/c", `GET /a/{x}/c x="b"`},
		{"GET", "/files/", `GET /files/{rest...} rest=""`},
		{"GET", "/files/a/b%20c/", `GET /files/{rest...} rest="a/b c/"`},
		{"GET", "/files/top/", "GET /files/top/{$}"},
		{"GET", "/tree/", "GET /tree/"},
		{"GET", "/tree/a/b", "GET /tree/"},
		{"GET", "/caf%C3%A9/", "GET /caf%C3%A9/{$}"},
		{"GET", "/caf%c3%a9/", "GET /caf%C3%A9/{$}"},
		{"GET", "/nope", "NotFound 0"},
		{"get", "/orders", "WrongMethod 0"},

		// Where ServeMux redirects or cleans, this one finds nothing.
		{"GET", "/tree", "NotFound 0"},
		{"GET", "/files", "NotFound 0"},
		{"GET", "/orders/", "NotFound 0"},
		{"GET", "//orders", "NotFound 0"},
		{"GET", "/files//a", "NotFound 0"},
		{"GET", "/files/./a", "NotFound 0"},
		{"GET", "/files/../orders", "NotFound 0"},
		{"GET", "/files/%2e%2E/orders", "NotFound 0"},
		{"GET", "/orders/%2e", "NotFound 0"},
		{"GET", "/orders/.hidden", `GET /orders/{id} id=".hidden"`},
		{"GET", "/orders/...", `GET /orders/{id} id="..."`},

		// Encoded slashes.
		{"GET", "/raw/a%2Fb", `~GET /raw/{name} name="a/b"`},
		{"GET", "/raw/a%2fb", `~GET /raw/{name} name="a/b"`},
		{"GET", "/raw/%2F", "NotFound 0"},
		{"GET", "/rawrest/a%2Fb/c", `~GET /rawrest/{rest...} rest="a/b/c"`},
		{"GET", "/orders/a%2Fb", "NotFound 0"},
		{"GET", "/mixed/a%2Fb", "NotFound 0"}, // the most specific one decides: no fall through
		{"GET", "/mixed/a/b%2Fc", `~GET /mixed/{rest...} rest="a/b/c"`},
		{"GET", "/files/a%2Fb", "NotFound 0"},
		{"GET", "/rawonly/a%2Fb", "NotFound 0"}, // not even 405
		{"GET", "/orders/a%252Fb", `GET /orders/{id} id="a%2Fb"`},

		// What is no path.
		{"GET", "", "NotFound 0"},
		{"GET", "*", "NotFound 0"},
		{"GET", "orders", "NotFound 0"},
		{"GET", "/orders/%", "NotFound 0"},
		{"GET", "/orders/%zz", "NotFound 0"},
	} {
		var v Values
		rt, found := m.Match(tt.method, tt.path, &v)
		want := strings.TrimPrefix(tt.want, "~")
		if got := show(rt, found, v); got != want {
			t.Errorf("Match(%q, %q) = %s, want %s", tt.method, tt.path, got, want)
		}
		if rt2, found2 := m.Match(tt.method, tt.path, nil); rt2 != rt || found2 != found {
			t.Errorf("Match(%q, %q, nil) = %v, %v; with values %v, %v", tt.method, tt.path, rt2, found2, rt, found)
		}
	}
}

// TestMatchBelowWider: where ServeMux would redirect /a to /a/, a wider route does
// not take /a either: the service would answer for /a/, which is for others.
func TestMatchBelowWider(t *testing.T) {
	m, err := NewMatcher(routesOf("GET /", "POST /", "GET /admin/", "GET /exact/{$}", "GET /users/{x}/sub/", "GET /deep/a/", "HEAD /head/", "GET /plain"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ method, path, want, methods string }{
		{"GET", "/admin", "NotFound 0", "POST"},
		{"HEAD", "/admin", "NotFound 0", "POST"},
		{"POST", "/admin", "POST /", "POST"}, // nothing narrower has this method
		{"GET", "/admin/", "GET /admin/", "GET HEAD POST"},
		{"GET", "/admin/x", "GET /admin/", "GET HEAD POST"},
		{"GET", "/admins", "GET /", "GET HEAD POST"},
		{"GET", "/exact", "NotFound 0", "POST"},
		{"GET", "/exact/x", "GET /", "GET HEAD POST"},
		{"GET", "/users/7/sub", "NotFound 0", "POST"},
		{"GET", "/deep/a", "NotFound 0", "POST"},
		{"GET", "/deep", "GET /", "GET HEAD POST"},
		{"HEAD", "/head", "NotFound 0", "GET POST"},
		{"GET", "/head", "GET /", "GET POST"},
		{"GET", "/plain", "GET /plain", "GET HEAD POST"},
	} {
		var v Values
		rt, found := m.Match(tt.method, tt.path, &v)
		if found == WrongMethod {
			found = NotFound // which of them depends on the other methods
		}
		if got := show(rt, found, v); got != tt.want {
			t.Errorf("Match(%q, %q) = %s, want %s", tt.method, tt.path, got, tt.want)
		}
		if got := strings.Join(m.Methods(tt.path), " "); got != tt.methods {
			t.Errorf("Methods(%q) = %q, want %q", tt.path, got, tt.methods)
		}
	}
}

func TestMethods(t *testing.T) {
	m, err := NewMatcher(routesOf("GET /a/{x}", "POST /a/{x}", "DELETE /a/{x...}", "~PUT /a/{x}"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, want string }{
		{"/a/1", "DELETE GET HEAD POST PUT"},
		{"/a/1/2", "DELETE"},
		{"/a/1%2F2", "PUT"},
		{"/b", ""},
		{"/a//1", ""},
	} {
		if got := strings.Join(m.Methods(tt.path), " "); got != tt.want {
			t.Errorf("Methods(%q) = %q, want %q", tt.path, got, tt.want)
		}
	}
}

func TestValues(t *testing.T) {
	v := Values{{"id", "7"}, {"rest", ""}}
	if got := v.Get("id"); got != "7" {
		t.Errorf("Get(id) = %q, want 7", got)
	}
	if got := v.Get("other"); got != "" {
		t.Errorf("Get(other) = %q, want nothing", got)
	}
	if got := (*Values)(nil).Get("id"); got != "" {
		t.Errorf("nil.Get(id) = %q, want nothing", got)
	}
	v.Reset()
	if len(v) != 0 || cap(v) == 0 || v[:1][0].Value != "" {
		t.Errorf("after Reset: %v, cap %d", v[:cap(v)], cap(v))
	}
}

func TestBadPatterns(t *testing.T) {
	for _, path := range []string{
		"", "orders", "//", "/a//b", "/a/./b", "/a/../b", "/%2e%2e", "/a%2", "/%2F", "/{", "/{}", "/{x", "/a{x}", "/{x}b", "/{x}{y}",
		"/{1x}", "/{x-y}", "/{...}", "/{x...}/a", "/{$}/a", "/{x}/{x}", "/{x}/{x...}",
	} {
		if m, err := NewMatcher([]*Route{{Method: "GET", Path: path}}); err == nil {
			t.Errorf("NewMatcher(GET %s) = %v, want an error", path, m)
		}
	}
	if _, err := NewMatcher([]*Route{{Path: "/a"}}); err == nil {
		t.Error("NewMatcher without a method: no error")
	}
}

func TestConflict(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"GET /a", "GET /a", true},
		{"GET /a/{x}", "GET /a/{y}", true},
		{"GET /a/{x}", "GET /{y}/b", true},
		{"GET /a/", "GET /a/{rest...}", true},
		{"GET /users/{user}/orders", "GET /users/me/{what}", true},
		{"GET /a", "HEAD /{x}", true},
		{"GET /{x}", "HEAD /a", false},
		{"GET /a", "HEAD /a", false},
		{"GET /a", "POST /a", false},
		{"GET /a", "GET /{x}", false},
		{"GET /a/{$}", "GET /a/{x}", false},
		{"GET /a/{$}", "GET /a/", false},
		{"GET /a", "GET /a/", false},
		{"GET /{x}/b/", "GET /a/{y}", false},
		{"GET /{x}/b/", "GET /a/{y...}", true},
	} {
		for _, routes := range [][]*Route{routesOf(tt.a, tt.b), routesOf(tt.b, tt.a)} {
			_, err := NewMatcher(routes)
			if c, ok := errors.AsType[*ConflictError](err); ok != tt.want {
				t.Errorf("%s with %s: conflict %v, want %v", tt.a, tt.b, err, tt.want)
			} else if ok && (c.First != routes[0] || c.Second != routes[1]) {
				t.Errorf("%s with %s: %v names others", tt.a, tt.b, c)
			}
		}
	}
}

func benchRoutes() []*Route {
	var lines []string
	for _, s := range []string{"catalog", "orders", "accounts", "payments", "invoices", "users", "carts", "reviews"} {
		lines = append(lines, "GET /"+s, "POST /"+s, "GET /"+s+"/{id}", "PATCH /"+s+"/{id}", "DELETE /"+s+"/{id}",
			"GET /"+s+"/{id}/lines/{line}", "GET /"+s+"/{id}/files/{rest...}")
	}
	return routesOf(lines...)
}

func TestMatchDoesNotAllocate(t *testing.T) {
	m, err := NewMatcher(benchRoutes())
	if err != nil {
		t.Fatal(err)
	}
	v := make(Values, 0, 4)
	for _, path := range []string{"/orders", "/orders/0b7c", "/orders/0b7c/files/a", "/orders/0b7c/lines/4", "/orders/0b7c/files/a/b/c", "/nope/x"} {
		if n := testing.AllocsPerRun(100, func() { m.Match("GET", path, &v) }); n != 0 {
			t.Errorf("Match(GET %s): %v allocations, want none", path, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	routes := benchRoutes()
	m, err := NewMatcher(routes)
	if err != nil {
		b.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, rt := range routes {
		mux.Handle(rt.Pattern(), http.NotFoundHandler())
	}
	const path = "/orders/0b7c2d/lines/4"
	b.Run("Matcher", func(b *testing.B) {
		b.ReportAllocs()
		v := make(Values, 0, 4)
		for b.Loop() {
			m.Match("GET", path, &v)
		}
	})
	b.Run("ServeMux", func(b *testing.B) {
		b.ReportAllocs()
		r := httptest.NewRequest("GET", path, nil)
		for b.Loop() {
			mux.Handler(r)
		}
	})
}
