package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const boundsMap = `
zone: shop.example
journal: {size: 64MiB}
listeners:
  public: {address: "@public@", limits: {body: 4KiB, header: 8KiB, header_time: 1min}}
  slow: {address: "@slow@", limits: {header_time: 1s}}
  narrow: {address: "@narrow@", limits: {connections: 3, header_time: 1min}}
  admin: {address: "@admin@"}
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /open: anonymous
      POST /open: anonymous
      GET /narrow: {allow: anonymous, listener: narrow}
`

func startBounds(t *testing.T) (*zoned, *upstream) {
	t.Helper()
	up := startUpstream(t, nil)
	return startZone(t, boundsMap, map[string]string{"plain": up.address}), up
}

// TestSizes: a body or head at the bound passes, one beyond it is 413 or 431.
func TestSizes(t *testing.T) {
	t.Parallel()
	z, up := startBounds(t)
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		client := z.client(func(tr *http.Transport) { tr.ForceAttemptHTTP2 = protocol == "HTTP/2.0" })
		for _, s := range []struct {
			name   string
			body   string
			chunks bool
			header int
			status int
			reason string
		}{
			{"body at the bound", strings.Repeat("a", 4<<10), false, 0, 200, "ok"},
			{"body beyond", strings.Repeat("a", 4<<10+1), false, 0, 413, "request.body_too_large"},
			{"chunks at the bound", strings.Repeat("a", 4<<10), true, 0, 200, "ok"},
			{"chunks beyond", strings.Repeat("a", 4<<10+1), true, 0, 413, "request.body_too_large"},
			{"chunks far beyond", strings.Repeat("a", 1<<20), true, 0, 413, "request.body_too_large"},
			{"head within", "x", false, 4 << 10, 200, "ok"},
			{"head beyond", "x", false, 64 << 10, 431, ""},
		} {
			req, id := z.request(call{method: "POST", path: "/open", body: s.body})
			if s.chunks {
				req.Body, req.ContentLength = io.NopCloser(strings.NewReader(s.body)), -1
			}
			if s.header > 0 {
				req.Header.Set("X-Large", strings.Repeat("a", s.header))
			}
			res, err := client.Do(req)
			if err != nil {
				if s.status == 200 || s.reason != "" && !s.chunks {
					t.Errorf("%s, %s: %v", protocol, s.name, err)
				}
				continue // the connection may end while the client still sends
			}
			_ = res.Body.Close()
			if res.Proto != protocol || res.StatusCode != s.status {
				t.Errorf("%s, %s: %s %d, want %d", protocol, s.name, res.Proto, res.StatusCode, s.status)
			}
			whole := 0
			for _, in := range up.of(id) {
				if in.Err == nil {
					whole++
				}
			}
			if (whole == 1) != (s.status == 200) {
				t.Errorf("%s, %s: the service got %d whole requests", protocol, s.name, whole)
			}
			if rs := z.of(id); s.reason != "" && (len(rs) != 1 || rs[0].Reason != s.reason || rs[0].Status != s.status) {
				t.Errorf("%s, %s: records %+v, want %d %s", protocol, s.name, rs, s.status, s.reason)
			}
		}
	}
}

// TestSlowClients: a head or body that does not come is not waited for; others
// are served meanwhile.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	z, up := startBounds(t)
	for _, s := range []struct {
		name, listener, text string
		status               int
	}{
		{"no head", "slow", "", 0},
		{"half a head", "slow", "GET /open HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", 0},
		{"half a body", "public", "POST /open HTTP/1.1\r\nHost: localhost\r\nX-Correlation-Id: ID\r\nContent-Length: 10\r\n\r\nhalf", 408},
		{"half a chunk", "public", "POST /open HTTP/1.1\r\nHost: localhost\r\nX-Correlation-Id: ID\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha", 408},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			var id string
			var c *tls.Conn
			var began time.Time
			until(t, "the client has sent its half", func() (sent bool) { // the time for a head is that of the handshake, too
				var err error
				id, began = newID(), time.Now()
				if c, err = z.in(t).dialTLS(s.listener); err != nil { // it has a deadline: patience
					return false
				}
				_, err = io.WriteString(c, strings.ReplaceAll(s.text, "ID", id))
				return err == nil
			})
			answers, closed := readAnswers(t, c, 0)
			if took := time.Since(began); took >= patience || !closed {
				t.Errorf("the connection was still open after %v", took)
			}
			if got := len(answers); got > 1 || got == 1 && answers[0].Status != 408 || got == 0 && s.status == 408 {
				t.Errorf("answered %v, want %d", answers, s.status)
			}
			for _, in := range up.of(id) {
				if in.Err == nil {
					t.Errorf("the service got a whole request: %s", in)
				}
			}
			if rs := z.of(id); s.status != 0 && (len(rs) != 1 || rs[0].Reason != "request.timeout") {
				t.Errorf("records %+v, want request.timeout", rs)
			}
			if got := z.in(t).do(call{path: "/open"}); got.Status != 200 {
				t.Errorf("another client: %d", got.Status)
			}
		})
	}
}

// TestConnectionsAreBounded: beyond the bound a connection is closed; one that
// ends makes room.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	z, _ := startBounds(t)
	const most = 3
	open := make([]*tls.Conn, most)
	for i := range open {
		c, err := z.dialTLS("narrow")
		if err != nil {
			t.Fatalf("connection %d of %d: %v", i+1, most, err)
		}
		open[i] = c
	}
	if _, err := z.dialTLS("narrow"); err == nil {
		t.Errorf("connection %d was let in", most+1)
	}
	if got := z.do(call{path: "/open"}); got.Status != 200 {
		t.Errorf("another listener: %d", got.Status)
	}
	_ = open[0].Close()
	until(t, "there is room again", func() bool {
		c, err := z.dialTLS("narrow")
		if err != nil {
			return false
		}
		defer c.Close()
		if _, err := fmt.Fprint(c, "GET /narrow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
			return false
		}
		answers, _ := readAnswers(t, c, 0)
		return len(answers) == 1 && answers[0].Status == 200
	})
}
