package guard_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"sallyport.dev/guard/guardtest"
	"sallyport.dev/internal/problem"
)

const plainSockets = `
zone: shop.example
services:
  orders:
    upstream: https://127.0.0.1:9002
    embedded: true
    routes:
      GET /mine: user
    calls:
      accounts: [GET /chat, GET /plain]
  accounts:
    upstream: http://127.0.0.1:9003
    routes:
      GET /chat: {allow: user, stream: websocket}
      GET /plain: user
`

// TestSocketInPlain: a service of this host without inner door takes WebSockets as
// well; a switch that nobody asked for, or to something else, is a fault.
func TestSocketInPlain(t *testing.T) {
	const head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
	for _, tt := range []struct {
		name, path, answer string
		status             int
	}{
		{"a WebSocket", "/chat", head + "Upgrade: websocket\r\n\r\nhello", 101},
		{"another protocol", "/chat", head + "Upgrade: h2c\r\n\r\nhello", 0},
		{"no protocol", "/chat", "HTTP/1.1 101 Switching Protocols\r\n\r\nhello", 0},
		{"unasked", "/plain", head + "Upgrade: websocket\r\n\r\nhello", 0},
		{"a page", "/chat", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := guardtest.New(t, plainSockets, "orders", guardtest.Callee("accounts", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, in, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, tt.answer)
				_, _ = io.Copy(conn, in)
			})))
			within(t, g, func(ctx context.Context) {
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://accounts"+tt.path, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Connection", "keep-alive, upgrade")
				r.Header.Set("Upgrade", "WebSocket")
				res, err := g.Client().Do(r)
				if tt.status == 0 {
					if problem.ReasonOf(err) != problem.UpstreamProtocol {
						t.Errorf("got %v, %v, want upstream.protocol", res, err)
					}
					return
				}
				if err != nil || res.StatusCode != tt.status {
					t.Fatalf("got %v, %v, want %d", res, err, tt.status)
				}
				defer res.Body.Close()
				got, want := make([]byte, 5), "hello"
				if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
					t.Errorf("got %q, %v", got, err)
				}
				if to, ok := res.Body.(io.Writer); ok != (tt.status == 101) {
					t.Errorf("%d: takes writes: %v", tt.status, ok)
				} else if ok {
					_, _ = io.WriteString(to, want)
					if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
						t.Errorf("got %q back, %v", got, err)
					}
				}
			})
		})
	}
}
