package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestHangup: a HUP brings the changed map into force, or says that it does not;
// the zone serves on in any case, by one map or the other as a whole.
func TestHangup(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := startZone(t, trapsMap, map[string]string{"plain": up.address})
	client := z.client()
	text, err := os.ReadFile(filepath.Join(z.dir, "zone.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	status := func(path string) int { return z.do(call{path: path, client: client}).Status }
	if status("/open") != 200 || status("/new") != 404 {
		t.Fatal("positive control: /open and not yet /new")
	}
	force := "/open" // a route of the map in force
	for _, change := range []struct{ route, map_ string }{
		{"/new", strings.Replace(string(text), "GET /open: anonymous", "GET /new: anonymous", 1)},
		{"/newer", strings.Replace(string(text), "GET /open: anonymous", "GET /newer: nobody", 1)}, // a bad map
	} {
		z.write("zone.yaml", change.map_)
		said := len(z.stderr.String())
		var before []int // of each process
		for _, w := range z.each() {
			before = append(before, len(w.stderr.String()))
		}
		if err := z.signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		until(t, "something is said of the HUP", func() bool {
			select {
			case <-z.exited:
				t.Fatalf("HUP ended the zone: %v\n%s", z.err, z.stderr)
			default:
			}
			for i, w := range z.each() {
				if line := w.stderr.String()[before[i]:]; !strings.Contains(line, "reload: done") && !strings.Contains(line, "the map is refused") {
					return false // told to, and still at it
				}
			}
			return true
		})
		switch changed := status(change.route); {
		case changed == 404: // not in force: then the old map is, whole
			if got := status(force); got != 200 {
				t.Errorf("%s is not there, and %s is %d", change.route, force, got)
			}
			if line := z.stderr.String()[said:]; !strings.Contains(line, "reload") && !strings.Contains(line, "nobody") {
				t.Errorf("the map is not in force, and that is not said: %s", line)
			}
		case change.route == "/newer" || changed != 200 || status(force) == 200:
			t.Errorf("%s: %d, %s: %d", change.route, changed, force, status(force))
		default:
			force = change.route
		}
	}
}

// TestTrustedProxies: their word on the client's address is believed, from the
// right; nobody else's is.
func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := startZone(t, strings.Replace(trapsMap, `{address: "@public@", `, `{address: "@public@", trusted_proxies: [127.0.0.9/32, 10.0.0.0/8], `, 1), map[string]string{"plain": up.address})
	proxy, other := z.client(fromAddress("127.0.0.9")), z.client(fromAddress("127.0.0.8"))
	for _, s := range []struct {
		client    *http.Client
		forwarded []string
		want      string
	}{
		{proxy, nil, "127.0.0.9"},
		{proxy, []string{"192.0.2.1"}, "192.0.2.1"},
		{proxy, []string{"192.0.2.66, 192.0.2.1"}, "192.0.2.1"}, // the left one is the client's own word
		{proxy, []string{"192.0.2.66", "192.0.2.1, 10.1.2.3"}, "192.0.2.1"},
		{proxy, []string{"192.0.2.66, nonsense"}, "127.0.0.9"},
		{proxy, []string{"2001:db8::7"}, "2001:db8::7"},
		{other, []string{"192.0.2.1"}, "127.0.0.8"},
	} {
		got := z.do(call{path: "/open", client: s.client, header: http.Header{"X-Forwarded-For": s.forwarded}})
		rs, in := z.of(got.ID), up.of(got.ID)
		if len(rs) != 1 || rs[0].Client != s.want || len(in) != 1 || !strings.Contains(in[0].Header.Get("Sallyport-Client"), s.want) || in[0].Header.Get("X-Forwarded-For") != "" {
			t.Errorf("X-Forwarded-For %q: records %+v, inside %v; want %s", s.forwarded, rs, in, s.want)
		}
	}
}

// TestGuessing: guesses at a password are bounded before they cost a hash, in
// the same way for accounts that are not there; other accounts go on.
func TestGuessing(t *testing.T) {
	t.Parallel()
	z := startZone(t, trapsMap, map[string]string{"plain": startUpstream(t, nil).address})
	alice, bob := z.addUser("alice@shop.example"), z.addUser("bob@shop.example")
	client := z.client()
	guess := func(email string) (sequence string, bodies map[string]bool) {
		bodies = map[string]bool{}
		for range 16 {
			got := z.do(call{method: "POST", path: "/auth/login", json: true, body: credentials(email, "wrong passphrase"), client: client})
			sequence += strconv.Itoa(got.Status) + " "
			bodies[strings.ReplaceAll(got.Body, got.ID, "ID")] = true
			if got.Status == 429 && (got.reason() != "limit.rate" || got.Header.Get("Retry-After") == "") {
				t.Errorf("429 %s with Retry-After %q", got.reason(), got.Header.Get("Retry-After"))
			}
		}
		return sequence, bodies
	}
	known, knownBodies := guess(alice.Email)
	unknown, unknownBodies := guess("nobody@shop.example")
	if known != unknown || len(knownBodies) != len(unknownBodies) {
		t.Errorf("known and unknown accounts are told apart:\n%s\n%s", known, unknown)
	}
	for body := range knownBodies {
		if !unknownBodies[body] {
			t.Errorf("an unknown account never gets %s", body)
		}
	}
	if strings.Count(known, "401") == 0 || strings.Count(known, "429") == 0 {
		t.Errorf("16 guesses: %s; want 401 first, then 429", known)
	}
	z.loginWith(client, bob)
}

// TestNamesOfTheMapCanBeGiven: a role or scope that the map takes can be given to
// a user or key; else its route could never be used by anybody.
func TestNamesOfTheMapCanBeGiven(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"support", "order-admin", "orders.write", "orders:write", "Support", "7th", "order_admin", "orders/write"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(trapsMap, "roles: [admin]", "roles: ['"+name+"']", 1)
			role := newZone(t, text, map[string]string{"plain": startUpstream(t, nil).address})
			if _, _, code := role.exec("check", "zone.yaml"); code == 0 {
				role.start()
				if got := role.do(call{path: "/admin/x", bearer: role.login(role.addUser("alice@shop.example", name))}); got.Status != 200 {
					t.Errorf("role: %d %s", got.Status, got.reason())
				}
			}
		})
		t.Run("scope "+name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(trapsMap, "{allow: user, roles: [admin]}", "{allow: key, scopes: ['"+name+"']}", 1)
			scope := newZone(t, text, map[string]string{"plain": startUpstream(t, nil).address})
			if _, _, code := scope.exec("check", "zone.yaml"); code == 0 {
				scope.start()
				if got := scope.do(call{path: "/admin/x", bearer: scope.createKey("k", "--scope", name).Key}); got.Status != 200 {
					t.Errorf("scope: %d %s", got.Status, got.reason())
				}
			}
		})
	}
}
