package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"sallyport.dev/internal/problem"
)

// front is the listener that net/http serves from. It makes the TLS handshake
// itself, so that it can stand between TLS and net/http where HTTP/1 is spoken
// (watched); HTTP/2 goes to net/http as the *tls.Conn that it wants.
type front struct {
	door            *doorway
	log             *slog.Logger
	ready           chan arrival
	ctx             context.Context // ends with the front: handshakes under way are cut
	end             context.CancelFunc
	accepts, greets sync.WaitGroup
}

// arrival is what Accept returns.
type arrival struct {
	conn net.Conn
	err  error
}

func newFront(door *doorway, log *slog.Logger) *front {
	f := &front{door: door, log: log, ready: make(chan arrival)}
	f.ctx, f.end = context.WithCancel(context.Background())
	return f
}

// start begins to accept.
func (f *front) start() { f.accepts.Go(f.accept) }

// rest closes the socket only: handshakes under way are finished and handed over.
func (f *front) rest() { _ = f.door.Listener.Close() } // there is another on the same socket, or nobody comes here any more

// Accept returns the next connection whose handshake is done.
func (f *front) Accept() (net.Conn, error) {
	select {
	case a := <-f.ready:
		return a.conn, a.err
	case <-f.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Addr is the address of the socket.
func (f *front) Addr() net.Addr { return f.door.Addr() }

// Close closes the socket and the connections that are not yet net/http's.
func (f *front) Close() error {
	f.end()
	err := f.door.Close()
	if f.door.leaving.Load() && errors.Is(err, net.ErrClosed) { // it rests
		err = nil
	}
	f.accepts.Wait()
	f.greets.Wait()
	return err
}

// accept greets each connection in a goroutine of its own. An error goes to
// net/http, which waits before it asks again when the error is a passing one.
func (f *front) accept() {
	defer f.door.gone() // it is one of those that live
	for {
		nc, err := f.door.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				f.greets.Wait() // net/http asks for no more after this
			}
			if !f.hand(arrival{err: err}) || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		f.greets.Go(func() { f.greet(nc.(*conn)) })
	}
}

func (f *front) hand(a arrival) bool {
	select {
	case f.ready <- a:
		return true
	case <-f.ctx.Done():
		return false
	}
}

// greet makes the handshake, within the time that a head may take. net/http would
// survive a panic there, so we do.
func (f *front) greet(c *conn) {
	defer func() {
		if v := recover(); v != nil {
			f.log.Error("panic in a TLS handshake", "listener", c.listener().Name, "client", c.peer, "panic", v, "stack", string(debug.Stack()))
			_ = c.Close() // nobody else has it
		}
	}()
	l := c.listener()
	c.clientCA = l.clientCA
	tc := tls.Server(c, l.tls)
	_ = c.SetDeadline(time.Now().Add(l.Limits.HeaderTime)) // fails on a dead connection only; so does the handshake
	if err := tc.HandshakeContext(f.ctx); err != nil {
		f.log.Debug("TLS handshake failed", "listener", c.listener().Name, "client", c.peer, "cause", err)
		if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && looksLikeHTTP(plain.RecordHeader) {
			_, _ = io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThis listener speaks HTTPS: use an https:// URL.\n")
			c.listener().unrouted.count(problem.RequestMalformed)
		}
		_ = c.Close() // nobody else has it
		return
	}
	_ = c.SetDeadline(time.Time{}) // likewise
	var nc net.Conn = tc
	if tc.ConnectionState().NegotiatedProtocol != "h2" {
		nc = &watched{Conn: tc, conn: c}
	}
	if !f.hand(arrival{conn: nc}) {
		_ = nc.Close() // the door is closed
	}
}

// looksLikeHTTP reports whether what should be a TLS record begins a request in
// plain HTTP: the commonest mistake of all.
func looksLikeHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET":
		return true
	}
	return false
}
