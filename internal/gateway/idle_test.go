package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// TestClientGone: a client that goes away while the service takes its time ends
// its request.
func TestClientGone(t *testing.T) {
	asked, left := make(chan struct{}, 1), make(chan struct{})
	s := newService(t, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done() // the door hangs up on the service
		close(left)
	})
	d := openDoor(t, []*zone.Route{anything("GET")}, func(c *Config) {
		c.Zone.Services[0].Upstreams = []zone.Upstream{{Scheme: "http", Network: "tcp", Address: s.address, URL: "http://" + s.address}}
	})
	c := d.dial("shop.example", "http/1.1")
	if _, err := c.Write([]byte("GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	<-asked
	_ = c.Close()
	<-left
	eventually(t, "the record is kept", func() bool { return len(d.journal.all()) == 1 })
	if rec := d.last(); rec.Reason != problem.ClientClosed.Code() {
		t.Errorf("record says %s, want %s", rec.Reason, problem.ClientClosed.Code())
	}
}

// TestSilentConnectionsEnd: the deadlines of an idle connection and of a slow
// head hold, also after many requests.
func TestSilentConnectionsEnd(t *testing.T) {
	for _, c := range []struct{ what, last string }{{"idle", ""}, {"half a head", "GET /a HT"}} {
		d := openDoor(t, []*zone.Route{anything("GET")}, func(cfg *Config) {
			cfg.Zone.Listeners[0].Limits.HeaderTime, cfg.Zone.Listeners[0].Limits.Idle = 1500*time.Millisecond, 1500*time.Millisecond
		})
		conn := d.dial("shop.example", "http/1.1")
		const request = "GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n"
		for range 20 {
			if _, err := conn.Write([]byte(request)); err != nil {
				t.Fatal(err)
			}
			if got := d.read(conn, request); got.status != 200 {
				t.Fatalf("%s: positive control: %d", c.what, got.status)
			}
		}
		if _, err := conn.Write([]byte(c.last)); err != nil {
			t.Fatal(err)
		}
		_, err := io.ReadAll(conn) // net/http may say 400 to the half
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			t.Errorf("%s: the connection goes on", c.what)
		}
	}
}
