package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// slowAnswer gives its answer in pieces, a third of a second long.
func slowAnswer(c net.Conn, r received) {
	if r.Target != "/slow" {
		_, _ = io.WriteString(c, plainAnswer)
		return
	}
	_, _ = io.WriteString(c, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(long)))
	for i := range 8 {
		time.Sleep(40 * time.Millisecond)
		_, _ = io.WriteString(c, long[i*len(long)/8:(i+1)*len(long)/8])
	}
}

// TestStop: on SIGTERM under load no answer that had begun is cut, none is
// acknowledged without record, and the end is clean.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			up := startUpstream(t, slowAnswer)
			z := startZone(t, crashMap, map[string]string{"plain": up.address})
			var begun, whole, drained atomic.Int64
			var mu sync.Mutex
			seen := map[string]int{}
			var work sync.WaitGroup
			var stopping atomic.Bool
			for i := range 8 {
				client := z.client(func(tr *http.Transport) { tr.ForceAttemptHTTP2 = protocol == "HTTP/2.0" })
				work.Go(func() {
					for n := 0; ; n++ {
						path := "/slow"
						if (i+n)%2 == 0 {
							path = "/open"
						}
						req, id := z.request(call{path: path})
						res, err := client.Do(req)
						if err != nil {
							if !stopping.Load() {
								t.Errorf("before the stop: %v", err)
							}
							return
						}
						begun.Add(1)
						body, err := io.ReadAll(res.Body)
						_ = res.Body.Close()
						want := len(long)
						if path == "/open" {
							want = 2
						}
						switch {
						case err != nil:
							t.Errorf("an answer that had begun was cut: %d, %d of %d bytes: %v", res.StatusCode, len(body), want, err)
							return
						case res.StatusCode == 503 && stopping.Load():
							drained.Add(1)
						case res.StatusCode != 200 || len(body) != want:
							t.Errorf("%d, %d of %d bytes", res.StatusCode, len(body), want)
						}
						whole.Add(1)
						mu.Lock()
						seen[id] = res.StatusCode
						mu.Unlock()
						if res.StatusCode == 503 {
							return
						}
					}
				})
			}
			until(t, "there is load", func() bool { return whole.Load() > 30 })
			stopping.Store(true)
			began := time.Now()
			if err := z.end(syscall.SIGTERM); err != nil {
				t.Errorf("the end: %v\n%s", err, z.stderr)
			}
			took := time.Since(began)
			work.Wait()
			if took > 9*time.Second {
				t.Errorf("the drain took %v, with answers of a third of a second", took)
			}
			records := z.byID()
			for id, status := range seen {
				if rs := records[id]; len(rs) != 1 || rs[0].Status != status {
					t.Errorf("a client saw %d for %s, the records are %+v", status, id, rs)
				}
			}
			z.verifyJournal(t)
			t.Logf("%d answers, %d of them zone.draining; the drain took %v", whole.Load(), drained.Load(), took)
		})
	}
}

// TestStopCutsWhatHangs: a request that a service never answers does not keep the
// process for ever; its record says why it ended.
func TestStopCutsWhatHangs(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	up := startUpstream(t, func(net.Conn, received) {
		close(asked)
		<-release
	})
	z := startZone(t, crashMap, map[string]string{"plain": up.address})
	defer close(release)
	hanging := make(chan answer, 1)
	go func() { hanging <- z.try(call{path: "/open"}) }()
	<-asked
	if err := z.end(syscall.SIGTERM); err != nil {
		t.Errorf("the end: %v", err)
	}
	got := <-hanging
	if got.Err == nil && got.Status != 503 {
		t.Errorf("the client saw %d", got.Status)
	}
	if rs := z.of(got.ID); len(rs) != 1 || rs[0].Reason != "zone.draining" {
		t.Errorf("the records are %+v, want zone.draining: the client did not go away, the zone did", rs)
	}
}
