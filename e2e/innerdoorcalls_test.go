package e2e

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// held is a request that a service has in hand until the test lets it go.
type held struct {
	handle string
	id     string
	answer chan answer
	let    func()
}

// holdTime is how long a gateway waits for a service that holds a request.
const holdTime = 30 * time.Second

// hold sends a request by a session and waits until front has it in hand.
func (n *inner) hold(t testing.TB, session string) *held {
	t.Helper()
	in, let := make(chan http.Header, 8), make(chan struct{})
	n.programs["front"].answers(func(w http.ResponseWriter, r *http.Request) {
		in <- r.Header.Clone()
		<-let
		_, _ = io.WriteString(w, "let go")
	})
	h := &held{answer: make(chan answer, 1), let: sync.OnceFunc(func() { close(let) })}
	t.Cleanup(h.let)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		go func() { h.answer <- n.try(call{path: "/hold", bearer: session}) }()
		select {
		case got := <-in:
			h.handle, h.id = got.Get("Sallyport-Request"), got.Get("X-Correlation-Id")
			return h
		case got := <-h.answer:
			if !hasty(got) || time.Now().After(deadline) {
				t.Fatalf("the request was not held: %d %s %v", got.Status, got.Body, got.Err)
			}
		}
	}
}

// end lets the request be answered.
func (h *held) end(t testing.TB) {
	t.Helper()
	h.let()
	if got := <-h.answer; got.Err != nil || got.Status != 200 || got.Body != "let go" {
		t.Errorf("the held request: %d %s %v", got.Status, got.Body, got.Err)
	}
}

// TestInnerDoorCalls: a service calls what the map declares, as the user whose
// request it has in hand, and by nothing else than the handle of that request.
func TestInnerDoorCalls(t *testing.T) {
	t.Parallel()
	n := startInner(t, "front", "ledger")
	alice, bob := n.addUser("alice@shop.example"), n.addUser("bob@shop.example")
	session, another := n.login(alice), n.login(bob)
	other, bobs := n.sidecar("aside"), n.stolen(another)
	exactly(t, func(a *attempt) { n.callsInHand(a, alice, bob, session, another, bobs, other) }, n.zoned)
}

// callsInHand makes calls with requests in hand of alice and then bob; other is the
// sidecar of aside.
func (n *inner) callsInHand(t *attempt, alice, bob account, session, another, bobs string, other *sidecarRun) {
	door, ledger := n.doors["front"], n.programs["ledger"]
	began, asked := time.Now(), len(ledger.all())
	defer func() { t.late("what there was to do with requests in hand", time.Since(began), holdTime) }()
	h := n.hold(t, session)
	if len(h.handle) != 22 || h.id == "" {
		t.Fatalf("handle %q, correlation id %q", h.handle, h.id)
	}
	passes := func(what string, c outCall, user string) {
		t.Helper()
		door.call(c).mustPass(t, what)
		asked++
		all := ledger.all()
		if len(all) != asked {
			t.Fatalf("%s: the callee was asked %d times, want %d", what, len(all), asked)
		}
		in := all[len(all)-1]
		if in.Header.Get("X-User-Id") != user || in.Header.Get("X-Caller") != "front" || in.Body != c.body || in.Target != c.target {
			t.Errorf("%s: the callee got %+v, want user %q by front", what, in, user)
		}
		if wanted := len(c.handles) > 0; wanted != (in.Header.Get("X-Correlation-Id") == h.id) {
			t.Errorf("%s: the callee has the correlation id %s, that of the request is %s", what, in.Header.Get("X-Correlation-Id"), h.id)
		}
	}
	mine := []string{h.handle}
	passes("a declared call", outCall{to: "ledger", target: "/entries/7?x=1", handles: mine}, alice.ID)
	passes("a declared call with a body", outCall{to: "ledger", method: "POST", target: "/entries", handles: mine, body: "amount"}, alice.ID)
	passes("a declared call that is signed", outCall{to: "ledger", method: "POST", target: "/transfers", handles: mine, body: "amount"}, alice.ID)
	passes("a declared call by the connection alone", outCall{to: "ledger", target: "/loose", handles: mine}, alice.ID)
	passes("as service with the handle", outCall{to: "ledger", method: "POST", target: "/postings", handles: mine, body: "1"}, "spiffe://shop.example/front")
	passes("as service without", outCall{to: "ledger", method: "POST", target: "/postings", body: "1"}, "spiffe://shop.example/front")

	guess := flipped(h.handle, 3)
	for _, s := range []struct {
		what, reason string
		by           *sidecarRun
		call         outCall
	}{
		{"an undeclared path", "inside.call", door, outCall{to: "ledger", target: "/unshared", handles: mine}},
		{"an undeclared method", "inside.call", door, outCall{to: "ledger", method: "DELETE", target: "/entries/7", handles: mine}},
		{"an undeclared service", "inside.call", door, outCall{to: "aside", target: "/aside", handles: mine}},
		{"a service that is none", "inside.call", door, outCall{to: "nobody", target: "/", handles: mine}},
		{"the zone's control", "inside.call", door, outCall{to: "control", target: "/v1/services/front", handles: mine}},
		{"a path around the declared one", "inside.call", door, outCall{to: "ledger", target: "/entries/../unshared", handles: mine}},
		{"an encoded path around it", "inside.call", door, outCall{to: "ledger", target: "/entries/..%2funshared", handles: mine}},
		{"an address for a name", "request.host", door, outCall{to: n.door("ledger"), target: "/entries/7", handles: mine}},
		{"a whole URL", "request.target", door, outCall{to: "ledger", target: "http://ledger/entries/7", handles: mine}},
		{"no handle", "inside.call", door, outCall{to: "ledger", target: "/entries/7"}},
		{"an undeclared call as service", "inside.call", door, outCall{to: "ledger", method: "POST", target: "/unshared"}},
		{"a guessed handle", "inside.handle", door, outCall{to: "ledger", target: "/entries/7", handles: []string{guess}}},
		{"a guessed handle on a call as service", "inside.handle", door, outCall{to: "ledger", method: "POST", target: "/postings", handles: []string{guess}}},
		{"the correlation id", "inside.handle", door, outCall{to: "ledger", target: "/entries/7", handles: []string{h.id}}},
		{"an empty handle", "inside.handle", door, outCall{to: "ledger", target: "/entries/7", handles: []string{""}}},
		{"the handle twice", "inside.handle", door, outCall{to: "ledger", target: "/entries/7", handles: []string{h.handle, h.handle}}},
		{"the handle and a guess", "inside.handle", door, outCall{to: "ledger", target: "/entries/7", handles: []string{h.handle, guess}}},
		{"front's handle at another sidecar", "inside.handle", other, outCall{to: "ledger", target: "/entries/7", handles: mine}},
		{"an upgrade", "request.upgrade", door, outCall{to: "ledger", target: "/entries/7", handles: mine, header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}}},
	} {
		s.by.call(s.call).wants(t, s.what, s.reason)
	}
	forged := http.Header{
		"X-User-Id": {bob.ID}, "X-User-Roles": {"admin"}, "X-User-Scopes": {"all"}, "Txn-Token": {bobs}, "X-Caller": {"gateway"}, "X-Correlation-Id": {newID()}, "X_User_Id": {bob.ID},
		"Sallyport-Client": {"10.0.0.1;listener=admin"}, "X-Client-Id": {"key_x"}, "Traceparent": {"00-11111111111111111111111111111111-2222222222222222-01"},
		"Signature": {"mac=:AAAA:"}, "Content-Digest": {"sha-256=:AAAA:"}, "Authorization": {"Bearer " + session}, "Cookie": {"__Host-session=" + session}, "X-Mine": {"kept"},
	}
	passes("a call with forged headers", outCall{to: "ledger", target: "/entries/8", handles: mine, header: forged}, alice.ID)
	passes("a call as service with forged headers", outCall{to: "ledger", method: "POST", target: "/postings", header: forged, body: "1"}, "spiffe://shop.example/front")
	for _, in := range ledger.all()[asked-2:] {
		for name, values := range in.Header {
			for _, bad := range []string{bob.ID, "admin", bobs, session, "gateway", "key_x", "10.0.0.1", "1111111111", "AAAA", forged.Get("X-Correlation-Id")} {
				if strings.Contains(strings.Join(values, ","), bad) {
					t.Errorf("forged: the callee got %s: %q", name, values)
				}
			}
		}
		if in.Header.Get("X-Mine") != "kept" {
			t.Error("positive control: a header of the service's own did not arrive")
		}
	}
	// The handle of one request is not that of another.
	before := h.handle
	h.end(t)
	door.call(outCall{to: "ledger", target: "/entries/7", handles: []string{before}}).wants(t, "the handle of a request that has ended", "inside.handle")
	h = n.hold(t, another)
	if h.handle == before {
		t.Error("two requests had the same handle")
	}
	passes("the next request's own handle", outCall{to: "ledger", target: "/entries/9", handles: []string{h.handle}}, bob.ID)
	h.end(t)
	if len(ledger.all()) != asked {
		t.Errorf("the callee was asked %d times, want %d", len(ledger.all()), asked)
	}
}

// TestInnerDoorDrain: a sidecar that is told to end finishes what its service has in
// hand, with the calls that it needs, and takes nothing new.
func TestInnerDoorDrain(t *testing.T) {
	t.Parallel()
	n := startInner(t, "front", "ledger")
	session := n.login(n.addUser("alice@shop.example"))
	attempts(t, func(a *attempt) { n.drainFront(a, session) })
}

func (n *inner) drainFront(t *attempt, session string) {
	door := n.doors["front"]
	if isClosed(door.exited) { // in another try
		n.programs["front"].answers(nil)
		door.launch()
		door.waitReady()
		n.reach("/open")
	}
	began := time.Now()
	defer func() { // it waits as long for the request as the gateway does for the answer
		t.late("what there was to do with a request in hand", time.Since(began), holdTime)
		_ = door.cmd.Process.Kill() // fails when it has ended, as it should
		<-door.exited
	}()
	h := n.hold(t, session)
	entry := outCall{to: "ledger", target: "/entries/1", handles: []string{h.handle}}
	door.call(entry).mustPass(t, "a call before the end")
	if err := door.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	address := n.door("front")
	until(t, "the door is closed", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	door.call(entry).mustPass(t, "a call of the request in hand while the sidecar drains")
	if got := n.do(call{path: "/open"}); got.Status != 502 {
		t.Errorf("a new request while the sidecar drains: %d", got.Status)
	}
	h.end(t)
	if code := door.waitEnd(); code != 0 {
		t.Errorf("the sidecar ended with %d\n%s", code, door.stderr)
	}
	if got := door.call(entry); got.Err == nil {
		t.Errorf("a call after the end: %s", got)
	}
}
