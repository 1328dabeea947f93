package gateway

import (
	"net"
	"testing"
	"time"

	"sallyport.dev/internal/svid"
)

// TestStalledInside: an instance that takes the connection and says nothing, or
// ends it in the handshake, costs the time of a dial and leaves nothing behind.
func TestStalledInside(t *testing.T) {
	for what, say := range map[string][]byte{
		"silence": nil, "half a record": {22, 3, 3, 0, 100, 2}, "an alert": {21, 3, 3, 0, 2, 2, 40}, "plain HTTP": []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				t.Cleanup(func() { _ = c.Close() })
				_, _ = c.Write(say)
			}
		}()
		ca := newTrust(t, "shop.example")
		g, kept := editedGateway(t, innerRoutes(), throughInnerDoor(t, ca.source(svid.GatewayName), l.Addr().String()), func(c *Config) {
			c.Upstream.DialTime = 100 * time.Millisecond
		})
		w, done := newTaker(), make(chan struct{})
		go func() {
			defer close(done)
			visit(g, w, "GET", "/mac/1")
		}()
		select {
		case <-done:
		case <-time.After(tooLong): // less than an answer may take
			t.Fatalf("%s: a dial has no end", what)
		}
		if w.status != 502 {
			t.Errorf("%s: %d, want 502", what, w.status)
		}
		if all := kept.all(); len(all) != 1 || all[0].Reason != "upstream.unreachable" {
			t.Errorf("%s: recorded %+v", what, all)
		}
		if n := g.inner.conns.Len(); n != 0 {
			t.Errorf("%s: %d connections are left", what, n)
		}
	}
}
