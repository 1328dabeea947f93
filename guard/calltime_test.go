package guard

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
)

const clockShop = `
zone: shop.example
services:
  orders:
    upstream: https://127.0.0.1:9002
    embedded: true
    routes:
      POST /call: user
      GET /live: {allow: user, stream: sse}
  catalog:
    upstream: https://127.0.0.1:9003
    embedded: true
    routes:
      GET /x: user
    calls:
      orders: [POST /call, GET /live]
`

// TestCallTimeout: a call ends in time, a stream lasts, and what is too long is
// not sent.
func TestCallTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, clockShop, time.Now)
		_, p := inPipes(t, w, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(rw, "first")
			_ = http.NewResponseController(rw).Flush()
			select {
			case <-time.After(90 * time.Second):
				_, _ = io.WriteString(rw, ", last")
			case <-r.Context().Done():
			}
		}))
		catalog := w.guard("catalog", nil)
		to := catalog.book.Load().calls.to["orders"].wire.(*innerWire)
		to.connect = func(context.Context) (net.Conn, error) { return p.dial(), nil }
		call := func(method, path, body string) (string, error) {
			ctx := withInbound(t.Context(), &inbound{token: w.token("u1"), correlationID: correlation, client: nobody})
			r, err := http.NewRequestWithContext(ctx, method, "http://orders"+path, strings.NewReader(body))
			if err != nil {
				return "", err
			}
			res, err := catalog.Client().Do(r)
			if err != nil {
				return "", err
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if res.StatusCode != http.StatusOK {
				t.Errorf("%s %s: %d %s", method, path, res.StatusCode, b)
			}
			return string(b), err
		}
		start := time.Now()
		if got, err := call("GET", "/live", ""); got != "first, last" || err != nil || time.Since(start) != 90*time.Second {
			t.Errorf("a stream: %q, %v after %s", got, err, time.Since(start))
		}
		start = time.Now()
		got, err := call("POST", "/call", "x")
		if timeout, ok := errors.AsType[net.Error](err); got != "first" || !ok || !timeout.Timeout() || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != defaultCallTimeout {
			t.Errorf("a call: %q, %v after %s", got, err, time.Since(start))
		}
		if _, err := call("POST", "/call", strings.Repeat("x", 1<<20+1)); problem.ReasonOf(err) != problem.RequestBodyTooLarge {
			t.Errorf("a body beyond the callee's bound: %v", err)
		} else if _, ok := errors.AsType[*CallError](err); !ok {
			t.Errorf("a body beyond the callee's bound: %T", err)
		}
		catalog.client.CloseIdleConnections()
	})
}
