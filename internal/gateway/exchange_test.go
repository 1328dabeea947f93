package gateway

import (
	"errors"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// TestInsideTokenIsUsedAgain: for half its life, per credential and listener,
// and not past the entry it hangs on.
func TestInsideTokenIsUsedAgain(t *testing.T) {
	var c clock
	d := openDoor(t, []*zone.Route{{Method: "GET", Path: "/me", Allow: zone.AllowUser | zone.AllowAnonymous}}, func(cfg *Config) { cfg.Clock = c.now })
	d.tokens.life, d.tokens.now = 20*time.Second, c.now
	h := d.client(false)
	inside := func(fields ...string) string {
		t.Helper()
		if got := d.do(h, "GET", "/me", "", fields...); got.status != 200 {
			t.Fatalf("got %d %s", got.status, got.body)
		}
		all := d.service.all()
		return all[len(all)-1].header.Get("Txn-Token")
	}
	alice, root := "Authorization: Bearer "+aliceToken, "Authorization: Bearer "+rootToken
	first := inside(alice)
	if first != "inside.alice.public.1" || inside(alice) != first {
		t.Errorf("alice's token: %s, then another", first)
	}
	if got := inside(root); got != "inside.root.public.2" {
		t.Errorf("root got %s", got)
	}
	if got := inside(); got != "inside.anonymous.public.3" || inside() != got {
		t.Errorf("anonymous got %s, then another", got)
	}
	c.advance(9 * time.Second)
	if got := inside(alice); got != first {
		t.Errorf("before half its life: %s, want %s", got, first)
	}
	c.advance(2 * time.Second)
	if got := inside(alice); got == first {
		t.Error("past half its life the token was used again")
	}
	second := inside(alice)
	d.gateway.Forget(hashOf(aliceToken))
	if got := inside(alice); got == second {
		t.Error("the token outlived its credential's entry")
	}
}

func TestNoTokenNoRequest(t *testing.T) {
	for _, c := range []struct {
		what string
		set  func(*fakeTokens)
		want problem.Reason
	}{
		{"down", func(f *fakeTokens) { f.err = errors.New("planted cause") }, problem.TokenUnavailable},
		{"no key", func(f *fakeTokens) { f.err = problem.New(problem.TokenUnavailable, errors.New("planted cause")) }, problem.TokenUnavailable},
		{"expired token", func(f *fakeTokens) { f.life = -time.Second }, problem.TokenUnavailable},
		{"panic", func(f *fakeTokens) { f.before = func() { panic("planted cause") } }, problem.TokenUnavailable},
		{"the credential is over", func(f *fakeTokens) { f.err = problem.New(problem.AuthRevoked, nil) }, problem.AuthRevoked},
	} {
		d := userDoor(t)
		c.set(d.tokens)
		got := d.do(d.client(false), "GET", "/me", "", "Authorization: Bearer "+aliceToken)
		d.refused(c.what, got, c.want)
		if n := len(d.service.all()); n != 0 {
			t.Errorf("%s: the service received %d requests", c.what, n)
		}
		if strings.Contains(got.body, "planted") || c.want == problem.TokenUnavailable && c.what != "expired token" && !strings.Contains(d.log.String(), "planted") {
			t.Errorf("%s: the cause is in the answer, or not in the log: %s", c.what, got.body)
		}
	}
	// What the token service knows better ends what is remembered.
	d := userDoor(t)
	d.tokens.err = problem.New(problem.AuthRevoked, nil)
	h := d.client(false)
	for range 2 {
		d.do(h, "GET", "/me", "", "Authorization: Bearer "+aliceToken)
	}
	if n := d.auth.count(); n != 2 {
		t.Errorf("asked %d times, want 2: the entry should be gone", n)
	}
}

func TestMintsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &door{t: t}
		g, err := New(testConfig(d, testZone("127.0.0.1:1")))
		if err != nil {
			t.Fatal(err)
		}
		hold := make(chan struct{})
		d.tokens.before = func() { <-hold }
		alice, other := entryOf(1, time.Now()), entryOf(1, time.Now())
		alice.number, other.number = 101, 102
		var ok atomic.Int64
		for i := range 20 {
			trip := &trip{entry: alice, listener: g.now().listeners[0], r: httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)}
			if i%2 == 0 {
				trip.entry = other
			}
			go func() {
				if token, err := g.mint(trip); err == nil && token.value != "" {
					ok.Add(1)
				}
			}()
		}
		synctest.Wait()
		close(hold)
		synctest.Wait()
		if n := d.tokens.count(); n != 2 || ok.Load() != 20 {
			t.Errorf("20 requests for two entries: minted %d, answered %d; want 2, 20", n, ok.Load())
		}
		if a, b := alice.tokens[0].Load(), other.tokens[0].Load(); a == nil || b == nil || a == b {
			t.Errorf("tokens %v and %v: an entry must have its own", a, b)
		}
	})
}
