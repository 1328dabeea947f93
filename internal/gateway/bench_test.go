package gateway

import (
	"bufio"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// benchDoor is a gateway with fakes that cost next to nothing, and a route as
// ordinary ones are: for users, with a limit.
func benchDoor(b *testing.B, upstream string) *Gateway {
	b.Helper()
	d := &door{t: b}
	cfg := testConfig(d, testZone(upstream,
		&zone.Route{Method: "GET", Path: "/products/{id}", Allow: zone.AllowUser, Limit: zone.Rate{Count: 1 << 40, Window: time.Hour}},
		anything("POST")))
	d.journal.quiet = true
	d.tokens.life = time.Hour
	cfg.Log = slog.New(slog.DiscardHandler)
	g, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(g.Close)
	return g
}

// nowhere is a ResponseWriter that takes everything.
type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header              { return n.h }
func (n nowhere) Write(p []byte) (int, error)      { return len(p), nil }
func (n nowhere) WriteHeader(int)                  {}
func (n nowhere) SetWriteDeadline(time.Time) error { return nil }
func (n nowhere) SetReadDeadline(time.Time) error  { return nil }

// BenchmarkPipeline is all the gateway does for a request but the wire on
// either side: every stage, with the forward stage answering from memory.
func BenchmarkPipeline(b *testing.B) {
	g := benchDoor(b, "127.0.0.1:1")
	for i := range g.stages {
		if g.stages[i].name == "forward" {
			g.stages[i].run = func(g *Gateway, t *trip) problem.Reason {
				t.status, t.reason = 200, problem.OK
				reason := g.record(t)
				t.w.WriteHeader(200)
				return reason
			}
		}
	}
	r := httptest.NewRequest("GET", "/products/3f2b8c1e?view=full&lang=en", nil)
	r.Host, r.TLS = "shop.example", &tls.ConnectionState{ServerName: "shop.example"}
	r.RemoteAddr = "127.0.0.1:4711"
	r.Header.Set("Authorization", "Bearer sps_alice")
	for _, n := range []string{"Accept", "Accept-Encoding", "Accept-Language", "User-Agent", "Referer"} {
		r.Header.Set(n, "text/html,application/xhtml+xml;q=0.9")
	}
	w := nowhere{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		g.serve(g.now().listeners[0], w, r)
	}
}

// BenchmarkCheckPath is the cost of the spelling rule for an ordinary path.
func BenchmarkCheckPath(b *testing.B) {
	for b.Loop() {
		if _, ok := checkPath("/shops/berlin/products/3f2b8c1e-9d4a-4c7b-8e21-5a6f7b8c9d0e"); !ok {
			b.Fatal("refused")
		}
	}
}

// BenchmarkWire compares the whole door with a bare ReverseProxy over the same
// wires: TLS 1.3 outside kept alive, HTTP/1.1 inside.
//
//	go test -run '^$' -bench Wire -count 6 -cpu 2 ./internal/gateway
func BenchmarkWire(b *testing.B) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(make([]byte, 200))
	}))
	b.Cleanup(up.Close)
	b.Run("door", func(b *testing.B) {
		g := benchDoor(b, up.Listener.Addr().String())
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		door := newDoorway(g, g.now().listeners[0], l)
		go func() { _ = door.serve() }()
		b.Cleanup(func() { _ = door.server.Close() })
		requests(b, l.Addr().String())
	})
	b.Run("reverseproxy", func(b *testing.B) {
		target, err := url.Parse(up.URL)
		if err != nil {
			b.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		srv := &http.Server{
			Handler:           &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }},
			TLSConfig:         &tls.Config{GetCertificate: theCertificate().GetCertificate, MinVersion: tls.VersionTLS12},
			ReadHeaderTimeout: time.Minute,
		}
		go func() { _ = srv.ServeTLS(l, "", "") }()
		b.Cleanup(func() { _ = srv.Close() })
		requests(b, l.Addr().String())
	})
}

// requests sends requests over kept-alive connections, as many as there are
// cores, times eight.
func requests(b *testing.B, address string) {
	const request = "GET /products/3f2b8c1e HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer sps_alice\r\nAccept: application/json\r\nUser-Agent: bench\r\n\r\n"
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c, err := tls.Dial("tcp", address, &tls.Config{RootCAs: theCA().pool, ServerName: "shop.example", NextProtos: []string{"http/1.1"}})
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		br := bufio.NewReader(c)
		for pb.Next() {
			if _, err := io.WriteString(c, request); err != nil {
				b.Error(err)
				return
			}
			resp, err := http.ReadResponse(br, nil)
			if err != nil || resp.StatusCode != 200 {
				b.Errorf("answer: %v %v", resp, err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
	})
}
