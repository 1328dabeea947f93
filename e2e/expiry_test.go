package e2e

import (
	"net/http"
	"testing"
	"time"
)

const (
	expiryIdle     = 2 * time.Second
	expiryAbsolute = 6 * time.Second
)

const expiryMap = head + `
identity: {sessions: {idle: 2s, absolute: 6s, remember: 6s}}
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /open: anonymous
      GET /mine: user
`

// TestSessionsExpire: a session that is used lives past its idle bound and ends
// at its absolute one; one that idles ends earlier; each by the clock of the
// door, whatever its caches hold.
func TestSessionsExpire(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := startZone(t, expiryMap, map[string]string{"plain": up.address})
	alice := z.addUser("alice@shop.example")
	refused := func(t testing.TB, z *zoned, client *http.Client, token string) {
		t.Helper()
		for name, header := range map[string]http.Header{"bearer": bearer(token), "cookie": cookie(token)} {
			for _, path := range []string{"/mine", "/open"} {
				got := z.do(call{path: path, header: header, client: client})
				if got.Status != 401 || got.reason() != "auth.expired" {
					t.Errorf("%s on %s: %d %s, want 401 auth.expired", name, path, got.Status, got.reason())
				}
				if rs := z.of(got.ID); len(rs) != 1 || rs[0].Reason != "auth.expired" || rs[0].Status != 401 {
					t.Errorf("%s on %s: the records are %+v", name, path, rs)
				}
			}
		}
	}

	// known says that a session is good, when it was asked for early enough.
	known := func(t *attempt, z *zoned, client *http.Client, token string, since time.Time) {
		t.Helper()
		got := z.do(call{path: "/mine", bearer: token, client: client})
		if t.late("a login and a request", time.Since(since), expiryIdle); got.Status != 200 {
			t.Fatalf("fresh: %d %s", got.Status, got.reason())
		}
	}

	t.Run("used", func(t *testing.T) {
		t.Parallel()
		attempts(t, func(t *attempt) {
			z, client := z.in(t), z.client()
			began := time.Now()
			token := z.loginWith(client, alice)
			known(t, z, client, token, began)
			used := time.Now()
			until(t, "the session is refused", func() bool {
				got := z.do(call{path: "/mine", bearer: token, client: client})
				t.late("a pause", time.Since(used), expiryIdle)
				used = time.Now()
				return got.Status != 200
			})
			if lived := time.Since(began); lived < expiryAbsolute {
				t.Errorf("a session used every 20 ms ended after %v: idle is %v, absolute %v", lived, expiryIdle, expiryAbsolute)
			}
			refused(t, z, client, token)
		})
	})
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		attempts(t, func(t *attempt) {
			z, client := z.in(t), z.client()
			began := time.Now()
			token := z.loginWith(client, alice)
			known(t, z, client, token, began)
			time.Sleep(expiryIdle + 100*time.Millisecond) // it is this very time that ends it
			refused(t, z, client, token)
			again := time.Now()
			known(t, z, client, z.loginWith(client, alice), again)
		})
	})
}
