package gateway

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

const (
	bodyGrace = 5 * time.Second // a body may stand still for so long
	lingering = time.Second     // for the rest of a body nobody wants
	unwanted  = 64 << 10        // of that rest, at most
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

var errRetired error = problem.New(problem.ClientClosed, http.ErrBodyReadAfterClose)

// body is the bounded body of a request: so many bytes, and not too slowly. Its
// errors are *problem.Error: request.body_too_large, request.timeout,
// request.framing, client.closed.
//
// The time a client may make us wait is an account: it begins with bodyGrace,
// each byte received pays in 1/rate of a second, and it never holds more than
// bodyGrace. So a client that keeps the rate is never cut off however long its
// upload takes, one that stands still is after 5 s, and the time that the
// service needs to take the bytes costs the client nothing.
//
// It may be read by another goroutine than the handler's (http.Transport does
// so), also after the handler has returned: it fails then.
type body struct {
	limit atomic.Int64 // set by the route stage; bytes
	read  atomic.Int64

	mu       sync.Mutex // one reader at a time; guards the rest
	inner    io.ReadCloser
	deadline interface{ SetReadDeadline(time.Time) error } // nil when the writer has none (tests of single stages)
	stream   bool                                          // HTTP/2: a deadline that passes ends the body, read or not
	chunks   bool                                          // HTTP/1, in chunks
	rate     int64                                         // bytes per second
	grace    time.Duration                                 // bodyGrace
	account  time.Duration
	resting  bool  // the rest is being discarded
	patient  bool  // neither size nor pace is bounded here: see unhurried
	err      error // sticky: io.EOF or a *problem.Error

	closed  atomic.Bool // nobody wants more of it
	retired atomic.Bool // nobody may have more of it
	ended   atomic.Bool // io.EOF was seen: nothing of the body is left on the wire
}

func newBody(r *http.Request, w http.ResponseWriter, limits zone.Limits, grace time.Duration) *body {
	b := &body{inner: r.Body, stream: r.ProtoMajor == 2, chunks: len(r.TransferEncoding) > 0, rate: max(1, limits.BodyRate), grace: grace, account: grace}
	b.limit.Store(limits.Body)
	b.deadline, _ = w.(interface{ SetReadDeadline(time.Time) error })
	return b
}

func (b *body) count() int64 { return b.read.Load() }

// unhurried makes it the body of a stream over HTTP/2, which goes on for as long as
// its two ends like: whoever reads it bounds what it says and how long it is silent.
func (b *body) unhurried() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.patient = true
	b.limit.Store(math.MaxInt64 / 2)
}

// fault returns why the client's body failed, OK when it did not.
func (b *body) fault() problem.Reason {
	if b == nil {
		return problem.OK
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil || b.err == io.EOF {
		return problem.OK
	}
	return problem.ReasonOf(b.err)
}

// Read reads what the client has sent, within the bounds.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.readLocked(p)
}

func (b *body) readLocked(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.closed.Load() && !b.resting {
		return 0, http.ErrBodyReadAfterClose
	}
	if len(p) == 0 {
		return 0, nil
	}
	// A Read within a chunk comes back only when p is full (net/http), so p is no
	// longer than what a client that keeps the rate sends in time.
	if b.chunks {
		p = p[:min(int64(len(p)), max(1, b.rate*int64(bodyGrace/time.Second)/2))]
	}
	// One byte more than the limit shows that the body is too large.
	room := b.limit.Load() - b.read.Load() + 1
	if int64(len(p)) > room {
		p = p[:max(room, 0)]
	}
	if len(p) == 0 {
		b.err = problem.New(problem.RequestBodyTooLarge, nil)
		return 0, b.err
	}
	began := time.Now() // the account is real time: the deadline of the socket is
	if b.deadline != nil && !b.patient {
		_ = b.deadline.SetReadDeadline(began.Add(b.account)) // fails on a dead connection only; so will Read
		// Close and retire set their flag before a deadline that has passed, so either
		// it is seen here, or that deadline is the last one set.
		if b.retired.Load() || b.stream && b.closed.Load() {
			return 0, http.ErrBodyReadAfterClose
		}
	}
	n, err := b.inner.Read(p)
	if !b.patient {
		b.account += time.Duration(float64(n)/float64(b.rate)*float64(time.Second)) - time.Since(began)
		b.account = min(b.account, b.grace)
	}
	if b.stream && b.deadline != nil && !b.patient && err == nil {
		_ = b.deadline.SetReadDeadline(time.Time{}) // likewise
	}
	total := b.read.Add(int64(n))
	switch {
	case total > b.limit.Load():
		b.err = problem.New(problem.RequestBodyTooLarge, nil)
		return 0, b.err
	case errors.Is(err, io.EOF):
		b.ended.Store(true)
		b.err = io.EOF
	case b.retired.Load() && b.account > 0:
		b.err = errRetired // it was thrown out in time, which is nobody's fault
	case err != nil:
		b.err = bodyError(err)
	}
	return n, b.err
}

// bodyError gives a failure of net/http's body its reason.
func bodyError(err error) error {
	var ne net.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return problem.New(problem.RequestTimeout, err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.Canceled), errors.As(err, &ne),
		errors.Is(err, net.ErrClosed), errors.Is(err, http.ErrBodyReadAfterClose), isStreamReset(err):
		return problem.New(problem.ClientClosed, err)
	}
	return problem.New(problem.RequestFraming, err) // chunks that are none
}

// isStreamReset reports whether err is the client's end of an HTTP/2 stream.
// net/http does not export these types; their text is all there is.
func isStreamReset(err error) bool {
	switch text := err.Error(); text {
	case "client disconnected", "http2: stream closed", "body closed by handler":
		return true
	default:
		return strings.HasPrefix(text, "stream error: ")
	}
}

// Close ends the reading: the next Read fails. A Read under way on HTTP/2 fails
// now; on HTTP/1 it ends when bytes come or the client's account is used up,
// because there net/http takes a read that timed out for a client that went away,
// and cancels the whole request.
func (b *body) Close() error {
	b.closed.Store(true)
	if b.stream && b.deadline != nil && !b.ended.Load() {
		_ = b.deadline.SetReadDeadline(longAgo)
	}
	return nil
}

// discard reads what is left of a body that nobody wants, when that is little
// and comes at once, so that the connection can be used again. It reports
// whether nothing is left.
func (b *body) discard(left int64) bool {
	if b.ended.Load() {
		return true
	}
	if left > unwanted || !b.mu.TryLock() {
		return false // large, or somebody is still reading
	}
	defer b.mu.Unlock()
	b.resting = true
	b.limit.Store(min(b.limit.Load(), b.read.Load()+unwanted))
	buf := make([]byte, 4<<10)
	end := time.Now().Add(lingering)
	for {
		b.account = min(b.account, time.Until(end)) // the rate buys nothing here
		if _, err := b.readLocked(buf); err != nil {
			return b.ended.Load()
		}
	}
}

// retire ends the body for good: a reader that is still in it is thrown out, and
// net/http, which reads on for a while to keep the connection, gets no more than
// a moment to do so. The client could hold the handler for ever else.
func (b *body) retire() {
	if b.ended.Load() {
		return
	}
	b.retired.Store(true)
	if !b.mu.TryLock() {
		if b.deadline != nil {
			_ = b.deadline.SetReadDeadline(longAgo) // the reader returns now
		}
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if b.ended.Load() {
		return
	}
	if b.err == nil {
		b.err = errRetired
	}
	if b.deadline != nil {
		_ = b.deadline.SetReadDeadline(time.Now().Add(lingering))
	}
}
