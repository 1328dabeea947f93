package e2e

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestTrailersOfOneClient: calls share connections between the doors. A client whose
// calls have trailers, which gRPC does not know, and are answered before they end,
// must not cost others theirs: net/http ends a connection on which trailers cross its
// early answer.
func TestTrailersOfOneClient(t *testing.T) {
	t.Parallel()
	d := startStreamDoors(t)
	mallory := d.login(d.addUser("mallory@shop.example"))
	c, ctx := d.caller(d.login(d.addUser("alice@shop.example")))
	for _, service := range []string{"/shop.Rpc/", "/shop.Kept/"} {
		stream := talk(t, c, ctx, service+"Bidi")
		client := d.client()
		var work sync.WaitGroup
		for range 8 {
			work.Go(func() {
				for range 40 {
					req, _ := d.request(call{method: "POST", path: service + "None", bearer: mallory, body: "x"})
					req.Body, req.ContentLength = io.NopCloser(strings.NewReader("\x00\x00\x00\x00\x00")), -1
					req.Header.Set("Content-Type", "application/grpc")
					req.Trailer = http.Header{"Ask": {"1"}}
					res, err := client.Do(req)
					if err == nil {
						_, _ = io.Copy(io.Discard, res.Body) // whatever becomes of it
						_ = res.Body.Close()
					}
				}
			})
		}
		work.Wait()
		sayIn(t, stream, "still here")
	}
}
