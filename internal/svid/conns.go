package svid

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"
)

// Conns owns the connections of a listener or a client. Each of them ends with
// the first of the two certificates that it was made with, and the owner ends
// those whose peer lost its right. Safe for concurrent use.
type Conns struct {
	// Admit, when set before there are connections, has the last word on who comes
	// in by a Listener, when the handshake is done and the connection is among those
	// that Each visits. It must be quick, and is asked for one connection at a time.
	Admit func(Peer) error

	// Patience, when set before there are connections, bounds a handshake. Zero:
	// five seconds for one that others open, ten for one of Client.
	Patience time.Duration

	clock     func() time.Time
	admitting sync.Mutex

	mu     sync.Mutex
	open   map[*conn]struct{} // guarded by mu
	closed bool               // guarded by mu; takes no more
}

// NewConns returns an empty set. A nil clock is time.Now.
func NewConns(clock func() time.Time) *Conns {
	if clock == nil {
		clock = time.Now
	}
	return &Conns{clock: clock, open: map[*conn]struct{}{}}
}

// Listener returns a TLS listener on inner, for http.Server.Serve, whose
// connections belong to the set. cfg is that of ServerTLS or ControlTLS with the
// caller's NextProtos. The number of connections is inner's to bound; a handshake
// has five seconds, and Accept returns when it is over. Leave the server's own
// TLSConfig nil: HTTP/2 needs it so.
//
//	srv := &http.Server{Handler: svid.Retire(h), ConnContext: svid.ConnContext, ReadHeaderTimeout: ...}
//	err := srv.Serve(conns.Listener(l, cfg))
func (c *Conns) Listener(inner net.Listener, cfg *tls.Config) net.Listener {
	return newListener(inner, c, cfg)
}

// Client makes TLS on a connection that was dialled, which belongs to the set
// from then on. cfg is that of ClientTLS. The handshake ends with ctx, at most
// after ten seconds. A connection that fails is closed.
func (c *Conns) Client(ctx context.Context, raw net.Conn, cfg *tls.Config) (*tls.Conn, error) {
	b, err := c.add(raw)
	if err != nil {
		return nil, err
	}
	return b.client(ctx, cfg)
}

func (b *conn) client(ctx context.Context, cfg *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(b.set.Patience, handshakeTimeout))
	defer cancel()
	t := tls.Client(b, b.watch(cfg))
	if err := t.HandshakeContext(ctx); err != nil {
		_ = b.Close() // the handshake's error is the one that counts
		return nil, err
	}
	b.verified.Store(b.peer.Load() != nil)
	return t, nil
}

// CloseWhere closes the connections whose peer has lost its right and returns
// how many. Take the right away first and call this after: a handshake that runs
// meanwhile is then either refused by allow or closed here.
func (c *Conns) CloseWhere(gone func(Peer) bool) int {
	n := 0
	for _, b := range c.all() {
		if peer := b.peer.Load(); peer != nil && gone(*peer) {
			_ = b.Close()
			n++
		}
	}
	return n
}

// Each calls visit with the peer of each connection whose handshake is done:
// before that anybody may have shown the certificate.
func (c *Conns) Each(visit func(Peer)) {
	for _, b := range c.all() {
		if b.verified.Load() {
			visit(*b.peer.Load())
		}
	}
}

// Close closes every connection and takes no more.
func (c *Conns) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	for _, b := range c.all() {
		_ = b.Close()
	}
	return nil
}

// Len returns the number of open connections, handshakes included.
func (c *Conns) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

func (c *Conns) all() []*conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*conn, 0, len(c.open))
	for b := range c.open {
		all = append(all, b)
	}
	return all
}

// add takes a connection over, or closes it.
func (c *Conns) add(raw net.Conn) (*conn, error) {
	b := &conn{Conn: raw, set: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = raw.Close()
		return nil, fmt.Errorf("svid: take a connection: %w", net.ErrClosed)
	}
	c.open[b] = struct{}{}
	return b, nil
}

func (c *Conns) remove(b *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, b)
}
