package e2e

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const logsMap = head + `
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /open: anonymous
      GET /mine: user
  other:
    upstream: http://@dead@
    routes:
      GET /dead: anonymous
`

// TestLogFilters: each filter finds what the whole log, filtered by the test,
// holds; no more and no less.
func TestLogFilters(t *testing.T) {
	t.Parallel()
	z := startZone(t, logsMap, map[string]string{"plain": startUpstream(t, nil).address})
	alice, bob := z.addUser("alice@shop.example"), z.addUser("bob@shop.example")
	client := z.client()
	tokens := []string{z.loginWith(client, alice), z.loginWith(client, bob), ""}
	make10 := func() {
		for i := range 10 {
			z.do(call{path: []string{"/open", "/mine", "/dead", "/nowhere"}[i%4], bearer: tokens[i%3], client: client})
		}
	}
	make10()
	middle := time.Now().UTC()
	make10()
	ids := func(list []record) (out []string) {
		for _, r := range list {
			out = append(out, r.CorrelationID)
		}
		return out
	}
	// Each use of the log is on record too, so the whole is read first and last
	// and what the searches themselves left is put aside.
	outside := func(list []record) []record {
		return slices.DeleteFunc(list, func(r record) bool { return r.Listener == "admin.sock" })
	}
	all := outside(z.records("--limit", "0"))
	if len(all) < 22 {
		t.Fatalf("%d records", len(all))
	}
	at := middle.Format(time.RFC3339Nano)
	for _, s := range []struct {
		args []string
		want func(record) bool
	}{
		{[]string{"--service", "plain"}, func(r record) bool { return r.Service == "plain" }},
		{[]string{"--service", "identity"}, func(r record) bool { return r.Service == "identity" }},
		{[]string{"--status", "401"}, func(r record) bool { return r.Status == 401 }},
		{[]string{"--status", "4xx"}, func(r record) bool { return r.Status/100 == 4 }},
		{[]string{"--status", "400-499"}, func(r record) bool { return r.Status/100 == 4 }},
		{[]string{"--status", ">=500"}, func(r record) bool { return r.Status >= 500 }},
		{[]string{"--status", "<400"}, func(r record) bool { return r.Status < 400 }},
		{[]string{"--user", alice.ID}, func(r record) bool { return r.Principal == alice.ID }},
		{[]string{"--user", "anonymous"}, func(r record) bool { return r.Principal == "anonymous" }},
		{[]string{"--reason", "ok"}, func(r record) bool { return r.Reason == "ok" }},
		{[]string{"--reason", "upstream.unreachable"}, func(r record) bool { return r.Reason == "upstream.unreachable" }},
		{[]string{"--reason", "route.unknown"}, func(r record) bool { return r.Reason == "route.unknown" }},
		{[]string{"--since", at}, func(r record) bool { return !r.Time.Before(middle) }},
		{[]string{"--until", at}, func(r record) bool { return r.Time.Before(middle) }},
		{[]string{"--since", "1h"}, func(record) bool { return true }},
		{[]string{"--until", "1h"}, func(record) bool { return false }},
		{[]string{"--service", "plain", "--status", "401", "--since", at}, func(r record) bool {
			return r.Service == "plain" && r.Status == 401 && !r.Time.Before(middle)
		}},
		{[]string{"--service", "plain", "--user", bob.ID, "--reason", "ok"}, func(r record) bool {
			return r.Service == "plain" && r.Principal == bob.ID && r.Reason == "ok"
		}},
		{[]string{"--correlation", all[5].CorrelationID}, func(r record) bool { return r.CorrelationID == all[5].CorrelationID }},
		{[]string{"--correlation", all[5].CorrelationID, "--status", "599"}, func(record) bool { return false }},
		{[]string{"--service", "nowhere"}, func(record) bool { return false }},
	} {
		var want []record
		for _, r := range all {
			if s.want(r) {
				want = append(want, r)
			}
		}
		got := outside(z.records(append([]string{"--limit", "0"}, s.args...)...))
		if !slices.Equal(ids(got), ids(want)) {
			t.Errorf("logs %q: %d records, want %d", s.args, len(got), len(want))
		}
	}
	plain := slices.DeleteFunc(slices.Clone(all), func(r record) bool { return r.Service != "plain" })
	if got := z.records("--service", "plain", "--limit", "3"); !slices.Equal(ids(got), ids(plain[len(plain)-3:])) {
		t.Errorf("--limit 3 gave %d records, want the newest three, the oldest of them first", len(got))
	}
	for _, wrong := range [][]string{{"--status", "abc"}, {"--status", "99"}, {"--reason", "no.such"}, {"--since", "yesterday"}, {"--limit", "-1"}} {
		if out, errs, code := z.run(append([]string{"logs"}, wrong...)...); code != 2 || out != "" || errs == "" {
			t.Errorf("logs %q: exit %d, %q, %q; want 2 and an explanation", wrong, code, out, errs)
		}
	}
	text := z.must("logs", "--correlation", all[5].CorrelationID)
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, all[5].CorrelationID) || !strings.Contains(text, all[5].Reason) {
		t.Errorf("as text: %q", text)
	}
	if err := z.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if got := z.records("--service", "plain", "--limit", "0"); !slices.Equal(ids(got), ids(plain)) {
		t.Errorf("without the zone: %d records, want %d", len(got), len(plain))
	}
}

// TestLoginsAreOnRecordAtOnce: a login and a refused login are found by their
// correlation id when they have been answered, with who it was.
func TestLoginsAreOnRecordAtOnce(t *testing.T) {
	t.Parallel()
	z := startZone(t, logsMap, map[string]string{"plain": startUpstream(t, nil).address})
	alice := z.addUser("alice@shop.example")
	client := z.client()
	for range 5 {
		for _, s := range []struct {
			password, reason string
			status           int
		}{{alice.Password, "ok", 200}, {"wrong", "auth.login", 401}} {
			got := z.do(call{method: "POST", path: "/auth/login", json: true, body: credentials(alice.Email, s.password), client: client})
			rs := z.of(got.ID)
			if got.Status != s.status || len(rs) != 1 || rs[0].Reason != s.reason || rs[0].Status != s.status || rs[0].Service != "identity" || rs[0].Route != "POST /auth/login" {
				t.Errorf("login: %d, records %+v, want %d %s", got.Status, rs, s.status, s.reason)
			}
		}
	}
}

// TestFollow: a follower sees what is there, and then each new record that
// matches, and no other.
func TestFollow(t *testing.T) {
	t.Parallel()
	z := startZone(t, logsMap, map[string]string{"plain": startUpstream(t, nil).address})
	first := z.do(call{path: "/open"})
	cmd := exec.Command(filepath.Join(z.bin, "sallyport"), "logs", "--follow", "--service", "plain", "--format", "json", "--data", z.data)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := make(chan record)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			var r record
			if err := json.Unmarshal(s.Bytes(), &r); err != nil {
				t.Errorf("%v: %s", err, s.Bytes())
			}
			lines <- r
		}
	}()
	next := func(want answer) {
		t.Helper()
		select {
		case r, open := <-lines:
			if !open || r.CorrelationID != want.ID {
				t.Errorf("the follower shows %+v, want %s", r, want.ID)
			}
		case <-time.After(patience):
			t.Fatalf("the follower does not show %s", want.ID)
		}
	}
	next(first)
	for range 5 {
		z.do(call{path: "/auth/me"}) // of another service
		next(z.do(call{path: "/open"}))
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for r := range lines {
		t.Errorf("another line: %+v", r)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("a follower that is interrupted ends with %v, want 0", err)
	}
}
