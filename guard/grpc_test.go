package guard_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/guard"
	"sallyport.dev/guard/guardtest"
)

const rpcShop = `
zone: shop.example
services:
  orders:
    upstream: https://127.0.0.1:9002
    embedded: true
    routes:
      GET /mine: user
    calls:
      rpc: [POST /shop.Rpc/Unary]
  rpc:
    upstream: http://127.0.0.1:9003
    routes:
      POST /shop.Rpc/Unary: {allow: user, stream: grpc}
      POST /shop.Rpc/Other: {allow: user, stream: grpc}
`

// rpcClient is a client of gRPC as far as HTTP/2 goes, that calls by the guard.
func rpcClient(t *testing.T, g *guard.Guard) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return g.GRPC().Dial(ctx, address) }}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// TestGRPCCalls: a call is made as the request whose context it was made with, once,
// with its trailers, and only where the map declares it.
func TestGRPCCalls(t *testing.T) {
	var got *http.Request
	asked := 0
	g := guardtest.New(t, rpcShop, "orders", guardtest.Callee("rpc", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		asked++
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("X-User-Id", "leak")
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"Sallyport-Reason", "leak")
	})))
	client := rpcClient(t, g.Guard)
	call := func(authority, method string, h map[string]string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+authority+"/shop.Rpc/"+method, io.NopCloser(strings.NewReader("hello")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Cookie", "a=b")
		for name, value := range h {
			req.Header.Set(name, value)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(b)
	}
	within(t, g, func(ctx context.Context) {
		metadata := func() map[string]string {
			m, err := g.GRPC().GetRequestMetadata(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		mine := metadata()
		res, body := call("rpc", "Unary", mine)
		if body != "hello" || res.Trailer.Get("Grpc-Status") != "0" || res.Header.Get("X-User-Id") != "" || res.Trailer.Get("Sallyport-Reason") != "" {
			t.Errorf("got %q, %v, trailers %v", body, res.Header, res.Trailer)
		}
		if got.ProtoMajor != 2 || got.Header.Get("Te") != "trailers" || got.Header.Get("X-Caller") != "orders" || got.Header.Get("Txn-Token") == "" ||
			got.Header.Get("Cookie") != "" || len(got.Trailer) != 0 {
			t.Errorf("the callee got %s %v, trailers %v", got.Proto, got.Header, got.Trailer)
		}
		for name := range mine {
			if got.Header.Get(name) != "" {
				t.Errorf("the callee got %s", name)
			}
		}
		for _, c := range []struct {
			what, authority, method string
			header                  map[string]string
		}{
			{"the same again", "rpc", "Unary", mine},
			{"no request in hand", "rpc", "Unary", nil},
			{"a guess", "rpc", "Unary", map[string]string{"sallyport-call": "guess"}},
			{"an undeclared method", "rpc", "Other", metadata()},
			{"an undeclared service", "orders", "Unary", metadata()},
		} {
			if res, _ := call(c.authority, c.method, c.header); res.Header.Get("Grpc-Status") != "7" || res.StatusCode != 200 {
				t.Errorf("%s: %d %v, want PERMISSION_DENIED", c.what, res.StatusCode, res.Header)
			}
		}
	})
	m, err := g.GRPC().GetRequestMetadata(t.Context()) // which did not come through Protect
	if err != nil {
		t.Fatal(err)
	}
	if res, _ := call("rpc", "Unary", m); res.Header.Get("Grpc-Status") != "7" {
		t.Errorf("a context of nowhere: %v", res.Header)
	}
	if asked != 1 {
		t.Errorf("the callee was asked %d times, want once", asked)
	}
}
