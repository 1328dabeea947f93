package gateway

import (
	"net"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func TestRoutes(t *testing.T) {
	d := openDoor(t, []*zone.Route{
		{Method: "GET", Path: "/products", Allow: zone.AllowAnonymous},
		{Method: "GET", Path: "/products/{id}", Allow: zone.AllowAnonymous},
		{Method: "POST", Path: "/products", Allow: zone.AllowAnonymous},
		{Method: "GET", Path: "/files/{name}", Allow: zone.AllowAnonymous, EncodedSlash: true},
		{Method: "GET", Path: "/closed", Allow: zone.AllowAnonymous, NotEnforced: []string{"mfa"}},
		{Method: "GET", Path: "/partners", Allow: zone.AllowAnonymous, Listener: "partner"},
		{Method: "GET", Path: "/wide/{name}", Allow: zone.AllowAnonymous},
		{Method: "GET", Path: "/wide/export", Allow: zone.AllowAnonymous, Listener: "partner"},
		{Method: "GET", Path: "/wide/inner", Allow: zone.AllowService},
	}, func(c *Config) {
		c.Zone.Listeners = append(c.Zone.Listeners, &zone.Listener{Name: "partner", Address: "127.0.0.1:0", Hosts: testHosts, Limits: testLimits()})
	})
	c := d.client(false)
	for _, s := range []struct {
		method, target string
		want           problem.Reason
		allow          string
	}{
		{"GET", "/products", problem.OK, ""},
		{"HEAD", "/products", problem.OK, ""},
		{"GET", "/products/7", problem.OK, ""},
		{"GET", "/files/a%2Fb", problem.OK, ""},
		{"GET", "/files/a%2Fb?c=%2F", problem.OK, ""},

		{"GET", "/", problem.RouteUnknown, ""},
		{"GET", "/products/", problem.RouteUnknown, ""}, // no redirect
		{"GET", "/Products", problem.RouteUnknown, ""},
		{"GET", "/metrics", problem.RouteUnknown, ""},
		{"GET", "/debug/pprof/", problem.RouteUnknown, ""},
		{"GET", "/partners", problem.RouteUnknown, ""}, // of another listener
		{"GET", "/wide/other", problem.OK, ""},
		{"GET", "/wide/export", problem.RouteUnknown, ""}, // the service would take it for the partners' route
		{"HEAD", "/wide/export", problem.RouteUnknown, ""},
		{"GET", "/wide/expor%74", problem.RequestPath, ""},
		{"GET", "/wide/inner", problem.RouteUnknown, ""}, // for services alone
		{"PUT", "/products", problem.RouteMethod, "GET, HEAD, POST"},
		{"POST", "/products/7", problem.RouteMethod, "GET, HEAD"},
		{"OPTIONS", "/products", problem.RouteMethod, "GET, HEAD, POST"},
		{"TRACE", "/products", problem.RouteMethod, "GET, HEAD, POST"},
		{"GET", "/closed", problem.ZoneNotEnforced, ""},

		{"GET", "/products/a%2Fb", problem.RequestPath, ""},
		{"GET", "/nowhere/a%2Fb", problem.RequestPath, ""},
		{"POST", "/files/a%2Fb", problem.RequestPath, ""},
		{"GET", "/files/a%2F..%2Fb", problem.RequestPath, ""},
		{"GET", "/files/%2F", problem.RequestPath, ""},
	} {
		before := len(d.service.all())
		got := d.do(c, s.method, s.target, "")
		what := s.method + " " + s.target
		seen := d.service.all()[before:]
		if s.want == problem.OK {
			if got.status != 200 || len(seen) != 1 || seen[0].target != s.target {
				t.Errorf("%s: got %d, the service received %+v", what, got.status, seen)
			}
			continue
		}
		if s.method != "HEAD" {
			d.refused(what, got, s.want)
		}
		if len(seen) != 0 {
			t.Errorf("%s: the service received %+v", what, seen)
		}
		if got.header.Get("Allow") != s.allow {
			t.Errorf("%s: Allow %q, want %q", what, got.header.Get("Allow"), s.allow)
		}
		if got.header.Get("Location") != "" {
			t.Errorf("%s: redirects to %s", what, got.header.Get("Location"))
		}
	}

	// The twin: the partner's listener has its own route and none of the others.
	for target, want := range map[string]int{"/partners": 200, "/products": 404} {
		conn := d.dialWith("partner", tlsTo("shop.example"))
		request := "GET " + target + " HTTP/1.1\r\nHost: shop.example\r\n\r\n"
		_, _ = conn.Write([]byte(request))
		if got := d.read(conn, request); got.status != want {
			t.Errorf("partner GET %s: got %d, want %d", target, got.status, want)
		}
	}
}

func TestBodyOverTheLimit(t *testing.T) {
	d := openDoor(t, []*zone.Route{anything("POST")}, func(c *Config) { c.Zone.Listeners[0].Limits.Body = 1000 })
	for _, http2 := range []bool{false, true} {
		c := d.client(http2)
		if got := d.do(c, "POST", "/a", strings.Repeat("x", 1000)); got.status != 200 {
			t.Errorf("http2 %v: a body of the limit: got %d", http2, got.status)
		}
		d.refused("a byte more", d.do(c, "POST", "/a", strings.Repeat("x", 1001)), problem.RequestBodyTooLarge)
	}
	for _, c := range []struct {
		n    int
		want int
	}{{1000, 200}, {1001, 413}} {
		body := strings.Repeat("x", c.n)
		got := d.raw("POST /a HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body))
		if got.status != c.want {
			t.Errorf("%d bytes in chunks: got %d %s, want %d", c.n, got.status, got.body, c.want)
		}
	}
	// Announced and not sent: refused at once, without waiting for it.
	got := d.raw("POST /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
	d.refused("a gigabyte announced", got, problem.RequestBodyTooLarge)
	for _, s := range d.service.all() {
		if len(s.body) > 1000 {
			t.Errorf("the service received %d bytes", len(s.body))
		}
	}
}

func chunked(body string) string {
	const hex = "0123456789abcdef"
	n := len(body)
	return string([]byte{hex[n>>12&15], hex[n>>8&15], hex[n>>4&15], hex[n&15]}) + "\r\n" + body + "\r\n0\r\n\r\n"
}

func TestConfigIsRefused(t *testing.T) {
	for _, c := range []struct {
		what string
		edit func(*Config)
		want string
	}{
		{"nothing wrong", func(*Config) {}, ""},
		{"no zone", func(c *Config) { c.Zone = nil }, "Zone"},
		{"no journal", func(c *Config) { c.Journal = nil }, "Journal"},
		{"no authenticator and no limiter", func(c *Config) { c.Auth, c.Limiter = nil, nil }, "[Auth Limiter]"},
		{"no listener", func(c *Config) { c.Zone.Listeners = nil }, "no listener"},
		{"no certificate", func(c *Config) { delete(c.Certificates, "public") }, "certificate"},
		{"a limit of nothing", func(c *Config) { c.Zone.Listeners[0].Limits.HeaderTime = 0 }, "bounds nothing"},
		{"client_ca that is none", func(c *Config) { c.Zone.Listeners[0].ClientCA = "/nonexistent.pem" }, "client_ca"},
		{"a local route nowhere", func(c *Config) { c.Locals = []Local{{Listener: "inner", Method: "GET", Path: "/x"}} }, "unknown listener"},
		{"a local route without handler", func(c *Config) { c.Locals = []Local{{Listener: "public", Method: "GET", Path: "/x"}} }, "handler"},
		{"a local route over a service's", func(c *Config) {
			c.Locals = []Local{{Listener: "public", Service: "identity", Method: "GET", Path: "/{all...}", Handler: &service{}}}
		}, "GET"},
	} {
		d := &door{t: t}
		cfg := testConfig(d, testZone("127.0.0.1:1", anything("GET")))
		c.edit(&cfg)
		g, err := New(cfg)
		switch {
		case c.want == "" && err != nil, c.want != "" && err == nil, err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: got error %v, want %q", c.what, err, c.want)
		}
		if g != nil {
			g.Close()
		}
	}
	d := &door{t: t}
	g, err := New(testConfig(d, testZone("127.0.0.1:1", anything("GET"))))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Serve(t.Context(), map[string]net.Listener{"other": l}); err == nil {
		t.Error("Serve took listeners that are not the zone's")
	}
	if _, err := l.Accept(); err == nil {
		t.Error("Serve left the listener open")
	}
}
