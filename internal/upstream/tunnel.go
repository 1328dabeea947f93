package upstream

import (
	"errors"
	"net"
	"time"
)

var errNoTunnel = errors.New("the service has not switched protocols")

// Switched reports whether the service has accepted the handshake: from then on
// Read gives what it sends and Write sends to it, each in a goroutine of its own.
// There is no bound in time but of a Write: a tunnel may be silent, and how long
// is its owner's to say, who ends it with Cut.
func (x *Exchange) Switched() bool { return x.answer.framing == tunnel }

// switched prepares the wire for the tunnel.
func (x *Exchange) switched() error {
	w := x.answer.wire
	w.awaitBody(0, time.Time{})
	x.lease.succeeded()
	return w.Net.SetDeadline(time.Time{})
}

// Write sends to the service what the client sent in the tunnel. The service must
// take it within Config.PieceTime.
func (x *Exchange) Write(p []byte) (int, error) {
	if !x.Switched() {
		return 0, errNoTunnel
	}
	nc := x.answer.wire.Net
	if err := nc.SetWriteDeadline(time.Now().Add(x.lease.set.cfg.PieceTime)); err != nil {
		return 0, err
	}
	return nc.Write(p)
}

// CloseWrite tells the service that the client sends no more, and leaves the
// other direction open.
func (x *Exchange) CloseWrite() error {
	if !x.Switched() {
		return errNoTunnel
	}
	nc := x.answer.wire.Net
	if err := nc.SetWriteDeadline(time.Now().Add(x.lease.set.cfg.PieceTime)); err != nil {
		return err
	}
	if c, ok := nc.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return net.ErrClosed // it has no half to close
}
