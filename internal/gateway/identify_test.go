package gateway

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func TestForwardedFor(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	l := &listener{Listener: &zone.Listener{TrustedProxies: trusted}}
	for _, c := range []struct {
		fields []string
		want   string
	}{
		{nil, "10.0.0.1"}, // the proxy says nothing: it is the client
		{[]string{"203.0.113.7"}, "203.0.113.7"},
		{[]string{"1.1.1.1, 203.0.113.7"}, "203.0.113.7"},              // what stands left was written by the client
		{[]string{"1.1.1.1", "203.0.113.7"}, "203.0.113.7"},            // likewise in a field of its own
		{[]string{"203.0.113.7, 10.0.0.2"}, "203.0.113.7"},             // two proxies
		{[]string{"1.1.1.1,203.0.113.7 ,\t10.0.0.2"}, "203.0.113.7"},   // spaces
		{[]string{"203.0.113.7", "10.0.0.3, 10.0.0.2"}, "203.0.113.7"}, // three
		{[]string{"10.9.9.9, 10.0.0.2"}, "10.9.9.9"},                   // all trusted: the farthest
		{[]string{"203.0.113.7:4711"}, "203.0.113.7"},                  // with a port
		{[]string{"2001:db8::7"}, "2001:db8::7"}, {[]string{"[2001:db8::7]:1"}, "2001:db8::7"},
		{[]string{"::ffff:203.0.113.7"}, "203.0.113.7"}, {[]string{"::ffff:10.0.0.9"}, "10.0.0.9"},
		{[]string{"fe80::1%eth0"}, "fe80::1"},
		{[]string{"unknown"}, "10.0.0.1"}, // not an address: the proxy that wrote it
		{[]string{"203.0.113.7, unknown, 10.0.0.2"}, "10.0.0.2"},
		{[]string{""}, "10.0.0.1"}, {[]string{"203.0.113.7,"}, "10.0.0.1"},
		{[]string{"1.1.1.1, 203.0.113.7, x'; DROP"}, "10.0.0.1"},
	} {
		h := http.Header{headerForwardedFor: c.fields}
		if got := forwardedFor(h, addr("10.0.0.1"), l.trusts); got != addr(c.want) {
			t.Errorf("X-Forwarded-For %q: got %s, want %s", c.fields, got, c.want)
		}
	}
}

func FuzzForwardedFor(f *testing.F) {
	f.Add("1.1.1.1, 203.0.113.7")
	f.Add("unknown,,:, [::1]:2")
	trusts := func(a netip.Addr) bool { return a.IsPrivate() }
	f.Fuzz(func(t *testing.T, field string) {
		got := forwardedFor(http.Header{headerForwardedFor: {field}}, addr("10.0.0.1"), trusts)
		if !got.IsValid() || got.Zone() != "" || got.Is4In6() {
			t.Errorf("X-Forwarded-For %q: got %v", field, got)
		}
		// What a client writes in front changes nothing once an untrusted hop is found.
		again := forwardedFor(http.Header{headerForwardedFor: {"9.9.9.9, " + field}}, addr("10.0.0.1"), trusts)
		if !trusts(got) && again != got {
			t.Errorf("X-Forwarded-For %q: %v, with a hop in front %v", field, got, again)
		}
	})
}

// TestForwardedHeaders: from a peer that no one declared, nothing is believed.
func TestForwardedHeaders(t *testing.T) {
	fields := []string{"X-Forwarded-For: 203.0.113.7", "Forwarded: for=203.0.113.7", "X-Real-Ip: 203.0.113.7", "X-Forwarded-Host: other.example"}
	for _, c := range []struct {
		proxies []netip.Prefix
		want    string
	}{
		{nil, "127.0.0.1"},
		{[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "127.0.0.1"},
		{[]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, "203.0.113.7"}, // positive control
	} {
		d := openDoor(t, []*zone.Route{anything("GET")}, func(cfg *Config) { cfg.Zone.Listeners[0].TrustedProxies = c.proxies })
		d.do(d.client(false), "GET", "/a", "", fields...)
		if got := d.last().Client; got != addr(c.want) {
			t.Errorf("trusted %v: client %s, want %s", c.proxies, got, c.want)
		}
		h := d.service.all()[0].header
		if !strings.HasPrefix(h.Get("Sallyport-Client"), `"`+c.want+`"`) || h.Get("X-Forwarded-For") != "" || h.Get("Forwarded") != "" || h.Get("X-Real-Ip") != "" {
			t.Errorf("trusted %v: the service received %v", c.proxies, h)
		}
	}
}

func TestCorrelationAndTrace(t *testing.T) {
	d := openDoor(t, []*zone.Route{anything("GET")})
	c := d.client(false)
	const id, parent = "3f2b8c1e-9d4a-4c7b-8e21-5a6f7b8c9d0e", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	got := d.do(c, "GET", "/a", "", "X-Correlation-Id: "+id, "Traceparent: "+parent)
	rec := d.last()
	if got.header.Get("X-Correlation-Id") != id || rec.CorrelationID != id {
		t.Errorf("correlation id %s, record %s, want %s", got.header.Get("X-Correlation-Id"), rec.CorrelationID, id)
	}
	if len(rec.Tags) != 1 || rec.Tags[0] != "link:"+parent || strings.Contains(parent, rec.TraceID) {
		t.Errorf("tags %v and trace %s: the foreign trace must be a link and no more", rec.Tags, rec.TraceID)
	}
	for _, fields := range [][]string{
		{"X-Correlation-Id: x", "Traceparent: x"},
		{"X-Correlation-Id: " + id, "X-Correlation-Id: " + id}, // two are none
		{"Traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01"},
		{"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"},
		{"Traceparent: " + strings.ToUpper(parent)},
		{"Traceparent: " + parent, "Traceparent: " + parent},
	} {
		got := d.do(c, "GET", "/a", "", fields...)
		if rec := d.last(); got.header.Get("X-Correlation-Id") == id || len(rec.Tags) != 0 {
			t.Errorf("%v: correlation id %s, tags %v", fields, rec.CorrelationID, rec.Tags)
		}
	}
}

func TestHostAndServerName(t *testing.T) {
	named := openDoor(t, []*zone.Route{anything("GET")}, func(c *Config) { c.Zone.Listeners[0].Hosts = []string{"shop.example", "localhost"} })
	numbered := openDoor(t, []*zone.Route{anything("GET")}, func(c *Config) {
		c.Zone.Listeners[0].Hosts = []string{"shop.example", "localhost", "127.0.0.1", "[::1]"}
	})
	for _, c := range []struct {
		d         *door
		sni, host string
		want      problem.Reason
	}{
		{named, "shop.example", "shop.example", problem.OK},
		{named, "shop.example", "shop.example:8443", problem.OK},
		{named, "shop.example", "SHOP.Example", problem.OK},
		{named, "localhost", "localhost:1", problem.OK},
		{named, "shop.example", "localhost", problem.ListenerSNI},
		{named, "localhost", "shop.example", problem.ListenerSNI},
		{named, "", "shop.example", problem.ListenerSNI},
		{named, "shop.example", "other.example", problem.ListenerHost},
		{named, "shop.example", "127.0.0.1", problem.ListenerHost},
		{named, "shop.example", "shop.example.", problem.ListenerHost},
		{named, "shop.example", "shop.example.other.example", problem.ListenerHost},
		{named, "shop.example", "xshop.example", problem.ListenerHost},
		{numbered, "", "127.0.0.1", problem.OK},
		{numbered, "", "127.0.0.1:8443", problem.OK},
		{numbered, "", "[::1]:8443", problem.OK},
		{numbered, "", "[0:0::1]", problem.OK},
		{numbered, "", "shop.example", problem.OK},
		{numbered, "shop.example", "127.0.0.1", problem.ListenerSNI},
		{numbered, "", "127.0.0.2", problem.ListenerHost},
		{numbered, "shop.example", "shop.example:", problem.RequestHost},
		{numbered, "shop.example", "shop.example:x", problem.RequestHost},
		{numbered, "shop.example", "shop.example:123456", problem.RequestHost},
		{numbered, "shop.example", "shop_example", problem.RequestHost},
		{numbered, "shop.example", "[::1", problem.RequestHost},
		{numbered, "shop.example", "[::1]x", problem.RequestHost},
		{numbered, "shop.example", "[fe80::1%25eth0]", problem.RequestHost},
		{numbered, "shop.example", "[127.0.0.1]", problem.RequestHost},
		{numbered, "shop.example", "", problem.RequestHost},
	} {
		conn := c.d.dial(c.sni, "http/1.1")
		request := "GET /a HTTP/1.1\r\nHost: " + c.host + "\r\n\r\n"
		_, _ = conn.Write([]byte(request))
		got := c.d.read(conn, request)
		what := "server name " + c.sni + ", host " + c.host
		if c.want == problem.OK {
			if got.status != 200 {
				t.Errorf("%s: got %d %s", what, got.status, got.body)
			}
			continue
		}
		c.d.refused(what, got, c.want)
	}
}

func FuzzHostOf(f *testing.F) {
	for _, s := range []string{"shop.example", "SHOP.example:8443", "[::1]:1", "127.0.0.1", "a@b", "a:b", "[", "", "a b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, ok := hostOf(s)
		if !ok {
			return
		}
		if host == "" || host != strings.ToLower(host) || strings.ContainsAny(host, "/@ []%?#\\") {
			t.Errorf("hostOf(%q) = %q", s, host)
		}
		if !strings.Contains(host, ":") { // a name is its own host
			if again, ok := hostOf(host); !ok || again != host {
				t.Errorf("hostOf(%q) = %q, hostOf of that %q, %v", s, host, again, ok)
			}
		}
	})
}

// TestAddressBoundOnRequests: over the bound, an address is told to wait and no
// authenticator is asked; another address is not in its way.
func TestAddressBoundOnRequests(t *testing.T) {
	d := openDoor(t, []*zone.Route{anything("GET")}, func(c *Config) {
		c.Zone.Listeners[0].TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		c.Addresses = AddressBounds{Requests: zone.Rate{Count: 5, Window: time.Hour}}
	})
	c := d.client(false)
	for i := range 8 {
		got := d.do(c, "GET", "/a", "", "X-Forwarded-For: 203.0.113.7", "Authorization: Bearer sps_guess")
		if i < 5 {
			d.refused("within the bound", got, problem.AuthInvalid)
			continue
		}
		d.refused("over the bound", got, problem.LimitAddress)
		if got.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if n := d.auth.count(); n != 5 {
		t.Errorf("the authenticator was asked %d times, want 5", n)
	}
	if got := d.do(c, "GET", "/a", "", "X-Forwarded-For: 203.0.113.8"); got.status != 200 {
		t.Errorf("another address: got %d", got.status)
	}
	for range 8 {
		if got := d.do(c, "GET", "/a", ""); got.status != 200 {
			t.Errorf("loopback, which has no bound: got %d", got.status)
		}
	}
}
