package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

// owned is a connection under TLS whose owner wants to hear of its end, as the
// owner of an identity does.
type owned struct {
	net.Conn
	open *atomic.Int32
}

func (o *owned) Close() error { o.open.Add(-1); return o.Conn.Close() }

// transparent is one through which the socket can be seen.
type transparent struct{ owned }

func (o *transparent) NetConn() net.Conn { return o.Conn }

// The end of a connection is told to what lies under TLS, and the socket is
// looked for through all of it. Where it cannot be seen nothing is used again.
func TestOwnedConnections(t *testing.T) {
	for _, c := range []struct {
		name  string
		own   func(owned) net.Conn
		conns int32
	}{
		{"control: a socket", func(o owned) net.Conn { o.open.Add(-1); return o.Conn }, 1},
		{"transparent", func(o owned) net.Conn { return &transparent{o} }, 1},
		{"opaque", func(o owned) net.Conn { return &o }, 3},
	} {
		var open atomic.Int32
		s := upstreamtest.Listen(t, "tcp", secured(func(c *upstreamtest.Conn, _ *held) {
			upstreamtest.Always(upstreamtest.Sized("ok"))(c)
		}))
		dial := overTLS(func(ctx context.Context, to zone.Upstream) (net.Conn, error) {
			raw, err := dialTCP(ctx, to)
			if err != nil {
				return nil, err
			}
			open.Add(1)
			return c.own(owned{raw, &open}), nil
		})
		set := newTestSet(t, Config{Dial: dial}, s)
		for range 3 {
			wantServed(t, c.name, send(set, someRequest("GET", "/")), "ok")
		}
		if n := s.Conns.Load(); n != c.conns {
			t.Errorf("%s: %d connections for three requests, want %d", c.name, n, c.conns)
		}
		set.Close()
		if n := open.Load(); n != 0 {
			t.Errorf("%s: %d connections are open for their owner, want none", c.name, n)
		}
	}
}

// A connection takes no request after the time that its prover has set, and one
// that somebody closed meanwhile takes none either.
func TestConnectionsThatEnd(t *testing.T) {
	var clock testClock
	clock.advance(time.Hour)
	var last *Conn
	prove := func(dst []byte, c *Conn, _ *Request) ([]byte, error) {
		if c.Until.IsZero() {
			c.Until = clock.now().Add(10 * time.Second)
		}
		last = c
		return dst, nil
	}
	s := upstreamtest.Listen(t, "tcp", secured(func(c *upstreamtest.Conn, _ *held) {
		upstreamtest.Always(upstreamtest.Sized("ok"))(c)
	}))
	set := newTestSet(t, Config{Dial: overTLS(dialTCP), Prove: prove, Clock: clock.now}, s)
	for _, c := range []struct {
		name  string
		do    func()
		conns int32
	}{
		{"first", func() {}, 1},
		{"again", func() { clock.advance(10*time.Second - 1) }, 1},
		{"its time is over", func() { clock.advance(1) }, 2},
		{"a new one", func() {}, 2},
		{"closed by its owner", func() { _ = last.Net.(*tls.Conn).NetConn().Close() }, 3},
	} {
		c.do()
		wantServed(t, c.name, send(set, someRequest("POST", "/")), "ok")
		if n := s.Conns.Load(); n != c.conns {
			t.Errorf("%s: %d connections, want %d", c.name, n, c.conns)
		}
	}
}
