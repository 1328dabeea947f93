package e2e

import (
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/internal/journal"
)

// crashMap has a journal that closes a segment now and then in these tests, and
// frees none.
const crashMap = `
zone: shop.example
journal: {size: 2MiB}
listeners:
  public: {address: "@public@", limits: {header_time: 1min}}
  admin: {address: "@admin@"}
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /open: anonymous
      POST /mine: user
      GET /slow: anonymous
`

// verifyJournal derives the whole journal again.
func (z *zoned) verifyJournal(t testing.TB) {
	t.Helper()
	for _, w := range z.each() {
		report, err := journal.Verify(t.Context(), filepath.Join(w.data, "journal"))
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Findings) > 0 || report.Records == 0 {
			t.Errorf("the journal has %d records and %v", report.Records, report.Findings)
		}
	}
}

// acknowledged is what clients saw whole before the zone was killed.
type acknowledged struct {
	mu       sync.Mutex
	requests map[string]int // status by correlation id
	alive    []string       // sessions that were made and not ended
	ended    []string       // sessions whose end was answered
}

func (a *acknowledged) note(got answer) bool {
	if got.Err != nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests[got.ID] = got.Status
	return true
}

// work makes requests, sessions and ends of sessions until the zone is gone.
func (a *acknowledged) work(z *zoned, user account, session string) {
	client := z.client()
	for n := 0; ; n++ {
		var got answer
		switch n % 50 {
		case 8, 18: // logs in, and stays
			got = z.try(call{method: "POST", path: "/auth/login", json: true, body: credentials(user.Email, user.Password), client: client})
			if token := between(got.Body, `"token":"`, `"`); got.Err == nil && token != "" {
				a.mu.Lock()
				a.alive = append(a.alive, token)
				a.mu.Unlock()
			}
		case 19: // logs out of one of them
			a.mu.Lock()
			var token string
			if len(a.alive) > 6 { // the others stay
				token, a.alive = a.alive[0], a.alive[1:]
			}
			a.mu.Unlock()
			if token == "" {
				continue
			}
			if got = z.try(call{method: "POST", path: "/auth/logout", bearer: token, client: client}); got.Err == nil {
				a.mu.Lock()
				a.ended = append(a.ended, token)
				a.mu.Unlock()
			}
		case 3, 23, 33:
			got = z.try(call{method: "POST", path: "/mine", bearer: session, body: "x", client: client})
		case 4, 44:
			got = z.try(call{method: "POST", path: "/mine", client: client}) // refused, and on record too
		default:
			got = z.try(call{path: "/open", client: client})
		}
		if !a.note(got) {
			return
		}
	}
}

func between(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}

// TestKill: after kill -9 under load every request that a client saw whole is on
// record, sessions are as they were answered, and the journal holds together.
func TestKill(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, nil)
	z := startZone(t, crashMap, map[string]string{"plain": up.address})
	alice := z.addUser("alice@shop.example")
	session := z.login(alice)
	all := map[string]int{}
	for round := range 3 {
		a := &acknowledged{requests: map[string]int{}}
		var work sync.WaitGroup
		for range 6 {
			work.Go(func() { a.work(z, alice, session) })
		}
		untilIn(t, 5*time.Minute, "there was enough load", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return len(a.requests) > 1000
		})
		_ = z.end(syscall.SIGKILL)
		work.Wait()
		z.start()
		records := z.byID()
		for id, status := range a.requests {
			all[id] = status
		}
		for id, status := range all {
			if rs := records[id]; len(rs) != 1 || rs[0].Status != status {
				t.Errorf("round %d: a client saw %d for %s, the records are %+v", round, status, id, rs)
			}
		}
		client := z.client()
		check := func(token string, want int) {
			if got := z.do(call{method: "POST", path: "/mine", bearer: token, client: client}); got.Status != want {
				t.Errorf("round %d: a session is answered %d %s, want %d", round, got.Status, got.reason(), want)
			}
		}
		check(session, 200)
		for _, token := range a.alive {
			check(token, 200)
		}
		for _, token := range a.ended {
			check(token, 401)
		}
		if len(a.alive) == 0 || len(a.ended) == 0 {
			t.Error("no session was made, or none was ended, under load")
		}
		t.Logf("round %d: %d requests, %d sessions alive, %d ended", round, len(a.requests), len(a.alive), len(a.ended))
	}
	if err := z.end(syscall.SIGTERM); err != nil {
		t.Errorf("the end: %v", err)
	}
	z.verifyJournal(t)
	if sealed, _ := filepath.Glob(filepath.Join(z.data, "journal", "*.seg")); len(sealed) == 0 {
		t.Error("no segment was sealed meanwhile: the test tried too little")
	}
	for id := range all { // the log is there without the zone, too
		if rs := z.of(id); len(rs) != 1 {
			t.Errorf("offline: %d records of %s", len(rs), id)
		}
		break
	}
}
