package guard

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"time"

	"sallyport.dev/zone"
)

// writer is the ResponseWriter of a handler. It has no Unwrap: the connection may
// be taken over on WebSocket routes and nowhere else, since nobody judges what is
// said on it then.
type writer struct {
	http.ResponseWriter
	s *stream // nil: the route is none
}

// Write sends a piece of the answer.
func (w *writer) Write(p []byte) (int, error) {
	if w.s != nil {
		if err := w.s.over(); err != nil {
			return 0, err
		}
		w.s.touch()
		w.s.spoke.Store(true)
	}
	return w.ResponseWriter.Write(p)
}

// WriteString is for io.WriteString.
func (w *writer) WriteString(s string) (int, error) {
	if w.s != nil {
		return w.Write([]byte(s))
	}
	return io.WriteString(w.ResponseWriter, s)
}

// ReadFrom is for io.Copy: net/http has a buffer for it.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	if from, ok := w.ResponseWriter.(io.ReaderFrom); ok && w.s == nil {
		return from.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{w}, r)
}

// Flush sends what is held back.
func (w *writer) Flush() { _ = w.FlushError() } // what cannot be sent fails the next Write

// FlushError is Flush for http.ResponseController.
func (w *writer) FlushError() error {
	if w.s != nil {
		w.s.spoke.Store(true)
	}
	return w.controller().Flush()
}

// SetReadDeadline is for http.ResponseController.
func (w *writer) SetReadDeadline(t time.Time) error { return w.controller().SetReadDeadline(t) }

// SetWriteDeadline is for http.ResponseController.
func (w *writer) SetWriteDeadline(t time.Time) error { return w.controller().SetWriteDeadline(t) }

// EnableFullDuplex is for http.ResponseController.
func (w *writer) EnableFullDuplex() error { return w.controller().EnableFullDuplex() }

func (w *writer) controller() *http.ResponseController {
	return http.NewResponseController(w.ResponseWriter)
}

// writer returns the writer of a stream's handler.
func (s *stream) writer(w http.ResponseWriter) http.ResponseWriter {
	if s.kind == zone.StreamWebSocket {
		return &hijackable{writer{w, s}}
	}
	return &writer{w, s}
}

// hijackable is the writer of a WebSocket route.
type hijackable struct{ writer }

// Hijack hands over the connection, which ends with the stream all the same.
func (w *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut != nil || s.done {
		return nil, nil, errEnded
	}
	sv := servingFrom(s.head.Context())
	if sv != nil {
		sv.taken.Add(1) // before the server forgets the connection
	}
	conn, buffered, err := w.controller().Hijack()
	if err != nil {
		if sv != nil {
			sv.taken.Done()
		}
		return nil, nil, err
	}
	s.taken.Store(sv != nil)
	early, _ := buffered.Peek(buffered.Reader.Buffered()) // as much as is there never fails
	s.conn = conn
	taken := &takenConn{Conn: conn, s: s, early: bytes.Clone(early)}
	return taken, bufio.NewReadWriter(bufio.NewReader(taken), bufio.NewWriter(taken)), nil
}

// takenConn is a connection that a handler took over.
type takenConn struct {
	net.Conn
	s     *stream
	early []byte // what came before it was handed over
}

func (c *takenConn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.s.touch()
	}
	return n, err
}

func (c *takenConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.s.touch()
	}
	return n, err
}

// Close ends the stream.
func (c *takenConn) Close() error {
	err := c.Conn.Close()
	c.s.release()
	return err
}

// CloseWrite says that nothing more will be sent, and leaves the other direction
// open.
func (c *takenConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}
