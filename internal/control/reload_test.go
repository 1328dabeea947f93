package control

import (
	"bytes"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func (b *bench) reload(text string) {
	b.t.Helper()
	z, err := zone.Parse("zone.yaml", []byte(text))
	if err != nil {
		b.t.Fatal(err)
	}
	b.control.Reload(z)
}

// TestReloadAnswersWhoWaits: a guard that waits has the new map at once, unless it
// says the same to its service.
func TestReloadAnswersWhoWaits(t *testing.T) {
	b := open(t)
	c := b.as("catalog")
	tag := b.do(c, "GET", "/v1/services/catalog", nil).header.Get("ETag")
	held := make(chan answer)
	go func() {
		held <- b.do(c, "GET", "/v1/services/catalog", nil, "If-None-Match", tag, "Prefer", "wait=10")
	}()
	b.reload(strings.Replace(testMap, "GET /products:", "GET /wares:", 1))
	if got := <-held; got.status != 200 || !bytes.Contains(got.body, []byte("/wares")) {
		t.Errorf("held: %d %s", got.status, got.body)
	}
}

// TestReloadInnerDoorGone: a service that has no inner door any more is nobody to
// control: its connections end, and it gets no token and no next identity.
func TestReloadInnerDoorGone(t *testing.T) {
	b := open(t)
	catalog, orders := b.as("catalog"), b.as("orders")
	tokens := func() (ofCatalog, ofOrders int) {
		return b.do(catalog, "POST", "/v1/token", nil).status, b.do(orders, "POST", "/v1/token", nil).status
	}
	if c, o := tokens(); c != 200 || o != 200 {
		t.Fatalf("before: %d and %d", c, o)
	}
	b.reload(strings.NewReplacer("https://127.0.0.1:9002\n    embedded: true", "http://127.0.0.1:9002", "    calls: {orders: [GET /orders]}\n", "").Replace(testMap))
	if c, o := tokens(); c != 200 || o != 0 {
		t.Errorf("without the inner door of orders: catalog %d, orders %d; want 200 and a connection that is refused", c, o)
	}
	b.reload(testMap)
	if c, o := tokens(); c != 200 || o != 200 {
		t.Errorf("with it again: %d and %d", c, o)
	}
}

// TestReloadKeepsWhatWasUsed: what was accepted once is not accepted again
// because the map changed.
func TestReloadKeepsWhatWasUsed(t *testing.T) {
	b := open(t)
	c := b.as("orders")
	first := func(key string) string { return string(b.do(c, "POST", "/v1/once", OnceRequest{key, 60}).body) }
	if got := first("a"); got != `{"first":true}` {
		t.Fatalf("a: %s", got)
	}
	b.reload(strings.Replace(testMap, "GET /products:", "GET /wares:", 1))
	if got := first("a"); got != `{"first":false}` {
		t.Errorf("a again: %s", got)
	}
	if got := first("b"); got != `{"first":true}` {
		t.Errorf("b: %s", got)
	}
}

// TestReloadForgetsServices: a service that the map has not is refused by name,
// also on a connection that was made while it had.
func TestReloadForgetsServices(t *testing.T) {
	b := open(t)
	z, err := zone.Parse("zone.yaml", []byte(strings.Split(testMap, "  orders:")[0][:strings.Index(testMap, "    calls:")]))
	if err != nil {
		t.Fatal(err)
	}
	b.control.Reload(z)
	if got := b.do(b.as("orders"), "GET", "/.well-known/jwks.json", nil); got.status != 0 {
		t.Errorf("a service of the map before: %d %s", got.status, got.body)
	}
	b.refused("its slice", b.do(b.as("catalog"), "GET", "/v1/services/orders", nil), problem.InsidePeer)
}
