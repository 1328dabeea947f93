package gateway

import (
	"io"
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
	for _, c := range []struct {
		what, last string
		after      time.Duration
	}{
		{"idle", "", time.Second}, // the rest of it
		{"half a head", "GET /a HT", 5 * time.Second},
	} {
		inBubble(t, func(t *testing.T, d *slowDoor) {
			conn := d.dial("http/1.1")
			for range 20 {
				if _, err := io.WriteString(conn, emptySink); err != nil {
					t.Fatal(err)
				}
				if status, _, err := oneAnswer(conn); status != 200 {
					t.Fatalf("%s: positive control: %d, %v", c.what, status, err)
				}
				time.Sleep(testLimits().Idle - time.Second)
			}
			began := time.Now()
			if _, err := io.WriteString(conn, c.last); err != nil {
				t.Fatal(err)
			}
			_, _ = io.ReadAll(conn) // net/http may say 400 to the half
			if took := time.Since(began); took != c.after {
				t.Errorf("%s: the connection ended after %v, want %v", c.what, took, c.after)
			}
			_ = conn.Close()
		})
	}
}
