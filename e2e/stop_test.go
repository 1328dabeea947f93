package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
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

// drainTime is what a zone gives the requests under way when it is told to stop.
const drainTime = 10 * time.Second

// TestStop: on SIGTERM under load no answer that had begun is cut, none is
// acknowledged without record, and the end is clean.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			attempts(t, func(a *attempt) { stopUnderLoad(a, protocol) })
		})
	}
}

func stopUnderLoad(a *attempt, protocol string) {
	up := startUpstream(a, slowAnswer)
	z := startZone(a, crashMap, map[string]string{"plain": up.address})
	var whole, drained atomic.Int64
	var mu sync.Mutex
	seen, busy := map[string]int{}, ""
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
						a.Errorf("before the stop: %v", err)
					}
					return
				}
				body, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				want := len(long)
				if path == "/open" {
					want = 2
				}
				got := answer{Status: res.StatusCode, Header: res.Header, Body: string(body)}
				switch {
				case err != nil:
					a.Errorf("an answer that had begun was cut: %d, %d of %d bytes: %v", res.StatusCode, len(body), want, err)
					return
				case res.StatusCode == 503 && stopping.Load():
					drained.Add(1)
				case res.StatusCode != 200 || len(body) != want:
					a.Errorf("%d %s, %d of %d bytes", res.StatusCode, got.reason(), len(body), want)
				}
				whole.Add(1)
				mu.Lock()
				seen[id] = res.StatusCode
				if hasty(got) {
					busy = got.reason()
				}
				mu.Unlock()
				if res.StatusCode == 503 {
					return
				}
			}
		})
	}
	until(a, "there is load", func() bool { return whole.Load() > 30 })
	stopping.Store(true)
	began := time.Now()
	if err := z.end(syscall.SIGTERM); err != nil {
		a.Errorf("the end: %v\n%s", err, z.stderr)
	}
	took := time.Since(began)
	work.Wait()
	if a.late("the drain, with answers of a third of a second,", took, drainTime); busy != "" {
		a.disturbed = busy
	}
	if strings.Contains(z.stderr.String(), "requests cut at the end of the drain") {
		a.Errorf("the zone cut what was under way\n%s", z.stderr)
	}
	records := z.byID()
	for id, status := range seen {
		if rs := records[id]; len(rs) != 1 || rs[0].Status != status {
			a.Errorf("a client saw %d for %s, the records are %+v", status, id, rs)
		}
	}
	z.verifyJournal(a)
	a.Logf("%d answers, %d of them zone.draining; the drain took %v", whole.Load(), drained.Load(), took)
}

// TestStopCutsWhatHangs: a request that a service never answers does not keep the
// process for ever; its record says why it ended.
func TestStopCutsWhatHangs(t *testing.T) {
	t.Parallel()
	attempts(t, stopCuts)
}

func stopCuts(a *attempt) {
	asked, release := make(chan struct{}, 8), make(chan struct{})
	up := startUpstream(a, func(net.Conn, received) {
		asked <- struct{}{}
		<-release
	})
	defer close(release)
	z := startZone(a, crashMap, map[string]string{"plain": up.address})
	hanging := make(chan answer, 1)
	go func() { hanging <- z.try(call{path: "/open"}) }()
	select {
	case <-asked:
	case got := <-hanging:
		a.disturbed = "nothing had the time to hang"
		a.Fatalf("the service was not asked: %d %s %v", got.Status, got.reason(), got.Err)
	}
	if err := z.end(syscall.SIGTERM); err != nil {
		a.Errorf("the end: %v", err)
	}
	got := <-hanging
	if got.Err == nil && got.Status != 503 {
		a.Errorf("the client saw %d", got.Status)
	}
	rs := z.of(got.ID)
	if len(rs) != 1 || rs[0].Reason != "zone.draining" {
		a.Errorf("the records are %+v, want zone.draining: the client did not go away, the zone did", rs)
	}
	if len(rs) == 0 {
		a.disturbed = "the zone may not have had its two seconds to write what it cut"
	}
}
