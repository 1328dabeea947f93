package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/upstream/upstreamtest"
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
	taken := &door{t: t}
	z := testZone("127.0.0.1:1")
	z.Listeners[0].Address = free.Addr().String()
	g, err := New(testConfig(taken, z))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listener public") {
		t.Errorf("an address in use: got %v", err)
	}
	_ = free.Close()

	d := &door{t: t, addrs: map[string]string{}}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	eventually(t, "the listener is open", func() bool { // somebody else may have taken the port: then another
		if g, err = New(testConfig(d, z)); err != nil {
			t.Fatal(err)
		}
		d.addrs["public"] = z.Listeners[0].Address
		go func() { done <- g.Run(ctx) }()
		select {
		case <-g.Serving():
			return true
		case err = <-done:
			if !errors.Is(err, syscall.EADDRINUSE) {
				t.Fatal(err)
			}
			z.Listeners[0].Address = freeAddress(t)
			return false
		}
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
	var recording, release chan struct{}
	inBubble(t, func(t *testing.T, d *slowDoor) {
		c := d.dial("http/1.1")
		_, _ = io.WriteString(c, "POST /upload HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n")
		go func() { _, _ = io.Copy(io.Discard, c) }()
		synctest.Wait() // it is at the service
		d.stop()
		<-recording
		time.Sleep(cutGrace * 3 / 4) // it has nothing else to wait for
		select {
		case err := <-d.stopped:
			t.Errorf("Serve returned %v while a record was being kept", err)
		default:
		}
		close(release)
		if err := <-d.stopped; err != nil {
			t.Errorf("Serve returned %v", err)
		}
		if n := len(d.journal.all()); n != 1 {
			t.Errorf("%d records when Serve returned, want 1", n)
		}
		_ = c.Close()
	}, func(c *Config) {
		recording, release = make(chan struct{}), make(chan struct{})
		_, c.Upstream.Dial = upstreamtest.Pipe(func(s *upstreamtest.Conn) { s.Request(); s.Stay() })
		c.Drain = 50 * time.Millisecond
		c.Journal = &watchedJournal{c.Journal.(*fakeJournal), func(*journal.Record) error {
			close(recording)
			<-release
			return nil
		}}
	})
}
