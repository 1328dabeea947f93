package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const limitMap = `
zone: shop.example
journal: {size: 64MiB}
listeners:
  public: {address: "@public@", limits: {header_time: 1min}}
  rated: {address: "@rated@", limits: {rate: 7/h, header_time: 1min}}
  admin: {address: "@admin@"}
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /limited: {allow: [anonymous, user], limit: 30/h}
      POST /limited: {allow: [anonymous, user], limit: 30/h}
      GET /brief: {allow: user, limit: 3/2s}
      GET /forbidden: {allow: user, roles: [none], limit: 4/h}
      GET /free: {allow: [anonymous, user]}
      GET /rated: {allow: anonymous, listener: rated}
      GET /rated/other: {allow: anonymous, listener: rated}
`

// fromAddress makes a client whose connections come from a loopback address.
func fromAddress(address string) func(*http.Transport) {
	return func(tr *http.Transport) {
		tr.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(to)
			if err != nil {
				return nil, err
			}
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
			return d.DialContext(ctx, network, "127.0.0.1:"+port)
		}
	}
}

var rateItem = regexp.MustCompile(`^"([a-z]+)";r=(\d+);t=(\d+)$`)

// TestLimitIsExact: of many requests at once exactly the declared number passes,
// the rest is 429 with when to come back; another principal and another address
// have a count of their own.
func TestLimitIsExact(t *testing.T) {
	t.Parallel()
	exactly(t, limitIsExact)
}

func limitIsExact(t *attempt) {
	const limit, sent = 30, 45
	up := startUpstream(t, nil)
	z := startZone(t, limitMap, map[string]string{"plain": up.address})
	account := z.addUser("alice@shop.example")
	alice, again, bob := z.login(account), z.login(account), z.login(z.addUser("bob@shop.example"))
	here, there := z.client(), z.client(fromAddress("127.0.0.9"))
	for _, s := range []struct {
		name    string
		bearers []string
		clients []*http.Client
	}{
		{"alice from two addresses, with two sessions", []string{alice, alice, again}, []*http.Client{here, there}}, // counted by principal
		{"bob", []string{bob}, []*http.Client{here}},                                                                // unaffected by alice
		{"an address", []string{""}, []*http.Client{here}},
		{"another address", []string{""}, []*http.Client{there}},
	} {
		var allowed, refused, asked atomic.Int64
		var mu sync.Mutex
		remaining := map[string]int{}
		var work sync.WaitGroup
		for i := range sent {
			work.Go(func() {
				began := time.Now()
				got := z.try(call{path: "/limited", bearer: s.bearers[i%len(s.bearers)], client: s.clients[i%len(s.clients)]})
				if outOfTime(got, time.Since(began)) {
					mu.Lock()
					t.disturbed = "the gateway had no time: " + got.reason()
					mu.Unlock()
				}
				asked.Add(int64(len(up.of(got.ID))))
				item := rateItem.FindStringSubmatch(got.Header.Get("RateLimit"))
				if policy := got.Header.Get("RateLimit-Policy"); policy != `"route";q=30;w=3600` || item == nil {
					t.Errorf("%s: %d, RateLimit %q, RateLimit-Policy %q", s.name, got.Status, got.Header.Get("RateLimit"), policy)
					return
				}
				mu.Lock()
				remaining[item[2]]++
				mu.Unlock()
				switch after, err := strconv.Atoi(got.Header.Get("Retry-After")); {
				case got.Err == nil && got.Status == 200 && err != nil:
					allowed.Add(1)
				case got.Status == 429 && got.reason() == "limit.rate" && err == nil && after >= 1 && after <= 4200:
					refused.Add(1)
				default:
					t.Errorf("%s: %d %s, Retry-After %q, %v", s.name, got.Status, got.reason(), got.Header.Get("Retry-After"), got.Err)
				}
			})
		}
		work.Wait()
		if allowed.Load() != limit || refused.Load() != sent-limit || asked.Load() != limit {
			t.Errorf("%s: %d allowed, %d refused, the service was asked %d times; want %d, %d, %d", s.name, allowed.Load(), refused.Load(), asked.Load(), limit, sent-limit, limit)
		}
		for left := 1; left < limit && z.pair == nil; left++ { // each answer told another number; over engines it tells at most what is left
			if remaining[fmt.Sprint(left)] != 1 {
				t.Errorf("%s: %d answers told that %d are left", s.name, remaining[fmt.Sprint(left)], left)
			}
		}
	}
	// The limit is of the one route: another method and another path are free.
	for _, c := range []call{{method: "POST", path: "/limited", bearer: alice}, {path: "/free", bearer: alice}} {
		if got := z.do(c); got.Status != 200 {
			t.Errorf("%s %s: %d", c.method, c.path, got.Status)
		}
	}
	// A forged address is no other address.
	if got := z.do(call{path: "/limited", header: http.Header{"X-Forwarded-For": {"192.0.2.7"}, "X-Real-Ip": {"192.0.2.7"}}}); got.Status != 429 {
		t.Errorf("with X-Forwarded-For: %d, want 429", got.Status)
	}
	got := z.do(call{path: "/limited", bearer: alice})
	if rs := z.of(got.ID); got.Status != 429 || len(rs) != 1 || rs[0].Reason != "limit.rate" || rs[0].Status != 429 || rs[0].Principal == "anonymous" {
		t.Errorf("records of a refused request: %d %+v", got.Status, rs)
	}
}

// TestLimitEnds: who waits as Retry-After says is let in again; who does not is not.
func TestLimitEnds(t *testing.T) {
	t.Parallel()
	z := startZone(t, limitMap, map[string]string{"plain": startUpstream(t, nil).address})
	exactly(t, func(t *attempt) {
		z := z.in(t)
		token, client := z.login(z.addUser(newID()+"@shop.example")), z.client()
		get := func() answer { return z.do(call{path: "/brief", bearer: token, client: client}) }
		began := time.Now()
		for range 3 {
			if got := get(); got.Status != 200 {
				t.Fatalf("within the limit: %d", got.Status)
			}
		}
		last := get()
		if t.late("four requests", time.Since(began), 2*time.Second); last.Status != 429 {
			t.Fatalf("the fourth: %d, want 429", last.Status)
		}
		after, err := strconv.Atoi(last.Header.Get("Retry-After"))
		if err != nil || after < 1 || after > 3 {
			t.Fatalf("Retry-After %q", last.Header.Get("Retry-After"))
		}
		time.Sleep(time.Duration(after) * time.Second) // what it says is what is tested
		got := get()
		if got.Status != 200 {
			t.Errorf("after %d s: %d, want 200", after, got.Status)
		}
	}, z)
}

// TestLimitOfAListener: over all its routes; and what a stage before refused
// costs nobody an allowance of another.
func TestLimitOfAListener(t *testing.T) {
	t.Parallel()
	z := startZone(t, limitMap, map[string]string{"plain": startUpstream(t, nil).address})
	exactly(t, func(t *attempt) { limitOfAListener(t, z.in(t)) }, z)
}

func limitOfAListener(t *attempt, z *zoned) {
	client := z.client(fromAddress(fmt.Sprintf("127.0.%d.%d", 1+rand.IntN(200), 1+rand.IntN(200)))) // its own in each try
	passed := 0
	for i := range 12 {
		path := []string{"/rated", "/rated/other"}[i%2]
		got := z.do(call{listener: "rated", path: path, client: client})
		if got.Status == 200 {
			passed++
		} else if got.Status != 429 || !strings.Contains(got.Header.Get("RateLimit-Policy"), `"listener";q=7;w=3600`) {
			t.Errorf("%d with %q", got.Status, got.Header.Get("RateLimit-Policy"))
		}
	}
	if passed != 7 {
		t.Errorf("%d passed, want 7", passed)
	}
	if got := z.do(call{path: "/free", client: client}); got.Status != 200 {
		t.Errorf("another listener: %d", got.Status)
	}
	alice := z.login(z.addUser(newID() + "@shop.example"))
	counts := map[int]int{}
	for range 8 {
		counts[z.do(call{path: "/forbidden", bearer: alice, client: client}).Status]++
	}
	if counts[403] != 4 || counts[429] != 4 { // refused attempts count too: limit comes before authorize
		t.Errorf("a route that alice may not use: %v, want four 403 and four 429", counts)
	}
}
