package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"sallyport.dev/internal/problem"
)

// conn is one accepted connection and what is known of it.
type conn struct {
	net.Conn
	door     *doorway
	peer     netip.Addr
	holder   netip.Addr // of its place
	places   *shares    // where it has that
	clientCA []byte     // of the listener, when its handshake was made

	closed   sync.Once
	reading  atomic.Bool  // bytes of a request have come and no handler has begun
	handling atomic.Bool  // HTTP/1: from a handler's begin to the end of its answer
	begun    atomic.Int64 // requests that reached a handler
	reset    atomic.Int64 // of them, those that the client took back (HTTP/2)

	certOnce sync.Once
	certTag  string
}

type connKey struct{}

// listener is that of the rules in force; those of a request may be older.
func (c *conn) listener() *listener { return c.door.current.Load() }

// Close closes the connection and makes room for another.
func (c *conn) Close() error {
	c.closed.Do(func() {
		c.places.give(c.holder, 1)
		c.door.gone()
	})
	return c.Conn.Close()
}

// connContext lets every request find its connection. net/http hands over the
// TLS connection around ours.
func connContext(ctx context.Context, nc net.Conn) context.Context {
	if c := under(nc); c != nil {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

func under(nc net.Conn) *conn {
	switch nc := nc.(type) {
	case *watched:
		return nc.conn
	case *tls.Conn:
		c, _ := nc.NetConn().(*conn)
		return c
	}
	return nil
}

// connState tells a handler's time from net/http's own, and counts HTTP/1
// requests that came to nothing: bytes came, no handler began and nothing was
// answered, the connection ended.
func connState(nc net.Conn, state http.ConnState) {
	switch state {
	case http.StateIdle:
		// HTTP/1: the answer has left whole.
		if c := under(nc); c != nil {
			c.handling.Store(false)
		}
	case http.StateActive:
		// HTTP/1: it is called when the head has been read, or has failed to be, just
		// before the handler.
		if c := under(nc); c != nil {
			c.reading.Store(true)
		}
	case http.StateClosed:
		if c := under(nc); c != nil && c.reading.Load() {
			c.listener().unrouted.count(problem.RequestMalformed)
		}
	}
}

// serving says that a handler has begun.
func (c *conn) serving() {
	c.reading.Store(false)
	c.handling.Store(true)
	c.begun.Add(1)
}

// The bound on requests that a client takes back: after resetsFree of them, no
// more than every second one.
const resetsFree = 100

// ended counts an HTTP/2 request, and closes the connection of a client that
// opens streams only to reset them (CVE-2023-44487). net/http bounds how many
// handlers such a client can keep busy; this ends the exercise.
func (c *conn) ended(taken bool) {
	if !taken {
		return
	}
	if n := c.reset.Add(1); n > resetsFree && 2*n > c.begun.Load() {
		c.listener().unrouted.count(problem.ClientClosed)
		_ = c.Close() // all its streams fail, which is what it wants
	}
}

// certificateTag names the client's certificate in a record: the SHA-256 of its
// bytes, which no two certificates share.
func (c *conn) certificateTag(state *tls.ConnectionState) string {
	c.certOnce.Do(func() {
		sum := sha256.Sum256(state.PeerCertificates[0].Raw)
		c.certTag = "client_cert:" + hex.EncodeToString(sum[:])
	})
	return c.certTag
}
