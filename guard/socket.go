package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/svid"
	"sallyport.dev/zone"
)

var errSwitch = errors.New("guard: the callee switched protocols, and not as it was asked to")

// socket is a WebSocket at another service, as the body of its 101. Its connection
// carried the handshake and carries nothing else after. It ends with Close, with
// the request in hand that it was opened for, when it is silent for too long, when
// a new map does not declare its call any more, and with its connection.
//
// The context of the handshake does not end it, as in net/http: libraries give
// that one a deadline of its own.
type socket struct {
	g         *Guard
	to, path  string // what was called
	id        svid.ID
	asService bool

	life   context.Context //nolint:containedctx // of the request in hand
	ctx    context.Context //nolint:containedctx // the socket's own life, whose cause says why it is over
	cancel context.CancelCauseFunc
	shut   func() error
	conn   io.ReadWriteCloser // set before anybody else has the socket
	last   atomic.Int64       // unix nanoseconds of the last byte, either way

	mu    sync.Mutex
	timer *time.Timer // guarded by mu; bounds the silence; nil before there is a connection
}

// opensSocket says whether a request is the opening handshake of a WebSocket on a
// call that is one. Any other upgrade stays here, and its request is a plain one.
func (c *call) opensSocket(req *http.Request) bool {
	upgrade := req.Header["Upgrade"]
	if c.stream != zone.StreamWebSocket || method(req) != http.MethodGet || len(upgrade) != 1 || !strings.EqualFold(upgrade[0], "websocket") ||
		req.Body != nil && req.Body != http.NoBody {
		return false
	}
	for _, f := range req.Header["Connection"] {
		for option := range strings.SplitSeq(f, ",") {
			if strings.EqualFold(strings.Trim(option, " \t"), "upgrade") {
				return true
			}
		}
	}
	return false
}

// take makes the socket the body of its 101. Without a socket nobody has asked.
func (s *socket) take(res *http.Response) error {
	conn, ok := res.Body.(io.ReadWriteCloser)
	if s == nil || !ok || !strings.EqualFold(res.Header.Get("Upgrade"), "websocket") {
		_ = res.Body.Close() // the connection is not used again
		return problem.New(problem.UpstreamProtocol, errSwitch)
	}
	s.conn, res.Body = conn, s
	s.touch()
	s.mu.Lock()
	s.timer = time.AfterFunc(s.g.cfg.StreamIdle, s.quiet)
	s.mu.Unlock()
	context.AfterFunc(s.ctx, func() { _ = s.shut() })
	return s.why() // it may have been ended meanwhile
}

// drop ends a socket; of a nil one there is nothing to end.
func (s *socket) drop() {
	if s != nil {
		_ = s.Close()
	}
}

// Read reads what the callee sends. io.EOF is its end of the stream; a socket that
// was ended says why, and gives nothing of what still comes.
func (s *socket) Read(p []byte) (int, error) {
	n, err := s.conn.Read(p)
	if why := s.why(); why != nil {
		return 0, why
	}
	if n > 0 {
		s.touch()
	}
	return n, err
}

// Write sends to the callee, and waits for it to take what it was sent.
func (s *socket) Write(p []byte) (int, error) {
	if why := s.why(); why != nil {
		return 0, why
	}
	n, err := s.conn.Write(p)
	if n > 0 {
		s.touch()
	}
	return n, s.blame(err)
}

// CloseWrite says that nothing more will be sent, and leaves the other direction
// open.
func (s *socket) CloseWrite() error {
	if half, ok := s.conn.(interface{ CloseWrite() error }); ok {
		return s.blame(half.CloseWrite())
	}
	return net.ErrClosed
}

// Close ends both directions.
func (s *socket) Close() error {
	s.cancel(errOver)
	return s.shut()
}

// close lets go of the connection and of the socket's place, once.
func (s *socket) close() error {
	s.g.sockets.mu.Lock()
	delete(s.g.sockets.open, s)
	s.g.sockets.mu.Unlock()
	if s.conn == nil { // the handshake failed
		return nil
	}
	s.mu.Lock()
	s.timer.Stop()
	s.mu.Unlock()
	return s.conn.Close()
}

func (s *socket) touch() { s.last.Store(time.Now().UnixNano()) }

// quiet ends a socket that was silent for its time, and waits on for any other.
func (s *socket) quiet() {
	idle := s.g.cfg.StreamIdle
	silent := time.Duration(time.Now().UnixNano() - s.last.Load())
	if silent >= idle {
		s.cancel(problem.New(problem.UpstreamTimeout, errQuiet))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() == nil {
		s.timer.Reset(idle - silent)
	}
}

// blame says of an error that it comes from the socket's end, if it does.
func (s *socket) blame(err error) error {
	if err != nil {
		if why := s.why(); why != nil {
			return why
		}
	}
	return err
}

// why returns why the socket was ended; nil when it was not, or by its owner.
func (s *socket) why() error {
	cause := context.Cause(s.ctx)
	switch {
	case cause == nil, errors.Is(cause, errOver):
		return nil
	case s.life.Err() != nil:
		return fmt.Errorf("guard: the request that the WebSocket belongs to is over: %w", cause)
	}
	return cause
}
