package gateway

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sallyport.dev/internal/upstream/upstreamtest"
)

// BenchmarkForward is the forward stage alone, wire inside included: request,
// answer, its fields and the record. A large answer shows the cost of moving it.
func BenchmarkForward(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"200B", 200}, {"1MiB", 1 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			s := upstreamtest.Echo(b, upstreamtest.Sized(strings.Repeat("x", c.size)))
			g := benchDoor(b, s.Address)
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
				g.serve(g.now().listeners[0], w, r)
			}
		})
	}
}
