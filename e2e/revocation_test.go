package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const revocationMap = head + `
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /mine: user
      GET /staff: {allow: user, roles: [support]}
      GET /notify: {allow: key, scopes: [notify]}
`

// turn is one credential that will lose its right.
type turn struct {
	header http.Header
	taken  atomic.Bool // the taking has been answered
}

// A hammer keeps two more clients asking with the credential of the turn, so that
// look-ups and caches are busy with it at the moment when its right is taken. A
// request that begins after that and is let in is an error.
type hammer struct {
	z    *zoned
	path string
	done atomic.Bool
	good atomic.Int64
	work sync.WaitGroup

	mu  sync.RWMutex // held for reading while a request is under way
	now *turn        // guarded by mu
}

func (z *zoned) hammer(path string) *hammer {
	h := &hammer{z: z, path: path}
	for range 2 {
		client := z.client()
		h.work.Go(func() {
			for !h.done.Load() {
				h.ask(client)
				time.Sleep(time.Millisecond) // leaves the machine to the others
			}
		})
	}
	return h
}

func (h *hammer) ask(client *http.Client) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.now == nil {
		return
	}
	late := h.now.taken.Load()
	got := h.z.try(call{path: h.path, header: h.now.header, client: client})
	switch {
	case got.Err != nil:
		h.z.t.Errorf("beside: %v", got.Err)
	case late && got.Status == 200:
		h.z.t.Errorf("a request that began after the right was taken was let in (%s)", got.ID)
	case got.Status == 200:
		h.good.Add(1)
	}
}

// at is the turn from now on; what was asked of the one before is answered.
func (h *hammer) at(now *turn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = now
}

func (h *hammer) stop() {
	h.done.Store(true)
	h.work.Wait()
}

// takings are the ways to take a right away. Each has a user or keys of its own.
var takings = []struct {
	name, path string
	status     int
	reason     string
	taking     func(z *zoned, client *http.Client) (give func(round int) http.Header, take func(header http.Header))
}{
	{"logout", "/mine", 401, "auth.revoked", func(z *zoned, client *http.Client) (func(int) http.Header, func(http.Header)) {
		u := z.addUser("logout@shop.example")
		return func(int) http.Header { return bearer(z.loginWith(client, u)) },
			func(h http.Header) { z.do(call{method: "POST", path: "/auth/logout", header: h, client: client}) }
	}},
	{"session revoke of one", "/mine", 401, "auth.revoked", func(z *zoned, client *http.Client) (func(int) http.Header, func(http.Header)) {
		u := z.addUser("one@shop.example")
		return func(int) http.Header { return bearer(z.loginWith(client, u)) }, func(http.Header) {
			var list []struct{ ID string }
			if err := json.Unmarshal([]byte(z.must("session", "list", u.Email, "--format", "json")), &list); err != nil || len(list) != 1 {
				z.t.Fatalf("session list: %v, %v", list, err)
			}
			z.must("session", "revoke", u.Email, list[0].ID)
		}
	}},
	{"session revoke of all", "/mine", 401, "auth.revoked", func(z *zoned, client *http.Client) (func(int) http.Header, func(http.Header)) {
		u := z.addUser("all@shop.example")
		return func(int) http.Header { return bearer(z.loginWith(client, u)) },
			func(http.Header) { z.must("session", "revoke", u.Email) }
	}},
	{"role revoke", "/staff", 403, "access.role", func(z *zoned, client *http.Client) (func(int) http.Header, func(http.Header)) {
		u := z.addUser("role@shop.example")
		header := bearer(z.loginWith(client, u)) // one session for all rounds
		return func(int) http.Header { z.must("role", "grant", u.Email, "support"); return header },
			func(http.Header) { z.must("role", "revoke", u.Email, "support") }
	}},
	{"user disable", "/mine", 401, "auth.revoked", func(z *zoned, client *http.Client) (func(int) http.Header, func(http.Header)) {
		u := z.addUser("disable@shop.example")
		return func(int) http.Header { z.must("user", "enable", u.Email); return bearer(z.loginWith(client, u)) },
			func(http.Header) { z.must("user", "disable", u.Email) }
	}},
	{"user password", "/mine", 401, "auth.revoked", func(z *zoned, client *http.Client) (func(int) http.Header, func(http.Header)) {
		u := z.addUser("password@shop.example")
		return func(round int) http.Header {
				header := bearer(z.loginWith(client, u))
				u.Password = passphrase(fmt.Sprint("round ", round))
				return header
			}, func(http.Header) {
				z.must("user", "password", u.Email, "--password-file", z.write("new-password", u.Password))
			}
	}},
	{"key revoke", "/notify", 401, "auth.revoked", func(z *zoned, _ *http.Client) (func(int) http.Header, func(http.Header)) {
		var key apiKey
		return func(round int) http.Header {
			key = z.createKey(fmt.Sprint("round-", round), "--scope", "notify")
			return xKey(key.Key)
		}, func(http.Header) { z.must("key", "revoke", key.ID) }
	}},
}

// TestRevocationIsImmediate: the very next request after each way to take a
// right away is refused, fifty times, while others ask with the same credential.
// Each round begins with the positive control: the same request is let in.
func TestRevocationIsImmediate(t *testing.T) {
	t.Parallel()
	rounds := 50
	if isTwin(t) { // each takes a while to be known to both
		rounds = 10
	}
	up := startUpstream(t, nil)
	zone := startZone(t, revocationMap, map[string]string{"plain": up.address})
	for _, s := range takings {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			z := zone.in(t)
			client := z.client()
			give, take := s.taking(z, client)
			beside := z.hammer(s.path)
			defer beside.stop()
			for round := range rounds {
				now := &turn{header: give(round)}
				beside.at(now)
				for range 2 {
					if got := z.do(call{path: s.path, header: now.header, client: client}); got.Status != 200 {
						t.Fatalf("round %d, before: %d %s, want 200", round, got.Status, got.Body)
					}
				}
				take(now.header)
				now.taken.Store(true)
				for range 2 {
					got := z.do(call{path: s.path, header: now.header, client: client})
					if got.Status != s.status || got.reason() != s.reason {
						t.Fatalf("round %d, the very next request: %d %s, want %d %s", round, got.Status, got.reason(), s.status, s.reason)
					}
				}
				beside.at(nil) // or the next round's grant would look like a hole
			}
			if beside.good.Load() == 0 {
				t.Error("nobody else was let in before: there was no load")
			}
		})
	}
}

// TestDisabledAndRemovedUsersCannotLogIn: and the answer is that of a wrong
// password.
func TestDisabledAndRemovedUsersCannotLogIn(t *testing.T) {
	t.Parallel()
	z := startZone(t, revocationMap, map[string]string{"plain": startUpstream(t, nil).address})
	u := z.addUser("alice@shop.example")
	tryLogin := func() answer {
		return z.do(call{method: "POST", path: "/auth/login", json: true, body: credentials(u.Email, u.Password)})
	}
	if got := tryLogin(); got.Status != 200 {
		t.Fatalf("enabled: %d", got.Status)
	}
	before := z.login(u)
	z.must("user", "disable", u.Email)
	if got := tryLogin(); got.Status != 401 || got.reason() != "auth.login" {
		t.Errorf("disabled: %d %s, want 401 auth.login", got.Status, got.reason())
	}
	z.must("user", "enable", u.Email)
	if got := z.do(call{path: "/mine", bearer: before}); got.Status != 401 || got.reason() != "auth.revoked" {
		t.Errorf("a session from before the account was closed and opened again: %d %s, want 401 auth.revoked", got.Status, got.reason())
	}
	token := z.login(u)
	z.must("user", "remove", u.Email)
	if got := tryLogin(); got.Status != 401 || got.reason() != "auth.login" {
		t.Errorf("removed: %d %s, want 401 auth.login", got.Status, got.reason())
	}
	if got := z.do(call{path: "/mine", bearer: token}); got.Status != 401 {
		t.Errorf("the session of a removed user: %d, want 401", got.Status)
	}
}
