package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const streamMap = head + `
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /events: {allow: user, stream: sse}
      GET /buffered: user
      POST /echo: anonymous
`

// events answers with one event at once and others when the test says so, or
// echoes.
func events(next <-chan string) func(net.Conn, received) {
	return func(c net.Conn, r received) {
		if r.Target == "/echo" {
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(r.Body), r.Body)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: first\n\n")
		for e := range next {
			if _, err := io.WriteString(c, "data: "+e+"\n\n"); err != nil {
				break
			}
		}
		_ = c.Close()
	}
}

// TestStream: events arrive as they are sent, the stream is on record from its
// beginning, and it ends when the session does.
func TestStream(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		attempts(t, func(a *attempt) { streamBy(a, protocol) })
	}
}

func streamBy(t *attempt, protocol string) {
	next := make(chan string)
	defer close(next)
	z := startZone(t, streamMap, map[string]string{"plain": startUpstream(t, events(next)).address})
	defer t.strained(z)
	alice := z.addUser("alice@shop.example")
	client := z.client(func(tr *http.Transport) { tr.ForceAttemptHTTP2 = protocol == "HTTP/2.0" })
	if got := z.do(call{path: "/events", client: client}); got.Status != 401 {
		t.Errorf("without credential: %d", got.Status)
	}
	token := z.loginWith(client, alice)
	res := z.stream(client, "/events", token)
	id := res.Request.Header.Get("X-Correlation-Id")
	lines := bufio.NewScanner(res.Body)
	read := func() string {
		for lines.Scan() {
			if lines.Text() != "" {
				return lines.Text()
			}
		}
		return ""
	}
	for i := range 4 {
		want := "data: first"
		if i > 0 {
			want = fmt.Sprint("data: event ", i)
			next <- strings.TrimPrefix(want, "data: ")
		}
		if got := read(); got != want { // with the next one not sent yet
			t.Fatalf("%s: event %d is %q, want %q", protocol, i, got, want)
		}
	}
	open := z.of(id)
	if len(open) != 1 || open[0].Status != 200 || open[0].Principal != alice.ID {
		t.Errorf("%s: while it streams the records are %+v", protocol, open)
	}
	if got := z.do(call{method: "POST", path: "/auth/logout", bearer: token, client: client}); got.Status != 204 {
		t.Fatalf("logout: %d", got.Status)
	}
	if rest := read(); rest != "" || isTimeout(lines.Err()) {
		t.Errorf("%s: after the logout: %q %v", protocol, rest, lines.Err())
	}
	until(t, "the end is on record", func() bool { return len(z.of(id)) == 2 })
	if end := z.of(id)[1]; end.Reason != "auth.revoked" {
		t.Errorf("%s: the end is recorded as %+v", protocol, end)
	}
}

// TestAnswersBelongToTheirRequests: many clients over few connections inside,
// some of whom go away in the middle; nobody gets a byte of another.
func TestAnswersBelongToTheirRequests(t *testing.T) {
	t.Parallel()
	z := startZone(t, streamMap, map[string]string{"plain": startUpstream(t, events(nil)).address})
	var work sync.WaitGroup
	for w := range 12 {
		client := z.client(func(tr *http.Transport) { tr.ForceAttemptHTTP2 = w%2 == 0 })
		work.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 7)) //nolint:gosec // the same in each run
			for i := range 40 {
				body := strings.Repeat(fmt.Sprintf("<%d.%d>", w, i), 1+random.IntN(10_000))
				req, _ := z.request(call{method: "POST", path: "/echo", body: body})
				ctx, cancel := context.WithCancel(req.Context())
				leaves := random.IntN(4) == 0
				if leaves { // somewhere on the way
					time.AfterFunc(time.Duration(random.IntN(3000))*time.Microsecond, cancel)
				}
				res, err := client.Do(req.WithContext(ctx))
				if err == nil {
					var got []byte
					got, err = io.ReadAll(res.Body)
					_ = res.Body.Close()
					if err == nil && (res.StatusCode != 200 || string(got) != body) {
						t.Errorf("%d.%d: %d, %d bytes beginning with %.20q, want its own %d", w, i, res.StatusCode, len(got), got, len(body))
					}
				}
				if err != nil && !leaves {
					t.Errorf("%d.%d: %v", w, i, err)
				}
				cancel()
			}
		})
	}
	work.Wait()
}
