package gateway

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func TestLimits(t *testing.T) {
	d := openDoor(t, []*zone.Route{
		{Method: "GET", Path: "/free", Allow: zone.AllowAnonymous},
		{Method: "GET", Path: "/scarce", Allow: zone.AllowAnonymous | zone.AllowUser, Limit: zone.Rate{Count: 2, Window: time.Minute}},
		{Method: "GET", Path: "/scarce/too", Allow: zone.AllowAnonymous, Limit: zone.Rate{Count: 2, Window: time.Minute}},
	}, func(c *Config) {
		c.Zone.Listeners[0].TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	h := d.client(false)
	alice, from := "Authorization: Bearer "+aliceToken, "X-Forwarded-For: 203.0.113."
	for _, c := range []struct {
		target string
		fields []string
		want   problem.Reason
		left   string
	}{
		{"/scarce", []string{from + "1"}, problem.OK, "1"},
		{"/scarce", []string{from + "1"}, problem.OK, "0"},
		{"/scarce", []string{from + "1"}, problem.LimitRate, "0"},
		{"/scarce", []string{from + "2"}, problem.OK, "1"},     // another address
		{"/scarce/too", []string{from + "1"}, problem.OK, "1"}, // another route
		{"/scarce", []string{from + "1", alice}, problem.OK, "1"},
		{"/scarce", []string{from + "3", alice}, problem.OK, "0"}, // a principal is one, wherever it is
		{"/scarce", []string{from + "4", alice}, problem.LimitRate, "0"},
		{"/free", []string{from + "1"}, problem.OK, ""},
	} {
		got := d.do(h, "GET", c.target, "", c.fields...)
		if c.want != problem.OK {
			d.refused(c.target, got, c.want)
			if got.header.Get("Retry-After") != "60" {
				t.Errorf("Retry-After %q, want 60", got.header.Get("Retry-After"))
			}
		} else if got.status != 200 || got.header.Get("Retry-After") != "" {
			t.Errorf("%s %v: got %d", c.target, c.fields, got.status)
		}
		wantLimit, wantPolicy := `"route";r=`+c.left+`;t=60`, `"route";q=2;w=60`
		if c.left == "" {
			wantLimit, wantPolicy = "", ""
		}
		if l, p := got.header.Get("RateLimit"), got.header.Get("RateLimit-Policy"); l != wantLimit || p != wantPolicy {
			t.Errorf("%s %v: RateLimit %q, RateLimit-Policy %q; want %q, %q", c.target, c.fields, l, p, wantLimit, wantPolicy)
		}
	}
}

func TestListenerRate(t *testing.T) {
	d := openDoor(t, []*zone.Route{
		{Method: "GET", Path: "/a", Allow: zone.AllowAnonymous},
		{Method: "GET", Path: "/b", Allow: zone.AllowAnonymous, Limit: zone.Rate{Count: 10, Window: time.Minute}},
	}, func(c *Config) { c.Zone.Listeners[0].Limits.Rate = zone.Rate{Count: 2, Window: time.Second} })
	h := d.client(false)
	d.do(h, "GET", "/a", "")
	got := d.do(h, "GET", "/b", "")
	if l := strings.Join(got.header["Ratelimit"], ", "); got.status != 200 || l != `"listener";r=0;t=1, "route";r=9;t=60` {
		t.Errorf("got %d, RateLimit %s", got.status, l)
	}
	d.refused("third on the listener", d.do(h, "GET", "/a", ""), problem.LimitRate)
	d.refused("third, the route's own left", d.do(h, "GET", "/b", ""), problem.LimitRate)
}

func TestLimiterDown(t *testing.T) {
	d := openDoor(t, []*zone.Route{
		{Method: "GET", Path: "/free", Allow: zone.AllowAnonymous},
		{Method: "GET", Path: "/scarce", Allow: zone.AllowAnonymous, Limit: zone.Rate{Count: 2, Window: time.Minute}},
	})
	d.limiter.err = errors.New("planted cause")
	h := d.client(false)
	d.refused("limiter down", d.do(h, "GET", "/scarce", ""), problem.LimitUnavailable)
	d.limiter.err = problem.New(problem.OK, errors.New("planted cause")) // an error is a no, whatever it says of itself
	d.refused("limiter down, and wrong about it", d.do(h, "GET", "/scarce", ""), problem.LimitUnavailable)
	if got := d.do(h, "GET", "/free", ""); got.status != 200 {
		t.Errorf("a route without a limit: got %d", got.status)
	}
}

// TestLimitSubject: nobody can spend, or escape to, somebody else's allowance.
func TestLimitSubject(t *testing.T) {
	long := strings.Repeat("x", 1000)
	names := map[string]string{}
	for what, name := range map[string]string{
		"an address":                   limitSubject(anonymous(), addr("203.0.113.7")),
		"another":                      limitSubject(anonymous(), addr("203.0.113.8")),
		"a /64":                        limitSubject(anonymous(), addr("2001:db8::1")),
		"a user named as an address":   limitSubject(&policy.Principal{Kind: policy.User, Subject: "203.0.113.7"}, addr("203.0.113.9")),
		"a user named as a bucket":     limitSubject(&policy.Principal{Kind: policy.User, Subject: "a:203.0.113.7"}, addr("203.0.113.9")),
		"a user named anonymous":       limitSubject(&policy.Principal{Kind: policy.User, Subject: "anonymous"}, addr("203.0.113.9")),
		"a subject that is too long":   limitSubject(&policy.Principal{Kind: policy.User, Subject: long}, addr("203.0.113.9")),
		"another that is too long":     limitSubject(&policy.Principal{Kind: policy.User, Subject: long + "y"}, addr("203.0.113.9")),
		"no address, as of a pipe end": limitSubject(anonymous(), netip.Addr{}),
	} {
		if other, taken := names[name]; taken {
			t.Errorf("%s and %s are both %q", what, other, name)
		}
		names[name] = what
		if len(limitName("r", long)+name) > 256 {
			t.Errorf("%s: the key is %d bytes long", what, len(name))
		}
	}
	if a, b := limitSubject(anonymous(), addr("2001:db8::1")), limitSubject(anonymous(), addr("2001:db8::2")); a != b {
		t.Errorf("two addresses of a /64: %q and %q", a, b)
	}
	if a, b := limitName("r", "s GET /a"), limitName("r", "s GET /b"); a == b {
		t.Error("two routes share a name")
	}
}

func TestWholeSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "1", -time.Second: "1", time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Hour: "3600"} {
		if got := wholeSeconds(d); got != want {
			t.Errorf("wholeSeconds(%v) = %s, want %s", d, got, want)
		}
	}
}
