package upstream

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/upstream/upstreamtest"
)

// benchFields is as many bytes as a gateway writes for an ordinary request.
func benchFields() string {
	return "Txn-Token: " + strings.Repeat("t", 600) + "\r\nX-Correlation-Id: 7d3f2c1e-8a4b-4c5d-9e6f-0a1b2c3d4e5f\r\n" +
		"Traceparent: 00-01020300000000000000000000000000-0405060000000000-01\r\nSallyport-Client: \"203.0.113.7\";listener=public\r\n" +
		"Accept: application/json\r\nAccept-Encoding: gzip\r\nAccept-Language: de\r\nUser-Agent: Mozilla/5.0\r\n"
}

const benchAnswer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sun, 22 Nov 2026 13:00:00 GMT\r\nContent-Length: 200\r\n\r\n"

// BenchmarkExchange is one request to a service on loopback and its answer of
// 200 bytes, against a tuned http.Transport doing the same: read the ratio.
//
//	go test -run '^$' -bench Exchange -count 6 ./internal/upstream
func BenchmarkExchange(b *testing.B) {
	answer := benchAnswer + strings.Repeat("x", 200)
	b.Run("ours", func(b *testing.B) {
		s := upstreamtest.Echo(b, answer)
		set := newTestSet(b, Config{}, s)
		b.Cleanup(set.Close)
		ctx, cancel := context.WithCancel(context.Background())
		b.Cleanup(cancel)
		r := someRequest("GET", "/products/4711")
		r.Fields = lines(benchFields())
		buf := make([]byte, pieceSize)
		b.ReportAllocs()
		for b.Loop() {
			x, err := set.Send(ctx, r)
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.ReadFull(x, buf[:200]); n != 200 || err != nil {
				b.Fatal(n, err)
			}
			if _, err := x.Read(buf); err != io.EOF {
				b.Fatal(err)
			}
			x.Close()
		}
	})
	b.Run("transport", func(b *testing.B) {
		s := upstreamtest.Echo(b, answer)
		tr := &http.Transport{
			DialContext:        (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			DisableCompression: true, MaxIdleConnsPerHost: 256, ResponseHeaderTimeout: 30 * time.Second,
		}
		b.Cleanup(tr.CloseIdleConnections)
		ctx, cancel := context.WithCancel(context.Background())
		b.Cleanup(cancel)
		fields, err := textproto.NewReader(bufioReader(benchFields() + "\r\n")).ReadMIMEHeader()
		if err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, pieceSize)
		b.ReportAllocs()
		for b.Loop() {
			r, err := http.NewRequestWithContext(ctx, "GET", "http://"+s.Address+"/products/4711", nil)
			if err != nil {
				b.Fatal(err)
			}
			for name, values := range fields {
				r.Header[name] = values
			}
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
