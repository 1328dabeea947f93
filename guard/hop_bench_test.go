package guard

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/httpsig"
)

// BenchmarkHop is a request over one connection to a guard and back, by the
// strength of its proof; the sender's half is in it.
func BenchmarkHop(b *testing.B) {
	for _, tt := range []struct {
		target   string
		strength httpsig.Strength
	}{{"/plain", httpsig.Channel}, {"/mac", httpsig.MAC}, {"/signed", httpsig.Signature}} {
		b.Run(tt.strength.String(), func(b *testing.B) {
			clock := &handClock{now: time.Now()}
			w := newWorld(b, innerShop, clock.Now)
			address := w.open(w.guard("orders", nil), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
			clock.set(clock.Now().Add(2 * time.Second))
			l := w.dial(address, w.ca.Source(b, "gateway", clock.Now))
			tok, body := w.token("u1"), strings.Repeat("x", 1000)
			b.ReportAllocs()
			for b.Loop() {
				r := message(b, "POST", tt.target, tok, body)
				if tt.strength == httpsig.Channel {
					r.Header.Del("Content-Digest")
				}
				if got := l.send(bytesOf(b, l.prove(r, tt.strength))); got != "200" {
					b.Fatal(got)
				}
			}
		})
	}
}
