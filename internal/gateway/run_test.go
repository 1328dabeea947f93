package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/zone"
)

// TestDrain: a stop answers what is under way, refuses what still comes on live
// connections, and takes no new ones.
func TestDrain(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		drain(t, http2)
	}
}

func drain(t *testing.T, http2 bool) {
	t.Helper()
	d := openDoor(t, []*zone.Route{anything("GET")})
	under, release := make(chan struct{}), make(chan struct{})
	d.service.handle = func(w http.ResponseWriter, _ *http.Request) {
		close(under)
		<-release
		_, _ = io.WriteString(w, "whole")
	}
	answered := make(chan result, 1)
	go func() { answered <- d.do(d.client(http2), "GET", "/slow", "") }()
	<-under
	busy := d.dial("shop.example", "http/1.1") // a head that is under way
	_, _ = io.WriteString(busy, "GET /late HTTP/1.1\r\n")
	d.gateway.draining.Store(true) // what shutdown does first
	_, _ = io.WriteString(busy, "Host: shop.example\r\n\r\n")
	if got := d.read(busy, "GET"); got.status != 503 || !strings.Contains(got.body, "zone.draining") || !got.closed {
		t.Errorf("a request on a live connection: got %d %s, closed %v", got.status, got.body, got.closed)
	}
	d.stop()
	eventually(t, "the listener is closed", func() bool {
		nc, err := net.Dial("tcp", d.addrs["public"])
		if err == nil {
			_ = nc.Close()
		}
		return err != nil
	})
	select {
	case err := <-d.stopped:
		t.Errorf("Serve returned %v before its request was answered", err)
	default:
	}
	close(release)
	if got := <-answered; got.status != 200 || got.body != "whole" {
		t.Errorf("http2 %v: the request under way: got %d %q", http2, got.status, got.body)
	}
	if err := <-d.stopped; err != nil {
		t.Errorf("Serve returned %v after a drain", err)
	}
}

// TestDrainIsBounded: a request that does not end is cut, and the stop is none the less clean.
func TestDrainIsBounded(t *testing.T) {
	under := make(chan struct{})
	d := openDoor(t, []*zone.Route{anything("GET")}, func(c *Config) { c.Drain = 50 * time.Millisecond })
	d.service.handle = func(_ http.ResponseWriter, r *http.Request) {
		close(under)
		<-r.Context().Done()
	}
	cut := make(chan error, 1)
	go func() {
		resp, err := d.client(false).Get("https://shop.example/never")
		if err == nil {
			_ = resp.Body.Close()
		}
		cut <- err
	}()
	<-under
	d.stop()
	if err := <-cut; err == nil {
		t.Error("the request was answered")
	}
	if err := <-d.stopped; err != nil {
		t.Errorf("Serve returned %v", err)
	}
}

func TestRunOpensTheListeners(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	taken := &door{t: t}
	z := testZone("127.0.0.1:1")
	z.Listeners[0].Address = address
	g, err := New(testConfig(taken, z))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listener public") {
		t.Errorf("an address in use: got %v", err)
	}
	_ = free.Close()

	d := &door{t: t, addrs: map[string]string{"public": address}}
	if g, err = New(testConfig(d, z)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	eventually(t, "the listener is open", func() bool {
		nc, err := net.Dial("tcp", address)
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	})
	if got := d.raw("GET /nowhere HTTP/1.1\r\nHost: shop.example\r\n\r\n"); got.status != 404 {
		t.Errorf("got %d", got.status)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run returned %v", err)
	}
}

// TestDrainWaitsForRecords: what is cut at the end of a drain has its record
// before Serve returns, since the journal is closed after that.
func TestDrainWaitsForRecords(t *testing.T) {
	under, recording, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	d := openDoor(t, []*zone.Route{anything("GET")}, func(c *Config) {
		c.Drain = 50 * time.Millisecond
		c.Journal = &watchedJournal{c.Journal.(*fakeJournal), func(*journal.Record) error {
			close(recording)
			<-release
			return nil
		}}
	})
	d.service.handle = func(_ http.ResponseWriter, r *http.Request) {
		close(under)
		<-r.Context().Done()
	}
	go func() {
		if resp, err := d.client(false).Get("https://shop.example/never"); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-under
	d.stop()
	<-recording
	select {
	case err := <-d.stopped:
		t.Errorf("Serve returned %v while a record was being kept", err)
	case <-time.After(200 * time.Millisecond): // it had nothing else to wait for
	}
	close(release)
	if err := <-d.stopped; err != nil {
		t.Errorf("Serve returned %v", err)
	}
	if n := len(d.journal.all()); n != 1 {
		t.Errorf("%d records when Serve returned, want 1", n)
	}
}
