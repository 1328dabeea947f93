package gateway

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// echoService answers each request of a connection with the same bytes, and
// allocates nothing for it: what a benchmark measures is our side.
func echoService(b *testing.B, answer string) *rawService {
	b.Helper()
	out := []byte(answer)
	return newRawService(b, "tcp", func(c *rawConn) {
		buf := make([]byte, 16<<10)
		n := 0
		for {
			m, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			if n += m; !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
				continue
			}
			n = 0
			if _, err := c.Write(out); err != nil {
				return
			}
		}
	})
}

func benchOutgoing() *outgoing {
	o := someOutgoing("GET", "/products/4711")
	o.inside = strings.Repeat("t", 600)
	o.received = http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "Accept-Language": {"de"}, "User-Agent": {"Mozilla/5.0"},
		"Authorization": {"Bearer sps_" + strings.Repeat("x", 43)},
	}
	return o
}

const benchAnswer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sun, 22 Nov 2026 13:00:00 GMT\r\nContent-Length: 200\r\n\r\n"

// BenchmarkExchange is one request to a service on loopback and its answer of
// 200 bytes, against a tuned http.Transport doing the same: read the ratio.
//
//	go test -run '^$' -bench Exchange -count 6 ./internal/gateway
func BenchmarkExchange(b *testing.B) {
	answer := benchAnswer + strings.Repeat("x", 200)
	b.Run("ours", func(b *testing.B) {
		s := echoService(b, answer)
		set := newUpstreamSet(testZone(s.address).Services[0], upstreamConfig{})
		b.Cleanup(set.Close)
		ctx, cancel := context.WithCancel(context.Background())
		b.Cleanup(cancel)
		o := benchOutgoing()
		buf := make([]byte, pieceSize)
		b.ReportAllocs()
		for b.Loop() {
			x, err := set.send(ctx, o)
			if err != nil {
				b.Fatal(err)
			}
			if n, err := x.fill(buf); n != 200 || err != io.EOF {
				b.Fatal(n, err)
			}
			x.finish()
		}
	})
	b.Run("transport", func(b *testing.B) {
		s := echoService(b, answer)
		tr := &http.Transport{
			DialContext:        (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			DisableCompression: true, MaxIdleConnsPerHost: 256, ResponseHeaderTimeout: 30 * time.Second,
		}
		b.Cleanup(tr.CloseIdleConnections)
		ctx, cancel := context.WithCancel(context.Background())
		b.Cleanup(cancel)
		o := benchOutgoing()
		buf := make([]byte, pieceSize)
		b.ReportAllocs()
		for b.Loop() {
			r, err := http.NewRequestWithContext(ctx, o.method, "http://"+s.address+o.path, nil)
			if err != nil {
				b.Fatal(err)
			}
			for name, values := range o.received {
				r.Header[name] = values
			}
			r.Header["Txn-Token"] = []string{o.inside}
			r.Header["X-Correlation-Id"] = []string{o.correlation}
			resp, err := tr.RoundTrip(r)
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.ReadFull(resp.Body, buf[:200]); n != 200 || err != nil {
				b.Fatal(n, err)
			}
			_ = resp.Body.Close()
		}
	})
}

// BenchmarkForward is the forward stage alone, wire inside included: request,
// answer, its fields and the record. A large answer shows the cost of moving it.
func BenchmarkForward(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"200B", 200}, {"1MiB", 1 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			s := echoService(b, sized(strings.Repeat("x", c.size)))
			g := benchDoor(b, s.address)
			r := httptest.NewRequest("GET", "https://shop.example/products/3f2b8c1e", nil)
			r.RequestURI, r.URL.Scheme, r.URL.Host, r.RemoteAddr, r.TLS.ServerName = "/products/3f2b8c1e", "", "", "127.0.0.1:4711", "shop.example"
			r.Header.Set("Authorization", "Bearer "+aliceToken)
			r.Header.Set("Accept", "application/json")
			ctx, cancel := context.WithCancel(context.Background())
			b.Cleanup(cancel)
			r = r.WithContext(ctx)
			w := nowhere{http.Header{}}
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				g.serve(g.listeners[0], w, r)
			}
		})
	}
}
