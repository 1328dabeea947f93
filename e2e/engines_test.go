package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

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

const twinMap = head + `
revocation_grace: 1s
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
	a, b := twins(t, startEngines(t), twinMap, map[string]string{"plain": up.address})
	alice := a.addUser("alice@shop.example")
	token := b.login(alice)
	key := a.createKey("partner", "--scope", "things.read")
	for name, z := range map[string]*zoned{"the first": a, "the second": b} {
		if got := z.do(call{path: "/mine", bearer: token}); got.Status != 200 {
			t.Errorf("%s: a session made at the second: %d %s", name, got.Status, got.Body)
		}
		if got := z.do(call{path: "/keyed", bearer: key.Key}); got.Status != 200 {
			t.Errorf("%s: a key made at the first: %d %s", name, got.Status, got.Body)
		}
		if got := z.do(call{path: "/mine", bearer: token[:len(token)-1] + "A"}); got.Status != 401 {
			t.Errorf("%s: another session: %d", name, got.Status)
		}
	}

	allowed := 0
	for i := range 30 {
		z := []*zoned{a, b}[i%2]
		switch got := z.do(call{path: "/limited", bearer: token}); got.Status {
		case 200:
			allowed++
		case 429:
		default:
			t.Fatalf("limited: %d %s", got.Status, got.Body)
		}
	}
	if allowed != 20 {
		t.Errorf("a limit of 20 allowed %d at two processes", allowed)
	}

	req, _ := b.request(call{path: "/events", bearer: token})
	stream, err := b.client().Do(req)
	if err != nil || stream.StatusCode != http.StatusOK {
		t.Fatalf("stream: %v %v", stream, err)
	}
	defer stream.Body.Close()
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
	if got := a.do(call{path: "/mine", bearer: token}); got.Status != 401 || got.reason() != "auth.revoked" {
		t.Errorf("at the first: %d %s", got.Status, got.reason())
	}
	if got := b.do(call{path: "/mine", bearer: a.login(alice)}); got.Status != 200 { // positive control
		t.Errorf("a new session: %d %s", got.Status, got.Body)
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
	if got := z.do(mine); got.Status != 200 {
		t.Fatalf("before: %d %s", got.Status, got.Body)
	}

	e.valkey.Kill()
	until(t, "limits are counted locally", func() bool {
		got := z.do(call{path: "/limited", bearer: token})
		if got.Status != 200 && got.Status != 429 {
			t.Fatalf("without Valkey: %d %s", got.Status, got.Body)
		}
		return z.metrics()["sallyport_limits_local"] == 1
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
		}
		t.Fatalf("without PostgreSQL: %d %s", got.Status, got.Body)
		return false
	})
	if got := z.do(call{path: "/open"}); got.Status != 200 {
		t.Errorf("what needs no credential, without PostgreSQL: %d %s", got.Status, got.Body)
	}
	if out, _, code := z.run("status"); code != 1 || !strings.Contains(out, "store") {
		t.Errorf("status without PostgreSQL: %d %s", code, out)
	}
	e.postgres.Restart(t)
	until(t, "credentials are known again", func() bool { return z.do(mine).Status == 200 })
}

// TestOverEngines runs tests of this package once more, over PostgreSQL and
// Valkey: those in which a store or a counter matters.
func TestOverEngines(t *testing.T) {
	t.Parallel()
	pgtest.Shared(t) // skips all of them, once, where there is no server
	for _, test := range []func(*testing.T){
		TestGuessing, TestFormLogin, TestSessionsOfAUser, TestSessionsExpire, TestKill, TestInterfaceOverEngines, TestLimitEnds,
		TestLimitOfAListener, TestLoginsAreOnRecordAtOnce, TestMatrix, TestRevocationIsImmediate, TestDisabledAndRemovedUsersCannotLogIn,
		TestStream, TestStop, TestInnerDoorJoinTokens, TestInnerDoorReplayedToAnotherReplica, TestInnerDoorChain, TestInsideTokenIsCached,
	} {
		name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
		t.Run(name[strings.LastIndexByte(name, '.')+1:], test)
	}
}

// TestInterfaceOverEngines is the account service's part of the interface.
func TestInterfaceOverEngines(t *testing.T) {
	for _, test := range []func(*testing.T){TestLogin, TestRegister, TestKeyCreate} {
		name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
		t.Run(name[strings.LastIndexByte(name, '.')+1:], test)
	}
}

// overEngines puts a zone of a test that is run over engines there.
func (z *zoned) overEngines() {
	if !strings.HasPrefix(z.t.Name(), overEngines+"/") {
		return
	}
	z.text += storeKey
	// One server for each zone: those of a test have one name, and would share limits.
	z.write("pg.url", pgtest.Shared(z.t).Empty(z.t)+"\n")
	z.write("valkey.url", valkeytest.Start(z.t).URL()+"\n")
}
