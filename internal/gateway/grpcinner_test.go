package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/zone"
)

// serveInnerHTTP2 is an inner door over HTTP/2 that judges proofs before it has
// read a byte of the body, and answers as gRPC does.
func serveInnerHTTP2(t *testing.T, source *svid.Source, protocol string) (inner *guarded, conns func() int) {
	t.Helper()
	g := &guarded{macs: map[net.Conn]*httpsig.MACVerifier{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.address = l.Addr().String()
	cfg := svid.ServerTLS(source, func(p svid.Peer) error {
		if p.ID.Path() != "/gateway" {
			return problem.New(problem.InsidePeer, nil)
		}
		return nil
	})
	cfg.NextProtos = []string{protocol}
	var mu sync.Mutex
	n := 0
	srv := &http.Server{
		ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			mu.Lock()
			n++
			mu.Unlock()
			return context.WithValue(ctx, guardedConn{}, c)
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			said, err := g.judge(r, nil)
			if err != nil {
				said = "refused: " + err.Error()
			}
			g.mu.Lock()
			g.seen = append(g.seen, fmt.Sprintf("%s %s %s", r.Proto, said, r.Header.Get("Te")))
			g.mu.Unlock()
			if said != "mac without digest" {
				w.Header().Set(problem.ReasonHeader, problem.ProofInvalid.Code())
				w.WriteHeader(400)
				return
			}
			w.Header().Set("Content-Type", "application/grpc")
			body, _ := io.ReadAll(r.Body)
			_, _ = w.Write(body)
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
			w.Header().Set(http.TrailerPrefix+"Asked", r.Trailer.Get("Ask"))
			w.Header().Set(http.TrailerPrefix+"Forged", r.Trailer.Get("X-User-Id"))
		}),
	}
	go func() { _ = srv.Serve(tls.NewListener(l, cfg)) }()
	t.Cleanup(func() { _ = srv.Close() })
	return g, func() int { mu.Lock(); defer mu.Unlock(); return n }
}

// Calls to an inner door go over HTTP/2 and mutual TLS, and each proves itself on
// the connection that it shares with others. Trailers of the request end at the door.
func TestCallsThroughTheInnerDoor(t *testing.T) {
	ca := newTrust(t, "shop.example")
	inner, conns := serveInnerHTTP2(t, ca.source("shop"), "h2")
	rt := callRoute()
	rt.Proof = zone.ProofMAC
	d := openDoor(t, []*zone.Route{rt}, throughInnerDoor(t, ca.source(svid.GatewayName), inner.address))
	c := d.client(true)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			message := "\x00\x00\x00\x00\x05" + fmt.Sprintf("%05d", i)
			req, _ := http.NewRequest("POST", "https://shop.example/shop.Shop/Unary?", io.NopCloser(strings.NewReader(message)))
			req.Header = http.Header{"Content-Type": {"application/grpc"}, "Authorization": {"Bearer " + aliceToken}, "Signature": {"forged"}}
			req.Trailer = http.Header{"Ask": {fmt.Sprint(i)}, "X-User-Id": {"root"}}
			res, err := c.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil || string(body) != message || res.Trailer.Get("Grpc-Status") != "0" || res.Trailer.Get("Asked") != "" || res.Trailer.Get("Forged") != "" {
				t.Errorf("%d: got %d %q, trailer %v, %v", i, res.StatusCode, body, res.Trailer, err)
			}
		})
	}
	all.Wait()
	if n := conns(); n == 0 || n > 2 {
		t.Errorf("%d connections", n)
	}
	for _, said := range inner.seen {
		if said != "HTTP/2.0 mac without digest trailers" {
			t.Errorf("the inner door saw %q", said)
		}
	}
	// The twins: an inner door of somebody else, and one that does not speak HTTP/2.
	stranger, _ := serveInnerHTTP2(t, newTrust(t, "shop.example").source("shop"), "h2")
	old, _ := serveInnerHTTP2(t, ca.source("shop"), "http/1.1")
	for name, address := range map[string]string{"a stranger": stranger.address, "HTTP/1.1 only": old.address} {
		d := openDoor(t, []*zone.Route{rt}, throughInnerDoor(t, ca.source(svid.GatewayName), address))
		d.refused(name, d.do(d.client(true), "POST", "/shop.Shop/Unary", "", "Content-Type: application/grpc"), problem.UpstreamUnreachable)
	}
	if len(stranger.seen)+len(old.seen) != 0 {
		t.Errorf("they got %q %q", stranger.seen, old.seen)
	}
}

// A fault between the doors is none of the client's business, nor the wording of it.
func TestCallWithAFaultInside(t *testing.T) {
	ca := newTrust(t, "shop.example")
	inner, _ := serveInnerHTTP2(t, ca.source("shop"), "h2")
	rt := callRoute()
	rt.Proof = zone.ProofChannel // which this inner door refuses
	d := openDoor(t, []*zone.Route{rt}, throughInnerDoor(t, ca.source(svid.GatewayName), inner.address))
	got := d.do(d.client(true), "POST", "/shop.Shop/Unary", "", "Content-Type: application/grpc")
	if got.status != 502 || !strings.Contains(got.body, "upstream.protocol") {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if r := d.endRecord(); r.Reason != "proof.invalid" || r.Status != 502 {
		t.Errorf("record %+v", r)
	}
}
