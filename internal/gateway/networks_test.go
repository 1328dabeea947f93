package gateway

import (
	"net/netip"
	"testing"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// TestNetworks: a key that is limited to networks is taken from there alone,
// whoever has used it before: what is remembered of it is the same for all.
func TestNetworks(t *testing.T) {
	const limited = "spk_limited"
	d := openDoor(t, []*zone.Route{
		{Method: "GET", Path: "/things", Allow: zone.AllowKey, Scopes: []string{"things.read"}},
		{Method: "GET", Path: "/open", Allow: zone.AllowAnonymous},
	}, func(c *Config) {
		c.Zone.Listeners[0].TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	d.auth.set(limited, policy.Principal{
		Kind: policy.Key, Subject: "key_2", Scopes: []string{"things.read"}, Client: "2", Method: "key",
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::7/128")},
	})
	h := d.client(false)
	for _, c := range []struct {
		what, path, key, from string
		want                  problem.Reason
	}{
		{"a stranger, before it is remembered", "/things", limited, "198.51.100.1", problem.AccessAddress},
		{"of the network", "/things", limited, "192.0.2.9", problem.OK},
		{"a stranger, when it is remembered", "/things", limited, "198.51.100.1", problem.AccessAddress},
		{"a stranger, where none is needed", "/open", limited, "198.51.100.1", problem.AccessAddress},
		{"who says to be of the network", "/things", limited, "192.0.2.9, 198.51.100.1", problem.AccessAddress},
		{"of the network, as IPv6 writes it", "/things", limited, "::ffff:192.0.2.9", problem.OK},
		{"of the IPv6 address", "/things", limited, "2001:db8::7", problem.OK},
		{"the address beside it", "/things", limited, "2001:db8::8", problem.AccessAddress},
		{"the proxy itself", "/things", limited, "", problem.AccessAddress},
		{"a key for everywhere", "/things", keyValue, "198.51.100.1", problem.OK},
	} {
		header := []string{"X-Api-Key: " + c.key}
		if c.from != "" {
			header = append(header, "X-Forwarded-For: "+c.from)
		}
		got := d.do(h, "GET", c.path, "", header...)
		if last := d.last(); got.status != c.want.Status() || last.Reason != c.want.Code() {
			t.Errorf("%s: got %d, record %+v; want %s", c.what, got.status, last, c.want)
		}
	}
	if n := d.auth.count(); n != 2 {
		t.Errorf("asked %d times, want 2: once for each key", n)
	}
}

// TestOwnerIsForgotten: a key rests with its owner, so what is remembered of it
// goes with a revocation of the owner.
func TestOwnerIsForgotten(t *testing.T) {
	d := openDoor(t, []*zone.Route{{Method: "GET", Path: "/things", Allow: zone.AllowKey, Scopes: []string{"things.read"}}})
	d.auth.set(keyValue, policy.Principal{Kind: policy.Key, Subject: "key_1", Scopes: []string{"things.read"}, Client: "1", Method: "key", Owner: "ada"})
	h := d.client(false)
	for _, c := range []struct {
		forget string
		asked  int
	}{{"", 1}, {"", 1}, {"bob", 1}, {"ada", 2}, {"key_1", 3}} {
		if c.forget != "" {
			d.gateway.ForgetSubject(c.forget)
		}
		if got := d.do(h, "GET", "/things", "", "X-Api-Key: "+keyValue); got.status != 200 {
			t.Fatalf("got %d %s", got.status, got.body)
		}
		if n := d.auth.count(); n != c.asked {
			t.Errorf("after %q was revoked: asked %d times, want %d", c.forget, n, c.asked)
		}
	}
}

// TestOwnerWakesStreams: so do the streams that were opened with it.
func TestOwnerWakesStreams(t *testing.T) {
	for forget, want := range map[string]bool{"ada": true, "key_1": true, "bob": false} {
		var all vigils
		v := &vigil{look: make(chan struct{}, 1)}
		all.add(v, [32]byte{1}, [2]string{"key_1", "ada"})
		all.forgetSubject(forget)
		if got := len(v.look) == 1; got != want {
			t.Errorf("a revocation of %s: looks %v, want %v", forget, got, want)
		}
	}
}
