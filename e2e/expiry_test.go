package e2e

import (
	"net/http"
	"testing"
	"time"
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
	get := func(client *http.Client, token string) answer {
		return z.do(call{path: "/mine", bearer: token, client: client})
	}
	refused := func(t *testing.T, client *http.Client, token string) {
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

	t.Run("used", func(t *testing.T) {
		t.Parallel()
		client := z.client()
		began := time.Now()
		token := z.loginWith(client, alice)
		if got := get(client, token); got.Status != 200 {
			t.Fatalf("fresh: %d %s", got.Status, got.reason())
		}
		until(t, "the session is refused", func() bool { return get(client, token).Status != 200 })
		switch lived := time.Since(began); {
		case lived < 4*time.Second:
			t.Errorf("a session used every 20 ms ended after %v: idle is 2 s, absolute 6 s", lived)
		case lived > 7*time.Second:
			t.Errorf("a session of 6 s ended after %v", lived)
		}
		refused(t, client, token)
	})
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		client := z.client()
		token := z.loginWith(client, alice)
		if got := get(client, token); got.Status != 200 {
			t.Fatalf("fresh: %d %s", got.Status, got.reason())
		}
		time.Sleep(2100 * time.Millisecond) // it is this very time that ends it
		refused(t, client, token)
		if got := get(client, z.loginWith(client, alice)); got.Status != 200 {
			t.Errorf("a new login: %d, want 200", got.Status)
		}
	})
}
