package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
)

// aheadLimit is the size of a body that is read before an instance is asked: a
// slow client then holds no connection inside, and head and body leave in one write.
const aheadLimit = 16 << 10

var errNoBody = errors.New("a length without a body")

// readAhead reads a small body whole.
func (r *Request) readAhead(ctx context.Context) error {
	r.ahead = nil
	if r.Body == nil && r.Length != 0 {
		return problem.New(problem.InternalError, errNoBody)
	}
	if r.Length <= 0 || r.Length > aheadLimit {
		return nil
	}
	// It may come so slowly that it never ends: it ends with the request.
	retired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { r.Body.Retire(); close(retired) })
	buf := make([]byte, r.Length)
	_, err := io.ReadFull(r.Body, buf)
	if !stop() {
		<-retired // nothing touches the body after its exchange
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return problem.New(contextReason(ctx), err)
	default:
		return bodyFault(ctx, err)
	}
	r.ahead = buf
	return nil
}

// upload sends a body that is not read ahead, in a goroutine of its own: a
// service may answer before it has read all. The goroutine ends when the body
// ends, the wire is closed, or stop closes the body.
type upload struct {
	wire   *wire
	body   Body
	length int64 // -1: in chunks
	cfg    *Config

	client atomic.Pointer[problem.Error] // the client's fault, set before the wire is closed for it
	ending atomic.Bool                   // stopped by us: what the body says then is nobody's fault
	whole  bool                          // all was sent; readable after done
	done   chan struct{}
}

func startUpload(w *wire, body Body, length int64, cfg *Config) *upload {
	u := &upload{wire: w, body: body, length: length, cfg: cfg, done: make(chan struct{})}
	_ = w.Net.SetReadDeadline(time.Time{}) // the answer's time begins when the body is sent; a dead wire fails below
	go u.run()
	return u
}

func (u *upload) run() {
	defer close(u.done)
	fromClient, err := u.copy()
	switch {
	case err == nil:
		u.whole = true
		_ = u.wire.Net.SetReadDeadline(time.Now().Add(u.cfg.HeadTime))
	case u.ending.Load(): // stopped: the owner of the wire says what becomes of it
	case fromClient:
		u.client.Store(bodyFault(context.Background(), err))
		u.wire.close() // an unfinished message must not look finished
	default: // the service has stopped taking: it commonly says why, and closes (RFC 9112 section 9.6)
		_ = u.wire.Net.SetReadDeadline(time.Now().Add(min(u.cfg.EarlyTime, u.cfg.HeadTime)))
	}
}

// copy sends the body in pieces, each with its framing in one write. It reports
// whether an error came from the client's side.
func (u *upload) copy() (fromClient bool, err error) {
	buf := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(buf)
	const room = len("7fff\r\n") // before a piece, for its size as a chunk
	left := u.length
	for {
		n, err := u.body.Read(buf[room : pieceSize-len("\r\n")])
		if u.length >= 0 && int64(n) > left {
			return true, fmt.Errorf("body is longer than its %d bytes", u.length)
		}
		left -= int64(n)
		if n > 0 {
			if werr := u.write(buf, room, n); werr != nil {
				return false, werr
			}
		}
		switch {
		case err == nil:
		case err != io.EOF:
			return true, err
		case u.length > 0 && left > 0:
			return true, io.ErrUnexpectedEOF
		case u.length < 0:
			return false, u.send([]byte("0\r\n\r\n")) // no trailer section: nobody judged it
		default:
			return false, nil
		}
	}
}

// write sends buf[at:at+n], as a chunk when the length is not known.
func (u *upload) write(buf *[pieceSize]byte, at, n int) error {
	if u.length >= 0 {
		return u.send(buf[at : at+n])
	}
	var digits [4]byte
	size := strconv.AppendInt(digits[:0], int64(n), 16)
	from := at - len(size) - 2
	copy(buf[from:], size)
	copy(buf[at-2:], "\r\n")
	copy(buf[at+n:], "\r\n")
	return u.send(buf[from : at+n+2])
}

func (u *upload) send(p []byte) error {
	if err := u.wire.Net.SetWriteDeadline(time.Now().Add(u.cfg.PieceTime)); err != nil {
		return err
	}
	if u.ending.Load() { // after the deadline was set: halt sets another after it said so
		return errStopped
	}
	_, err := u.wire.Net.Write(p)
	return err
}

var errStopped = errors.New("the upload was stopped")

// halt ends the upload and leaves the wire readable.
func (u *upload) halt() {
	u.ending.Store(true)
	_ = u.wire.Net.SetWriteDeadline(time.Now()) // wakes a write
	u.body.Retire()                             // throws out a read
}

// stop ends the upload of a closed wire and waits for its goroutine.
func (u *upload) stop() {
	if !u.ended() {
		u.halt()
		<-u.done
	}
}

// ended reports whether the goroutine has come to its end.
func (u *upload) ended() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// fault returns the client's fault, nil when there is none yet.
func (u *upload) fault() *problem.Error { return u.client.Load() }

// sentWhole reports whether the whole body was sent.
func (u *upload) sentWhole() bool { return u.ended() && u.whole }

// bodyFault says why the client's body could not be read.
func bodyFault(ctx context.Context, err error) *problem.Error {
	if e, ok := errors.AsType[*problem.Error](err); ok {
		return e
	}
	reason := problem.RequestFraming
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		reason = problem.RequestBodyTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		reason = problem.RequestTimeout
	case ctx.Err() != nil, errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled):
		reason = problem.ClientClosed
	}
	return problem.New(reason, fmt.Errorf("read body: %w", err))
}
