package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/internal/kv/valkeytest"
	"sallyport.dev/internal/store/pgtest"
)

// overEngines is the test under which others run again.
const overEngines = "TestOverEngines"

// engines are the servers that zones of a test share.
type engines struct {
	postgres *pgtest.Server
	database string // its url
	valkey   *valkeytest.Server
}

// startEngines starts the servers of a test; the test's zones name them in their maps.
func startEngines(t testing.TB) *engines {
	t.Helper()
	e := &engines{postgres: pgtest.Start(t), valkey: valkeytest.Start(t)}
	e.database = e.postgres.Empty(t)
	return e
}

// storeKey is the part of a map that names the engines.
const storeKey = "\nstore: {postgres: {file: pg.url}, valkey: {file: valkey.url}}\n"

// into writes the urls beside the map of a zone.
func (e *engines) into(z *zoned) {
	z.write("pg.url", e.database+"\n")
	z.write("valkey.url", e.valkey.URL()+"\n")
}

// twins are two processes of one zone, over the same engines.
func twins(t testing.TB, e *engines, text string, given map[string]string) (a, b *zoned) {
	t.Helper()
	a = newZone(t, text+storeKey, given)
	e.into(a)
	a.start()
	// What seals the store is the operator's to hand on.
	key, err := os.ReadFile(a.data + ".root")
	if err != nil {
		t.Fatal(err)
	}
	b = newZone(t, text+storeKey, given)
	e.into(b)
	b.flags = []string{"--root-key", b.write("zone.root", string(key))}
	b.start()
	return a, b
}

// twinMap has a grace that tests can see the end of. In that of calmTwinMap nothing
// becomes unbelievable because a busy process has not come to look.
const (
	twinMap     = head + "\nrevocation_grace: 1s" + twinServices
	calmTwinMap = head + "\nrevocation_grace: 1min" + twinServices
)

const twinServices = `
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /mine: user
      GET /open: anonymous
      GET /keyed: {allow: key, scopes: [things.read]}
      GET /limited: {allow: user, limit: 20/h}
      GET /events: {allow: user, stream: sse}
`

// TestTwins: what one process does to accounts, sessions and keys is so for the
// other; a limit is one limit; and a right that is taken at one is gone at both,
// streams included.
func TestTwins(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(c net.Conn, r received) {
		if r.Target != "/events" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: first\n\n")
	})
	a, b := twins(t, startEngines(t), calmTwinMap, map[string]string{"plain": up.address})
	alice := a.addUser("alice@shop.example")
	token := b.login(alice)
	key := a.createKey("partner", "--scope", "things.read")
	for name, z := range map[string]*zoned{"the first": a, "the second": b} {
		if got := z.settled(call{path: "/mine", bearer: token}); got.Status != 200 {
			t.Errorf("%s: a session made at the second: %d %s", name, got.Status, got.Body)
		}
		if got := z.settled(call{path: "/keyed", bearer: key.Key}); got.Status != 200 {
			t.Errorf("%s: a key made at the first: %d %s", name, got.Status, got.Body)
		}
		if got := z.settled(call{path: "/mine", bearer: token[:len(token)-1] + "A"}); got.Status != 401 {
			t.Errorf("%s: another session: %d", name, got.Status)
		}
	}

	exactly(t, func(t *attempt) { // each time of a user of its own
		own, allowed := b.login(a.addUser(newID()+"@shop.example")), 0
		for i := range 30 {
			z := []*zoned{a, b}[i%2]
			switch got := z.do(call{path: "/limited", bearer: own}); {
			case got.Status == 200:
				allowed++
			case hasty(got):
				t.disturbed = got.reason()
				t.Fatalf("limited: %d %s", got.Status, got.Body)
			case got.Status != 429:
				t.Fatalf("limited: %d %s", got.Status, got.Body)
			}
		}
		if allowed != 20 {
			t.Errorf("a limit of 20 allowed %d at two processes", allowed)
		}
	}, a, b)

	stream := b.stream(b.client(), "/events", token)
	lines := bufio.NewScanner(stream.Body)
	if !lines.Scan() {
		t.Fatal("no event")
	}
	a.must("session", "revoke", alice.Email) // at the first
	until(t, "the session is dead at the second", func() bool {
		return b.do(call{path: "/mine", bearer: token}).Status == 401
	})
	for lines.Scan() { // to its end
	}
	if isTimeout(lines.Err()) {
		t.Error("the stream at the second did not end")
	}
	if got := a.settled(call{path: "/mine", bearer: token}); got.Status != 401 || got.reason() != "auth.revoked" {
		t.Errorf("at the first: %d %s", got.Status, got.reason())
	}
	if got := b.settled(call{path: "/mine", bearer: a.login(alice)}); got.Status != 200 { // positive control
		t.Errorf("a new session: %d %s", got.Status, got.Body)
	}
}

// TestPausedTwin: a process that was frozen while a session, a key and an account
// were taken away at another believes none of what it knew, from the first
// request on that it finds waiting; its streams end.
func TestPausedTwin(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(c net.Conn, r received) {
		if r.Target != "/events" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: first\n\n")
	})
	a, b := twins(t, startEngines(t), twinMap, map[string]string{"plain": up.address})
	alice, carol, key := a.addUser("alice@shop.example"), a.addUser("carol@shop.example"), a.createKey("partner", "--scope", "things.read")
	other := b.login(a.addUser("dave@shop.example"))
	gone := []call{{path: "/mine", bearer: b.login(alice)}, {path: "/mine", bearer: b.login(carol)}, {path: "/keyed", bearer: key.Key}}
	for i := range gone {
		gone[i].client = b.client() // a connection of its own, which stays open
		until(t, "the credential is good", func() bool { return b.do(gone[i]).Status == 200 })
	}
	stream := b.stream(b.client(), "/events", gone[0].bearer)

	signal := func(sig syscall.Signal) {
		if err := b.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	stopped := time.Now()
	a.must("session", "revoke", alice.Email)
	a.must("user", "disable", carol.Email)
	a.must("key", "revoke", key.ID)
	until(t, "the grace is over", func() bool { return time.Since(stopped) > 2*time.Second })
	answers := make(chan answer, len(gone))
	for _, c := range gone {
		go func() { answers <- b.try(c) }()
	}
	signal(syscall.SIGCONT)
	for range gone {
		if got := <-answers; got.Status != 401 && got.Status != 503 { // 503: the pause lasted, and its database had given it up
			t.Errorf("after the pause: %d %s %v, want 401", got.Status, got.reason(), got.Err)
		}
	}
	for _, c := range gone {
		until(t, "what was taken away is known", func() bool { return b.do(c).reason() == "auth.revoked" })
	}
	if _, err := io.Copy(io.Discard, stream.Body); isTimeout(err) { // to its end
		t.Error("the stream did not end")
	}
	until(t, "a session that nobody took away is good", func() bool { return b.do(call{path: "/mine", bearer: other}).Status == 200 }) // positive control
}

// stream opens one, which may last. A read of it that lasts for ever fails.
func (z *zoned) stream(client *http.Client, path, bearer string) *http.Response {
	z.t.Helper()
	patient := *client
	patient.Timeout = 2 * patience
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		req, _ := z.request(call{path: path, bearer: bearer})
		res, err := patient.Do(req)
		if err != nil {
			z.t.Fatalf("%s: %v", path, err)
		}
		z.t.Cleanup(func() { _ = res.Body.Close() })
		if res.StatusCode == http.StatusOK {
			return res
		}
		got := answer{Status: res.StatusCode, Header: res.Header, Body: readAll(res)}
		if !hasty(got) || time.Now().After(deadline) {
			z.t.Fatalf("%s: %d %s", path, got.Status, got.Body)
		}
	}
}

// TestStartAtOnce: of processes that start at once on an empty database one makes
// the root key and the CA, and all serve with them; one that has a key of its
// own is refused.
func TestStartAtOnce(t *testing.T) {
	t.Parallel()
	e := startEngines(t)
	up := startUpstream(t, nil)
	key := filepath.Join(t.TempDir(), "zone.root")
	var zones []*zoned
	for range 3 {
		z := newZone(t, twinMap+storeKey, map[string]string{"plain": up.address})
		e.into(z)
		z.flags = []string{"--root-key", key}
		z.launch()
		zones = append(zones, z)
	}
	roots := map[string]bool{}
	for i, z := range zones {
		until(t, "all serve", func() bool {
			select {
			case <-z.exited:
				t.Fatalf("process %d ended: %v\n%s", i, z.err, z.stderr)
			default:
			}
			_, _, code := z.run("status")
			return code == 0
		})
		pem, err := os.ReadFile(filepath.Join(z.data, "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		roots[string(pem)] = true
	}
	if len(roots) != 1 {
		t.Errorf("%d processes made %d roots", len(zones), len(roots))
	}

	stranger := newZone(t, twinMap+storeKey, map[string]string{"plain": up.address})
	e.into(stranger)
	own := startZone(t, twinMap, map[string]string{"plain": up.address}) // of another database
	stranger.flags = []string{"--root-key", own.data + ".root"}
	stranger.launch()
	if err := stranger.wait(); err == nil || stranger.cmd.ProcessState.ExitCode() != 3 || !strings.Contains(stranger.stderr.String(), "wrong root key") {
		t.Errorf("with the key of another zone: %v\n%s", err, stranger.stderr)
	}
}

// TestEnginesAway: without its engines a zone believes what it knows for the
// grace, then refuses what it would have to believe; limits are counted locally.
// Nothing needs a restart when they are back.
func TestEnginesAway(t *testing.T) {
	t.Parallel()
	e := startEngines(t)
	up := startUpstream(t, nil)
	z := newZone(t, twinMap+storeKey, map[string]string{"plain": up.address})
	e.into(z)
	z.start()
	token := z.login(z.addUser("alice@shop.example"))
	mine := call{path: "/mine", bearer: token}
	until(t, "the session is good", func() bool { return z.do(mine).Status == 200 })

	e.valkey.Kill()
	until(t, "limits are counted locally", func() bool {
		switch got := z.do(call{path: "/limited", bearer: token}); {
		case got.Status == 200 || got.Status == 429:
			return z.metrics()["sallyport_limits_local"] == 1
		case !hasty(got):
			t.Fatalf("without Valkey: %d %s", got.Status, got.Body)
		}
		return false
	})
	e.valkey.Start()
	until(t, "limits are shared again", func() bool { return z.metrics()["sallyport_limits_local"] == 0 })

	e.postgres.Stop(t)
	until(t, "what is remembered is not believed any more", func() bool {
		got := z.do(mine)
		switch {
		case got.Status == 200: // within the grace
			return false
		case got.Status == 503 && got.reason() == "auth.unavailable":
			return true
		case !hasty(got):
			t.Fatalf("without PostgreSQL: %d %s", got.Status, got.Body)
		}
		return false
	})
	until(t, "what needs no credential is answered without PostgreSQL", func() bool {
		got := z.do(call{path: "/open"})
		if got.Status != 200 && !hasty(got) {
			t.Fatalf("what needs no credential, without PostgreSQL: %d %s", got.Status, got.Body)
		}
		return got.Status == 200
	})
	if out, _, code := z.run("status"); code != 1 || !strings.Contains(out, "store") {
		t.Errorf("status without PostgreSQL: %d %s", code, out)
	}
	e.postgres.Restart(t)
	until(t, "credentials are known again", func() bool { return z.do(mine).Status == 200 })
}

// hasty says that an answer may be due to the machine: the gateway gives a look-up
// a second when nothing is heard of revocations, and two to reach a service.
func hasty(a answer) bool {
	return a.reason() == "auth.unavailable" || a.reason() == "upstream.unreachable"
}

// settled is do until the answer is the zone's, and not the machine's.
func (z *zoned) settled(c call) answer {
	z.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if got := z.do(c); !hasty(got) || time.Now().After(deadline) {
			return got
		}
	}
}

// TestOverEngines runs tests of this package once more, over PostgreSQL and
// Valkey: those in which a store or a counter matters.
func TestOverEngines(t *testing.T) {
	t.Parallel()
	pgtest.Shared(t) // skips all of them, once, where there is no server
	for _, test := range []func(*testing.T){
		TestAccountsJSON, TestGuessing, TestFormLogin, TestSessionsOfAUser, TestSessionsExpire, TestKill, TestLogin, TestRegister, TestKeyCreate, TestLimitEnds,
		TestLimitOfAListener, TestLoginsAreOnRecordAtOnce, TestMatrix, TestRevocationIsImmediate, TestDisabledAndRemovedUsersCannotLogIn,
		TestStream, TestStop, TestInnerDoorJoinTokens, TestInnerDoorReplayedToAnotherReplica, TestInnerDoorChain, TestInsideTokenIsCached,
		TestOpenIDFlows, TestOpenIDRefusals,
	} {
		name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
		t.Run(name[strings.LastIndexByte(name, '.')+1:], test)
	}
}

// overEngines puts a zone of a test that is run over engines there.
func (z *zoned) overEngines() {
	if a, ok := z.t.(*attempt); ok {
		a.mu.Lock()
		a.zones = append(a.zones, z)
		a.mu.Unlock()
	}
	if isTwin(z.t) {
		z.overTwo()
		return
	}
	if !strings.HasPrefix(z.t.Name(), overEngines+"/") {
		return
	}
	z.text += storeKey
	// One server for each zone: those of a test have one name, and would share limits.
	z.write("pg.url", pgtest.Shared(z.t).Empty(z.t)+"\n")
	z.write("valkey.url", valkeytest.Start(z.t).URL()+"\n")
}
