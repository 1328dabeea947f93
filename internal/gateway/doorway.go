package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"

	"sallyport.dev/internal/problem"
)

// doorway is a socket with its server. It stays while the rules of its listener
// change.
//
// It accepts connections within the bounds of the listener: so many
// at once, of which one address has no more than its share when it is crowded,
// and so many new ones from an address. One beyond them is closed before
// its handshake costs anything; there is nothing yet to send a reason over, so
// the metric has it alone.
type doorway struct {
	net.Listener
	gateway *Gateway
	current atomic.Pointer[listener] // as the rules in force have it, or had it last
	address string                   // as the map has it
	server  *http.Server
	front   *front
	bounds  serverBounds

	live    atomic.Int64 // connections, and one while more may come
	leaving atomic.Bool  // it takes no new connections, and each answer is the last of its connection
	removed atomic.Bool  // its listener is gone: it serves nothing any more
}

func newDoorway(g *Gateway, l *listener, socket net.Listener) *doorway {
	d := &doorway{Listener: socket, gateway: g, address: l.Address, bounds: boundsOf(l)}
	d.current.Store(l)
	d.live.Store(1)
	d.server = newServer(d, l, g.log)
	d.front = newFront(d, g.log)
	return d
}

// enter returns the listener by whose rules a request is judged. They stay until
// it leaves.
func (d *doorway) enter() *listener {
	for {
		l := d.current.Load()
		l.rules.trips.Add(1)
		if d.current.Load() == l { // so the rules had not been let go
			return l
		}
		l.rules.leave()
	}
}

// serve hands over what is accepted until the socket is closed.
func (d *doorway) serve() error {
	d.front.start()
	err := d.server.Serve(d.front)
	if errors.Is(err, http.ErrServerClosed) || d.leaving.Load() {
		return nil
	}
	return fmt.Errorf("gateway: listener %s: %w", d.current.Load().Name, err)
}

// Accept returns the next connection within the bounds.
func (d *doorway) Accept() (net.Conn, error) {
	for {
		raw, err := d.Listener.Accept()
		if err != nil {
			return nil, err // net/http tells a passing error from the end
		}
		c := &conn{Conn: raw, door: d, peer: peerAddr(raw)}
		switch reason := d.admit(c); reason {
		case problem.OK:
			d.live.Add(1)
			return c, nil
		default:
			c.listener().unrouted.count(reason)
			_ = raw.Close() // nothing was said on it
		}
	}
}

func (d *doorway) admit(c *conn) problem.Reason {
	l := c.listener()
	// A trusted proxy brings everybody's connections from one address, so it is
	// bounded by their number alone; so does this host, see DefaultAddressBounds.
	if l.trusts(c.peer) || c.peer.IsLoopback() && !l.addresses.loopback {
		c.holder = everybody
	} else {
		if ok, _ := l.addresses.take(c.peer, d.gateway.clock()); !ok {
			return problem.LimitAddress
		}
		c.holder = c.peer
	}
	c.places = l.places
	if !c.places.take(c.holder, 1) {
		return problem.ListenerBusy
	}
	return problem.OK
}

func peerAddr(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{} // not of the network
}

// gone tells of a connection that has ended, or that no more will come.
func (d *doorway) gone() {
	if d.live.Add(-1) == 0 && d.leaving.Load() {
		d.gateway.forgetDoor(d)
	}
}

// leave lets the doorway come to its end: no new connections, and each that
// there is ends with its next answer, or when it has idled long enough. Streams
// live on.
func (d *doorway) leave() {
	d.leaving.Store(true)
	d.front.rest()
}

// remove ends the doorway of a listener that is gone, whose socket is closed.
func (d *doorway) remove(ctx context.Context) {
	if err := d.server.Shutdown(ctx); err != nil {
		_ = d.server.Close() // the listener is closed already; this cuts the rest
	}
	d.gateway.forgetDoor(d)
}

// again is another listener on the same socket: what waits in its queue is lost
// for neither.
func (d *doorway) again() (net.Listener, error) {
	socket, ok := d.Listener.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("the socket of %s cannot be taken over: restart the zone", d.address)
	}
	f, err := socket.File()
	if err != nil {
		return nil, err
	}
	defer f.Close() // the listener has its own
	return net.FileListener(f)
}
