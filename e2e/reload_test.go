package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const reloadMap = head + `
include: [teams/*.yaml]
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /stays: anonymous
      GET /goes: anonymous
`

// rewrite writes the map anew, with the addresses that it has.
func (z *zoned) rewrite(text string) {
	z.t.Helper()
	z.text = text
	z.write("zone.yaml", mark.ReplaceAllStringFunc(text, func(m string) string { return z.address[strings.Trim(m, "@")] }))
}

// replaceFile writes a file beside and puts it there at once: who looks meanwhile
// does not see half of it.
func replaceFile(path, text string) error {
	if to, err := filepath.EvalSymlinks(path); err == nil { // a link stays one
		path = to
	}
	beside, err := os.CreateTemp(filepath.Dir(path), ".beside-")
	if err != nil {
		return err
	}
	_, err = beside.WriteString(text) // of mode 0600
	return errors.Join(err, beside.Close(), os.Rename(beside.Name(), path))
}

// TestReloadOnChange: a map that is written anew is in force with nothing done; a
// bad one is refused whole, said, and shown by a metric.
func TestReloadOnChange(t *testing.T) {
	t.Parallel()
	z := startZone(t, reloadMap, map[string]string{"plain": startUpstream(t, nil).address})
	status := func(path string) int { return z.do(call{path: path}).Status }
	if a, b, c := status("/stays"), status("/goes"), status("/comes"); a != 200 || b != 200 || c != 404 {
		t.Fatalf("before: /stays %d, /goes %d, /comes %d", a, b, c)
	}

	good := strings.Replace(reloadMap, "/goes", "/comes", 1)
	z.rewrite(good)
	until(t, "the new route is there", func() bool { return status("/comes") == 200 })
	if a, b := status("/stays"), status("/goes"); a != 200 || b != 404 {
		t.Errorf("after: /stays %d, /goes %d; want 200, 404", a, b)
	}

	z.rewrite(strings.Replace(good, "GET /comes: anonymous", "GET /comes: nobody", 1))
	until(t, "the refusal is shown", func() bool { return z.metrics()["sallyport_reload_refused"] == 1 })
	if said := z.stderr.String(); !strings.Contains(said, "the map is refused") || !strings.Contains(said, "zone.yaml:") {
		t.Errorf("the log does not tell of it, or not where: %s", said)
	}
	if a, b := status("/stays"), status("/comes"); a != 200 || b != 200 {
		t.Errorf("after a bad map: /stays %d, /comes %d; want the one before", a, b)
	}
	if out, _, code := z.run("status"); code != 0 || !strings.Contains(out, "refused") {
		t.Errorf("status: %d %s; want ready, and the refusal", code, out)
	}

	z.rewrite(good) // mended
	until(t, "the alarm is over", func() bool { return z.metrics()["sallyport_reload_refused"] == 0 })

	if err := z.signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	done := z.metrics()[`sallyport_reloads_total{result="done"}`]
	until(t, "HUP reloads", func() bool { return z.metrics()[`sallyport_reloads_total{result="done"}`] > done-1 })

	for _, c := range []struct{ what, from, to, says string }{
		{"another zone", "zone: shop.example", "zone: other.example", "zone: it cannot change"},
		{"another admin listener", `admin: {address: "@admin@"}`, `admin: {address: "127.0.0.1:1"}`, "listeners.admin: it cannot change"},
	} {
		z.rewrite(strings.Replace(good, c.from, c.to, 1))
		until(t, c.what+" is refused", func() bool { return strings.Contains(z.stderr.String(), c.says) })
		if a := status("/comes"); a != 200 {
			t.Errorf("%s: /comes %d", c.what, a)
		}
	}
}

// TestReloadStreams: a stream of a route that stays lives on; that of a route that
// is gone, or is now for others, ends.
func TestReloadStreams(t *testing.T) {
	t.Parallel()
	attempts(t, reloadStreams)
}

func reloadStreams(t *attempt) {
	const text = head + `
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /stays/events: {allow: anonymous, stream: sse}
      GET /goes/events: {allow: anonymous, stream: sse}
      GET /narrows/events: {allow: user, stream: sse}
`
	var mu sync.Mutex
	open := map[string]net.Conn{}
	up := startUpstream(t, func(c net.Conn, r received) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: first\n\n")
		mu.Lock()
		defer mu.Unlock()
		open[r.Target] = c
	})
	z := startZone(t, text, map[string]string{"plain": up.address})
	defer t.strained(z)
	token := z.login(z.addUser("alice@shop.example"))
	streams := map[string]*bufio.Scanner{}
	for _, path := range []string{"/stays/events", "/goes/events", "/narrows/events"} {
		bearer := ""
		if path == "/narrows/events" {
			bearer = token
		}
		streams[path] = bufio.NewScanner(z.stream(z.client(), path, bearer).Body)
		if !streams[path].Scan() || streams[path].Text() != "data: first" {
			t.Fatalf("%s: got %q", path, streams[path].Text())
		}
	}
	z.rewrite(strings.NewReplacer(
		"      GET /goes/events: {allow: anonymous, stream: sse}\n", "",
		"GET /narrows/events: {allow: user, stream: sse}", "GET /narrows/events: {allow: user, roles: [admin], stream: sse}").Replace(text))
	for _, path := range []string{"/goes/events", "/narrows/events"} {
		for streams[path].Scan() { // to its end
			if line := streams[path].Text(); line != "" {
				t.Errorf("%s: got %q", path, line)
			}
		}
		if isTimeout(streams[path].Err()) {
			t.Errorf("%s: it did not end", path)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	_, _ = fmt.Fprint(open["/stays/events"], "data: second\n\n")
	for streams["/stays/events"].Scan() {
		switch line := streams["/stays/events"].Text(); line {
		case "":
		case "data: second":
			return
		default:
			t.Fatalf("/stays/events: got %q", line)
		}
	}
	t.Errorf("the stream of a route that stays ended: %v", streams["/stays/events"].Err())
}

// TestReloadInner: inner doors learn of a new map from control, without a restart:
// what it adds is reachable, and what it takes away is refused by them.
func TestReloadInner(t *testing.T) {
	t.Parallel()
	n := startInner(t, "front", "ledger")
	alice := n.login(n.addUser("alice@shop.example"))
	if got := n.do(call{path: "/more", bearer: alice}); got.Status != 404 {
		t.Fatalf("/more before: %d", got.Status)
	}
	n.rewrite(strings.Replace(n.text, "GET /ask: user", "GET /more: user", 1))
	until(t, "the new route is reachable through both doors", func() bool { return n.do(call{path: "/more", bearer: alice}).Status == 200 })
	if got := n.do(call{path: "/ask", bearer: alice}); got.Status != 404 {
		t.Errorf("/ask after: %d", got.Status)
	}
	if got := n.do(call{path: "/open"}); got.Status != 200 {
		t.Errorf("/open after: %d", got.Status)
	}
}

// TestReloadMended: a refused map whose mistake is mended in a file that only it
// names comes into force without a word, and is not told of again meanwhile.
func TestReloadMended(t *testing.T) {
	t.Parallel()
	z := startZone(t, reloadMap, map[string]string{"plain": startUpstream(t, nil).address})
	if err := os.Mkdir(filepath.Join(z.dir, "more"), 0o700); err != nil {
		t.Fatal(err)
	}
	const more = "services: {more: {upstream: \"http://127.0.0.1:9\", routes: {GET /more: anonymous}}}\n"
	z.write("more/service.yaml", strings.Replace(more, "anonymous", "nobody", 1))
	z.rewrite(strings.Replace(reloadMap, "[teams/*.yaml]", "[more/service.yaml]", 1))
	until(t, "the refusal is shown", func() bool { return z.metrics()["sallyport_reload_refused"] == 1 })
	z.write("more/service.yaml", more)
	until(t, "the mended map is in force", func() bool { return z.metrics()["sallyport_reload_refused"] == 0 })
	if got := z.do(call{path: "/more"}); got.Status != 502 {
		t.Errorf("its route: %d, want 502: nobody listens there", got.Status)
	}
	for _, w := range z.each() {
		if n := strings.Count(w.stderr.String(), "the map is refused"); n != 1 {
			t.Errorf("the refusal is told %d times", n)
		}
	}
}

// TestReloadSwappedFolder: a map that a symbolic link stands for, as Kubernetes
// mounts one, is read again when the link is swapped, with what it includes.
func TestReloadSwappedFolder(t *testing.T) {
	t.Parallel()
	z := newZone(t, reloadMap, map[string]string{"plain": startUpstream(t, nil).address})
	text, err := os.ReadFile(filepath.Join(z.dir, "zone.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// zone.yaml -> ..data/zone.yaml, ..data -> a folder of each version
	version := func(name, route string) {
		t.Helper()
		folder := filepath.Join(z.dir, name)
		if err := os.MkdirAll(filepath.Join(folder, "teams"), 0o700); err != nil {
			t.Fatal(err)
		}
		z.write(name+"/zone.yaml", string(text))
		z.write(name+"/teams/one.yaml", "services: {one: {upstream: \"http://127.0.0.1:9\", routes: {GET "+route+": anonymous}}}\n")
		next := filepath.Join(z.dir, "..data_tmp")
		if err := errors.Join(os.Symlink(name, next), os.Rename(next, filepath.Join(z.dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", "/first")
	if err := errors.Join(os.Remove(filepath.Join(z.dir, "zone.yaml")), os.Symlink("..data/zone.yaml", filepath.Join(z.dir, "zone.yaml")),
		os.Symlink("..data/teams", filepath.Join(z.dir, "teams"))); err != nil {
		t.Fatal(err)
	}
	z.start()
	status := func(path string) int { return z.do(call{path: path}).Status }
	if a, b := status("/first"), status("/second"); a != 502 || b != 404 {
		t.Fatalf("before: %d and %d, want 502 and 404", a, b)
	}
	version("..2", "/second")
	if err := os.RemoveAll(filepath.Join(z.dir, "..1")); err != nil {
		t.Fatal(err)
	}
	until(t, "the second version is in force", func() bool { return status("/second") == 502 && status("/first") == 404 })
}

// TestReloadGainsSidecar: a service that is reached in plain gets an inner door by
// a reload, control with it, and loses it again, while it is asked.
func TestReloadGainsSidecar(t *testing.T) {
	t.Parallel()
	const without = head + `
services:
  ledger:
    upstream: http://@ledger@
    routes: {GET /open: anonymous}
`
	with := strings.Replace(without, "    routes:", "    sidecar: \"@ledgerdoor@\"\n    routes:", 1)
	n := newInner(t, with) // for its addresses
	n.rewrite(without)
	n.start()
	status := func() int { return n.do(call{path: "/open"}).Status }
	if got := status(); got != 200 {
		t.Fatalf("in plain: %d", got)
	}
	n.rewrite(with)
	until(t, "the map has an inner door that is not there yet", func() bool { return status() == 502 })
	n.doors["ledger"] = n.sidecar("ledger")
	n.reach("/open")
	if out := n.must("status"); !strings.Contains(out, "sidecar") {
		t.Errorf("status does not tell of the inner door: %s", out)
	}
	n.rewrite(without)
	until(t, "it is reached in plain again", func() bool { return strings.Contains(n.must("status"), "inner door: none") })
	if got := status(); got != 200 {
		t.Errorf("in plain again: %d", got)
	}
	n.rewrite(with)
	n.reach("/open")
}
