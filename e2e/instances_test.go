package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestOneBadRouteDoesNotTakeTheServiceDown: a route that breaks its exchanges is
// no reason to refuse the others of the only instance there is.
func TestOneBadRouteDoesNotTakeTheServiceDown(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, misbehave)
	z := startZone(t, failureMap, map[string]string{"plain": up.address})
	client := z.client()
	for i := range 20 {
		z.try(call{method: "POST", path: "/case/short-long", client: client})
		z.try(call{method: "POST", path: "/case/nothing", client: client})
		if i%10 == 9 {
			if got := z.do(call{path: "/case/good", client: client}); got.Status != 200 {
				t.Errorf("after %d broken exchanges of another route: %d %s, want 200: the service is alive", 2*(i+1), got.Status, got.reason())
			}
		}
	}
}

// TestPoisonedConnections: what a service sends beyond its answer is never the
// answer to the next request of that connection.
func TestPoisonedConnections(t *testing.T) {
	t.Parallel()
	written := make(chan struct{}, 1)                     // what comes later has come: no request was under way then
	up := startUpstream(t, func(c net.Conn, r received) { // every answer names its request, and stays open
		id := r.Header.Get("X-Correlation-Id")
		own := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(id), id)
		poison := strings.Replace(own, id[:8], "poisoned", 1)
		switch r.Target {
		case "/case/at-once":
			_, _ = io.WriteString(c, own+poison)
		case "/case/later":
			_, _ = io.WriteString(c, own)
			time.Sleep(time.Millisecond)
			_, _ = io.WriteString(c, poison)
			written <- struct{}{}
		case "/case/interim":
			_, _ = io.WriteString(c, own+"HTTP/1.1 100 Continue\r\n\r\n")
		case "/case/rest":
			_, _ = io.WriteString(c, own+"x")
		default: // also with a body to HEAD
			_, _ = io.WriteString(c, own)
		}
	})
	z := startZone(t, failureMap, map[string]string{"plain": up.address})
	client := z.client()
	for i := range 60 {
		bad := []string{"at-once", "later", "interim", "rest", "head"}[i%5]
		method := http.MethodGet
		if bad == "head" {
			method = http.MethodHead
		}
		for _, c := range []call{{method: method, path: "/case/" + bad}, {path: "/case/good"}, {method: "POST", path: "/case/good", body: "x"}} {
			c.client = client
			got := z.do(c)
			if c.path == "/case/later" {
				<-written
			}
			if strings.Contains(got.Body, "poisoned") || got.Status == 200 && got.Body != got.ID && c.method != http.MethodHead {
				t.Errorf("%s %s after %s was answered %d %q, which is not its own", c.method, c.path, bad, got.Status, got.Body)
			}
			if c.path == "/case/good" && got.Status != 200 {
				t.Errorf("%s %s after %s: %d %s", c.method, c.path, bad, got.Status, got.reason())
			}
		}
	}
}

// TestConnectionsClosedUnannounced: a service that closes its connection after
// each answer without saying so costs no safe request its answer.
func TestConnectionsClosedUnannounced(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(c net.Conn, _ received) {
		_, _ = io.WriteString(c, plainAnswer)
		time.Sleep(500 * time.Microsecond)
		_ = c.Close()
	})
	z := startZone(t, failureMap, map[string]string{"plain": up.address})
	client := z.client()
	failed := 0
	for range 300 {
		if got := z.do(call{path: "/case/x", client: client}); got.Status != 200 {
			failed++
		}
	}
	if failed > 0 {
		t.Errorf("%d of 300 GETs failed", failed)
	}
}

// TestUpstreamDown: nobody listens: 502 at once, on record, and back when the
// service is.
func TestUpstreamDown(t *testing.T) {
	t.Parallel()
	z := startZone(t, failureMap, nil)
	for _, method := range []string{"GET", "POST"} {
		got := z.do(call{method: method, path: "/dead"})
		if rs := z.of(got.ID); got.Status != 502 || got.reason() != "upstream.unreachable" || len(rs) != 1 || rs[0].Reason != "upstream.unreachable" || rs[0].Service != "dead" {
			t.Errorf("%s: %d %s, records %+v", method, got.Status, got.reason(), rs)
		}
		if strings.Contains(got.Body, "127.0.0.1") || strings.Contains(got.Body, "refused") {
			t.Errorf("the answer tells of the inside: %s", got.Body)
		}
	}
	if _, _, code := z.run("status"); code != 0 {
		t.Errorf("a service that is down makes the zone unready: %d", code)
	}
	startUpstreamAt(t, z.address["dead"], nil)
	until(t, "the service is back", func() bool { return z.do(call{path: "/dead"}).Status == 200 })
}

// TestOneInstanceOfSeveralIsDead: every request succeeds, also those that may
// not be sent twice, before and after one dies.
func TestOneInstanceOfSeveralIsDead(t *testing.T) {
	t.Parallel()
	one, two := startUpstream(t, nil), startUpstream(t, nil)
	z := startZone(t, failureMap, map[string]string{"one": one.address, "two": two.address}) // nobody listens on three
	var failed, done atomic.Int64
	run := func(n int) {
		var work sync.WaitGroup
		for range 4 {
			client := z.client()
			work.Go(func() {
				for i := range n {
					method := []string{"GET", "POST"}[i%2]
					if got := z.do(call{method: method, path: "/many", client: client}); got.Status != 200 {
						failed.Add(1)
						t.Errorf("%s: %d %s %v", method, got.Status, got.reason(), got.Err)
					}
					done.Add(1)
				}
			})
		}
		work.Wait()
	}
	run(100)
	if len(one.all()) == 0 || len(two.all()) == 0 {
		t.Errorf("the live instances got %d and %d requests: want both in use", len(one.all()), len(two.all()))
	}
	if sum := len(one.all()) + len(two.all()); int64(sum) != done.Load() {
		t.Errorf("%d requests were made, the instances got %d", done.Load(), sum)
	}
}

// TestUnixSocket: a service that listens on a unix socket.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	up := startUpstreamAt(t, t.TempDir()+"/s.sock", nil)
	z := startZone(t, strings.ReplaceAll(trapsMap, "http://@plain@", "unix:@plain@"), map[string]string{"plain": up.address})
	for range 3 {
		if got := z.do(call{method: "POST", path: "/open", body: "x"}); got.Status != 200 || len(up.of(got.ID)) != 1 {
			t.Errorf("%d, the service was asked %d times", got.Status, len(up.of(got.ID)))
		}
	}
}

// TestStatusTellsOfADeadService: "besides the dial" a service is asked every five
// seconds, so soon after the start nobody is told that it is reachable.
func TestStatusTellsOfADeadService(t *testing.T) {
	t.Parallel()
	z := startZone(t, failureMap, map[string]string{"plain": startUpstream(t, nil).address})
	healthy := func() map[string]int {
		var s struct {
			Services []struct {
				Name    string
				Healthy int
			}
		}
		if err := json.Unmarshal([]byte(z.must("status", "--format", "json")), &s); err != nil {
			t.Fatal(err)
		}
		all := map[string]int{}
		for _, svc := range s.Services {
			all[svc.Name] = svc.Healthy
		}
		return all
	}
	// A dial that a busy machine did not get to takes plain out until the next.
	until(t, "status tells the dead service from the one that is there", func() bool {
		now := healthy()
		return now["dead"] == 0 && now["plain"] == 1
	})
}
