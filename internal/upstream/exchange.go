package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
)

// Exchange is one request to one instance, from the lease to the end of the
// answer's body. Its owner ends it with Close; the request's body may be read
// until then. All but Cut are for one goroutine at a time; see Switched.
type Exchange struct {
	Status int
	Header http.Header // as the service sent it; the caller's to change
	Length int64       // of the body in bytes; -1: known at its end. For HEAD what GET would have had

	answer response
	call   *call // over HTTP/2; nil over HTTP/1.1
	lease  lease
	ctx    context.Context // of the request: says why the wire was closed
	upload *upload         // the body on its way in; nil when it went with the head or there is none
	unhook func() bool     // stops the watch over the client's context; nil when there is none
	fault  error           // why the answer stopped coming
	ended  bool
	wasCut atomic.Bool // by us, see Cut
}

var errClosed = errors.New("the exchange is closed")

// Empty reports whether the answer has no body at all. Over HTTP/2 only its end
// tells, for trailers may come.
func (x *Exchange) Empty() bool { return x.call == nil && x.answer.framing == noBody }

// Read reads the body. io.EOF comes after the last byte of a whole body only,
// with that byte where its length is known. Any other error is a *problem.Error,
// and final: the answer will not become whole.
func (x *Exchange) Read(p []byte) (int, error) {
	switch {
	case x.fault != nil:
		return 0, x.fault
	case x.ended && !x.answer.whole:
		return 0, errClosed
	}
	if x.call != nil {
		return x.readCall(p)
	}
	n, err := x.answer.Read(p)
	if err != nil && err != io.EOF {
		x.fault = x.blame(err)
		err = x.fault
	}
	return n, err
}

// blame says whose fault it is that the answer stopped coming.
func (x *Exchange) blame(err error) *problem.Error {
	if x.unhook != nil && x.ctx.Err() != nil { // the wire was closed because the client went away
		return problem.New(contextReason(x.ctx), err)
	}
	timeout := errors.Is(err, os.ErrDeadlineExceeded)
	// What we cut ourselves says nothing about the instance, nor does a quiet
	// stream, nor an answer that has used up its time: clients are slow, too.
	// And how a tunnel ends is between its two ends.
	if !x.wasCut.Load() && !x.Switched() && (!timeout || time.Now().Before(x.answer.wire.end)) {
		x.lease.failed(false, err)
	}
	if timeout {
		return problem.New(problem.UpstreamTimeout, err)
	}
	return problem.New(problem.UpstreamProtocol, err)
}

// Stream takes the answer for a declared stream: it may last for ever, but is
// never silent for longer than idle.
func (x *Exchange) Stream(idle time.Duration) {
	x.answer.wire.awaitBody(idle, time.Time{})
}

// Close ends the exchange. The connection is kept when the answer has been read
// to its end and both sides left it clean; else it is hung up. A second call
// does nothing.
func (x *Exchange) Close() {
	if x.ended {
		return
	}
	x.ended = true
	if x.call != nil {
		x.endCall()
		if x.answer.whole && !x.wasCut.Load() {
			x.lease.succeeded()
		}
		x.lease.release()
		return
	}
	if !x.answer.whole || x.wasCut.Load() {
		x.hangUp()
		x.lease.release()
		return
	}
	w := x.answer.wire
	clean := x.unwatch() && !x.answer.closes && w.br.Buffered() == 0 && (x.upload == nil || x.upload.sentWhole())
	if clean {
		if ka := x.answer.header["Keep-Alive"]; len(ka) > 0 {
			w.noteKeepAlive(ka[0])
		}
		x.lease.checkin(w)
	} else {
		x.hangUp()
	}
	x.lease.succeeded()
	x.lease.release()
}

// Cut closes the connection under whoever reads from it, from any goroutine; over
// HTTP/2 it ends the one request. It must not be called any more once Close is: the
// connection would be somebody else's.
func (x *Exchange) Cut() {
	x.wasCut.Store(true)
	if x.call != nil {
		x.call.cancel()
		return
	}
	x.answer.wire.close()
}

// hangUp closes the connection and waits for the upload, which may not touch
// the client's body after the exchange.
func (x *Exchange) hangUp() {
	x.unwatch()
	x.answer.wire.close()
	if x.upload != nil {
		x.upload.stop()
	}
}

// unwatch stops the watch over the client; false: it has gone already. Where a
// reader is thrown out of the client's body, net/http takes that for the end of
// the client and cancels the request, which then means nothing any more.
func (x *Exchange) unwatch() bool {
	watching := x.unhook == nil || x.unhook()
	x.unhook = nil
	return watching
}
