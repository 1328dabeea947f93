package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

// visitFrom is visit for a client of this address.
func visitFrom(g *Gateway, w http.ResponseWriter, client string) {
	r := httptest.NewRequest("GET", "https://shop.example/", nil)
	r.RequestURI, r.URL.Scheme, r.URL.Host, r.RemoteAddr, r.TLS.ServerName = "/", "", "", client, "shop.example"
	g.serve(g.now().listeners[0], w, r)
}

// Slow clients of one address leave room for others: it is refused, they are not.
func TestSlowAddressLeavesRoom(t *testing.T) {
	release := make(chan struct{})
	s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) {
		if c.N < 3 {
			c.Request()
			<-release
			c.Say(upstreamtest.Sized("late"))
		}
		upstreamtest.Always(upstreamtest.Sized("ok"))(c)
	})
	g, kept := editedGateway(t, []*zone.Route{anything("GET")}, behind(s), func(c *Config) { c.Upstream.Outstanding = 4 })
	done := make(chan struct{})
	for range 3 { // the service lets them wait
		go func() { visitFrom(g, newTaker(), "203.0.113.7:4711"); done <- struct{}{} }()
	}
	for range 3 {
		<-s.Requests
	}
	for _, c := range []struct {
		client string
		status int
	}{{"203.0.113.7:4712", 503}, {"203.0.113.8:4711", 200}, {"[2001:db8::1]:4711", 200}} {
		w := newTaker()
		visitFrom(g, w, c.client)
		busy := strings.Contains(w.sent.String(), "upstream.busy") && w.header.Get("Retry-After") == "1"
		if w.status != c.status || busy != (c.status == 503) {
			t.Errorf("%s: got %d %s %v, want %d", c.client, w.status, w.sent.String(), w.header, c.status)
		}
	}
	close(release)
	for range 3 {
		<-done
	}
	if n := len(kept.all()); n != 6 {
		t.Errorf("%d records, want 6", n)
	}
}
