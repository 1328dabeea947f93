package upstream

//lint:file-ignore SA1019 as in http2.go

import (
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/test/bufconn"

	"sallyport.dev/zone"
)

// TestPings: an inner door is asked soon whether it is there, and given up when it does
// not answer; a plain service seldom.
func TestPings(t *testing.T) {
	for scheme, want := range map[string]time.Duration{"https": 15 * time.Second, "http": 6 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			l := bufconn.Listen(64 << 10)
			asked := make(chan time.Time, 1)
			go func() { // a service that is silent from the first call on
				conn, err := l.Accept()
				if err != nil {
					return
				}
				if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
					return
				}
				framer := http2.NewFramer(conn, conn)
				_ = framer.WriteSettings()
				for {
					frame, err := framer.ReadFrame()
					if err != nil {
						return
					}
					if _, ping := frame.(*http2.PingFrame); ping {
						asked <- time.Now()
					}
				}
			}()
			conn, err := l.DialContext(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			cfg := Config{}.withDefaults()
			pool := newH2Pool(&instance{Upstream: zone.Upstream{Scheme: scheme}}, &cfg)
			cc, err := pool.transport.NewClientConn(conn)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+"://service/shop.Rpc/Listen", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if _, err := cc.RoundTrip(req); err == nil {
				t.Fatal("answered")
			}
			if at := (<-asked).Sub(began); at != want {
				t.Errorf("%s: asked after %v, want %v", scheme, at, want)
			}
			if lost := time.Since(began); lost != want+15*time.Second {
				t.Errorf("%s: given up after %v, want %v", scheme, lost, want+15*time.Second)
			}
		})
	}
}
