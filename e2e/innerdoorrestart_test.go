package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
)

// TestInnerDoorRestart: a sidecar that joined once starts again without a token,
// and with the spent one; another folder has to join anew.
func TestInnerDoorRestart(t *testing.T) {
	t.Parallel()
	n := startInner(t, "front")
	s := n.doors["front"]
	first := fieldOfLog(t, s.stderr.String(), "identity in use", "serial")
	s.stop()
	n.expect502("/open")
	token := s.args[len(s.args)-2:]
	gone := []string{token[0], filepath.Join(n.dir, "gone.join")}
	for _, how := range [][]string{token, gone} {
		s.args = append(s.args[:len(s.args)-2:len(s.args)-2], how...)
		s.launch()
		s.waitReady()
		n.reach("/open")
		if serial := fieldOfLog(t, s.stderr.String(), "identity in use", "serial"); serial == "" || serial != first {
			t.Errorf("after a restart with %q it is another identity:\n%s", how, s.stderr)
		}
		s.stop()
	}
	fresh := n.launchSidecar("zone.yaml", "front", "fresh", token...)
	if code := fresh.waitEnd(); code == 0 {
		t.Errorf("the spent token in another folder: exit code %d\n%s", code, fresh.stderr)
	}
	for path, want := range map[string]string{s.dir: "drwx------", filepath.Join(s.dir, "identity"): "drwx------"} {
		if mode := modeOf(t, path); mode != want {
			t.Errorf("%s has the mode %s, want %s", path, mode, want)
		}
	}
	open := n.sidecar("ledger")
	if mode := modeOf(t, filepath.Join(open.dir, "out.sock")); mode != "Srw-------" {
		t.Errorf("the outbound socket has the mode %s", mode)
	}
	if rs := n.joins(); len(rs) != 3 { // the two first, and the refused one, and the refused one
		t.Errorf("the records of joining are %+v, want 3", rs)
	}
}

// TestInnerDoorRestartWithoutToken: a sidecar that joined once needs no word about
// tokens to start again (the help of --join: "after that the data folder holds the
// identity").
func TestInnerDoorRestartWithoutToken(t *testing.T) {
	t.Parallel()
	n := startInner(t, "front")
	s := n.doors["front"]
	s.stop()
	s.args = s.args[:len(s.args)-2]
	s.launch()
	until(t, "it is ready, or looks for another identity", func() bool {
		return s.call(outCall{to: "sidecar", target: "/ready"}).Status == 200 || strings.Contains(s.stderr.String(), "Workload API") || isClosed(s.exited)
	})
	if s.call(outCall{to: "sidecar", target: "/ready"}).Status != 200 {
		t.Errorf("%q with an identity in its folder does not use it:\n%s", s.args, s.stderr)
	}
}

// expect502 is what the gateway says when nobody is there.
func (n *inner) expect502(path string) {
	n.t.Helper()
	got := n.do(call{path: path})
	if got.Status != 502 || got.reason() != "upstream.unreachable" {
		n.t.Errorf("%s without a sidecar: %d %s, want 502 upstream.unreachable", path, got.Status, got.Body)
	}
	if rs := n.of(got.ID); len(rs) != 1 || rs[0].Reason != "upstream.unreachable" {
		n.t.Errorf("%s without a sidecar: the records are %+v", path, rs)
	}
}

// fieldOfLog is a field of the first line of a log with a message.
func fieldOfLog(t testing.TB, log, message, field string) string {
	t.Helper()
	for line := range strings.Lines(log) {
		var doc map[string]any
		if json.Unmarshal([]byte(line), &doc) == nil && doc["msg"] == message {
			s, _ := doc[field].(string)
			return s
		}
	}
	return ""
}

// TestInnerDoorServiceRemoved: a service that the map no longer has keeps a
// certificate for its hour and can do nothing with it.
func TestInnerDoorServiceRemoved(t *testing.T) {
	t.Parallel()
	n := startInner(t, "front", "ledger")
	own, err := n.redeem(n.must("join", "front"))
	if err != nil {
		t.Fatal(err)
	}
	front := &member{z: n.zoned, name: "front", source: svid.NewSource(nil)}
	front.source.Set(own)
	alice := n.addUser("alice@shop.example")
	session := n.login(alice)
	token := n.inside(session)
	kept := front.wire(t, "ledger")
	kept.send(kept.craft(httpsig.MAC, "GET", "/entries/1", token(), "")).mustPass(t, "front's call while it is in the map")
	if status, body := front.control("GET", "/v1/services/front"); status != 200 {
		t.Fatalf("positive control: front's slice: %d %s", status, body)
	}
	text := n.zoneText()
	begin, end := strings.Index(text, "\n  front:\n"), strings.Index(text, "\n  ledger:\n")
	cut := text[:begin] + strings.Replace(text[end:], "    calls:\n      front: [GET /open, GET /hold]\n", "", 1)
	if err := n.end(syscall.SIGTERM); err != nil {
		t.Fatalf("the zone ended: %v", err)
	}
	n.write("zone.yaml", cut)
	n.start()
	door, mine := n.door("ledger"), own2source(own)
	until(t, "ledger's sidecar has the new map", func() bool {
		w, err := dialDoor(t, mine, "ledger", door)
		return err == nil && w.send(w.craft(httpsig.MAC, "GET", "/entries/1", token(), "")).Reason == "inside.call"
	})
	_ = kept.conn.SetDeadline(time.Now().Add(patience / 4)) // sooner than it ends for being idle
	if _, err := kept.br.ReadByte(); err == nil || isTimeout(err) {
		t.Errorf("the connection from before: %v, want it closed", err)
	}
	if got := n.guest("ledger", token, always(own.Certificate)); got.Reason != "inside.call" {
		t.Errorf("front's certificate on a route that needs no proof: %s, want inside.call", got)
	}
	for _, ask := range []string{"/v1/services/front", "/.well-known/jwks.json"} {
		if status := n.askControl(t, always(own.Certificate), "GET", ask, nil).Status; status == 200 {
			t.Errorf("control answers %s to front", ask)
		}
	}
	aside := n.member("aside")
	if status, _ := aside.control("GET", "/v1/services/aside"); status != 200 {
		t.Errorf("positive control: aside's slice: %d", status)
	}
	if got := n.doors["front"].call(outCall{to: "ledger", method: "POST", target: "/postings", body: "1"}); got.passed() {
		t.Errorf("the old sidecar of front makes a call as itself: %s", got)
	}
}

func own2source(own *svid.Identity) *svid.Source {
	s := svid.NewSource(nil)
	s.Set(own)
	return s
}
