package gateway

import (
	"net/http"
	"sync/atomic"
	"time"
)

// readerGrace is how long a client may let a piece of an answer wait.
const readerGrace = 30 * time.Second

// http2Buffer is what net/http takes of an HTTP/2 answer before it needs the
// client to take some.
const http2Buffer = 4 << 10

// writer is the bounded writer of an answer. Each piece must be taken within
// readerGrace and the time that its bytes need at the listener's body_rate, so
// that a client which reads nothing, or a byte a minute, does not hold a
// handler, its buffers and its upstream connection. How long the service takes
// between pieces does not matter.
type writer struct {
	inner   http.ResponseWriter
	trip    *trip
	grace   time.Duration
	rate    int64     // bytes per second
	set     time.Time // when the deadline was last set
	written int64
	started bool // the head of the answer has been handed to net/http

	off       atomic.Bool // the client gets no more time
	forwarded bool        // the answer may be a service's, which arrives while it leaves
}

// Header is the head of the answer.
func (w *writer) Header() http.Header { return w.inner.Header() }

// Unwrap lets http.ResponseController find what net/http offers.
func (w *writer) Unwrap() http.ResponseWriter { return w.inner }

// WriteHeader sends the head. An interim one (1xx) does not start the answer.
func (w *writer) WriteHeader(status int) {
	if status >= 200 && !w.started {
		w.started = true
		w.leaveBody()
	}
	w.bound(0)
	w.inner.WriteHeader(status)
}

// Write sends a piece of the body.
func (w *writer) Write(p []byte) (int, error) {
	if !w.started {
		w.WriteHeader(http.StatusOK)
	}
	n := 0
	for {
		piece := p[n:min(len(p), n+pieceSize)]
		w.bound(len(piece))
		m, err := w.inner.Write(piece)
		n += m
		w.written += int64(m)
		w.unbound()
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// FlushError sends what net/http still holds.
func (w *writer) FlushError() error {
	w.started = true
	w.bound(http2Buffer) // what is held may be so much, and waits for the client from here on
	err := http.NewResponseController(w.inner).Flush()
	w.unbound()
	return err
}

// Flush is FlushError for callers that know http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() } // a dead connection fails the next Write too

// bound sets the deadline of the next piece. On HTTP/1 a deadline that was set
// less than a second ago is good enough, and one that passes between pieces
// does nothing.
func (w *writer) bound(n int) {
	if w.trip.r.ProtoMajor == 2 && w.written+int64(n) <= http2Buffer {
		return // fits the buffer, which is sent under the deadline of settle
	}
	now := time.Now()
	if w.trip.r.ProtoMajor != 2 && n < http2Buffer && now.Sub(w.set) < time.Second {
		return
	}
	w.set = now
	w.deadline(now.Add(w.grace + time.Duration(n)*time.Second/time.Duration(max(1, w.rate))))
}

// unbound takes the deadline back on HTTP/2: there it resets the stream when it
// passes, also between the pieces of a slow service.
func (w *writer) unbound() {
	if w.trip.r.ProtoMajor == 2 && !w.set.IsZero() {
		w.deadline(time.Time{})
	}
}

// settle bounds what net/http sends after the handler. On HTTP/1 the deadline of
// the last piece mostly does, and net/http takes it back afterwards.
func (w *writer) settle() {
	now := time.Now()
	if w.trip.r.ProtoMajor == 2 || now.Sub(w.set) >= time.Second {
		w.deadline(now.Add(w.grace))
	}
}

func (w *writer) deadline(at time.Time) {
	if d, ok := w.inner.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = d.SetWriteDeadline(at) // fails on a dead connection only; so will the write
		if w.off.Load() {          // after it was set: cutOff sets its own after it said so
			_ = d.SetWriteDeadline(longAgo)
		}
	}
}

// cutOff throws out a write that waits for the client, and lets no other wait. It
// may be called from another goroutine while the handler runs.
func (w *writer) cutOff() {
	w.off.Store(true)
	if d, ok := w.inner.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = d.SetWriteDeadline(longAgo) // likewise
	}
}

// leaveBody settles what is left of the request body before the head leaves.
// net/http would read up to 256 KiB of it first, for as long as the client
// likes: a request refused with its body unsent would hold its handler. A small
// rest is read within a second; with a larger or slower one the connection ends
// after this answer. So it does with a service's answer: a read that times out
// would make net/http cancel the request's context, and with it the answer.
//
// HTTP/2 needs none of this: the stream is reset.
func (w *writer) leaveBody() {
	b, r := w.trip.body, w.trip.r
	if b == nil || r.ProtoMajor != 1 || b.ended.Load() {
		return
	}
	if len(r.Header["Expect"]) > 0 && b.count() == 0 {
		return // never asked for: net/http ends the connection by itself
	}
	left := int64(0) // unknown: chunked
	if r.ContentLength > 0 {
		left = r.ContentLength - b.count()
	}
	if w.forwarded || !b.discard(left) {
		w.trip.closeAfter()
	}
}
