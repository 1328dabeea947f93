package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
)

// forwardStage sends the request to the route's service and the answer to the
// client. OK means that the answer has been written and recorded. With any other
// reason either nothing has been written yet, or the head has left and the rest
// will not: then the connection must be broken off.
func forwardStage(g *Gateway, t *trip) problem.Reason {
	out := outgoing{
		method: t.r.Method, path: t.path, query: t.query, hasQuery: t.hasQuery, host: t.r.Host,
		received: t.r.Header,
		inside:   t.inside, correlation: t.CorrelationID, trace: t.Trace, client: t.Client, listener: t.listener.Name,
	}
	if t.body != nil && t.r.ContentLength != 0 {
		out.body, out.length = t.body, t.r.ContentLength
	}
	if t.route.Service.PlainHeaders {
		out.plain = t.principal
	}
	x, err := t.route.service.send(t.r.Context(), &out)
	if err != nil {
		t.cause = err
		reason := problem.ReasonOf(err)
		if reason == problem.UpstreamBusy {
			t.extra["Retry-After"] = []string{"1"}
		}
		return reason
	}
	defer x.abandon() // does nothing when the exchange has come to its end
	return g.answer(t, x)
}

// exchange is one request to one instance, from the lease to the end of the
// answer's body. Its owner ends it with finish or abandon.
type exchange struct {
	response
	lease  lease
	upload *upload     // the body on its way in; nil when it went with the head or there is none
	unhook func() bool // stops the watch over the client's context; nil when there is none
	ended  bool
	wasCut atomic.Bool // by us, see cut
}

// progress says how far a failed exchange had come, which decides whether the
// request may be sent again.
type progress uint8

const (
	notSent  progress = iota // not a byte of the request has left
	sent                     // the service may have acted on it; nothing came back
	answered                 // part of an answer came back, or the request itself is at fault
)

// failure is why an exchange broke.
type failure struct {
	progress progress
	dial     bool // the instance cannot be reached
	stale    bool // on a connection used before: says nothing about the instance
	gone     bool // the client went away
	err      *problem.Error
}

// send sends a request and returns the exchange with the head of the answer
// read. A request is sent again at most once, and only when that is certain to
// do no harm: when nothing of it had left, or when its method is safe, it has no
// body and nothing of an answer had come. Errors are *problem.Error.
func (s *upstreamSet) send(ctx context.Context, o *outgoing) (*exchange, error) {
	if err := o.readAhead(ctx); err != nil {
		return nil, err
	}
	s.retries.earn()
	safe := retriable(o.method) && o.length == 0
	var first *failure
	var avoid *instance
	for {
		l, reason := s.pick(avoid, safe && first == nil)
		if reason != problem.OK {
			if first != nil {
				return nil, first.err // tells more than that there is no second instance
			}
			return nil, problem.New(reason, fmt.Errorf("service %s: no instance", s.name))
		}
		x, fail := s.try(ctx, l, o, first != nil)
		if fail == nil {
			return x, nil
		}
		if fail.err.Reason.Status() < 500 { // not the service's
			l.release()
			return nil, fail.err
		}
		if fail.gone {
			l.release()
			return nil, problem.New(contextReason(ctx), fail.err)
		}
		if !fail.stale {
			l.failed(fail.dial, fail.err)
		}
		l.release()
		again := first == nil && (fail.progress == notSent || fail.progress == sent && safe)
		// A service that closes its idle connections is no failing service: only
		// what says something about it costs of the budget.
		if !again || !fail.stale && !s.retries.spend() {
			return nil, fail.err
		}
		s.cfg.log.Debug("upstream is tried again", slog.String("service", s.name),
			slog.String("upstream", l.url), slog.Any("cause", fail.err))
		first = fail
		if !fail.stale {
			avoid = l.instance
		}
	}
}

// try sends the request to the leased instance and reads the head of its answer.
// With fresh set it does not trust an idle connection.
func (s *upstreamSet) try(ctx context.Context, l lease, o *outgoing, fresh bool) (*exchange, *failure) {
	deadline := time.Now().Add(s.cfg.headTime)
	var w *wire
	if !fresh {
		w = l.checkout(deadline)
	}
	if w == nil {
		conn, err := l.dial(ctx)
		if err != nil {
			return nil, &failure{dial: true, gone: ctx.Err() != nil, err: problem.New(problem.UpstreamUnreachable, err)}
		}
		w = newWire(conn)
		if err := conn.SetDeadline(deadline); err != nil {
			w.close()
			return nil, &failure{dial: true, err: problem.New(problem.UpstreamUnreachable, err)}
		}
	}
	x := &exchange{lease: l}
	x.wire = w
	if ctx.Done() != nil {
		x.unhook = context.AfterFunc(ctx, w.close) // a client that went away ends its request
	}
	if fail := x.request(o, s.cfg); fail != nil {
		fail.gone = ctx.Err() != nil // before hangUp, which may end the context itself: see unwatch
		x.hangUp()
		return nil, fail
	}
	return x, nil
}

// request writes the request and reads the head of the answer.
func (x *exchange) request(o *outgoing, cfg upstreamConfig) *failure {
	w := x.wire
	var err error
	if w.out, err = o.appendHead(w.out[:0]); err != nil {
		return &failure{progress: answered, err: problem.New(problem.RequestMalformed, err)}
	}
	w.out = append(w.out, o.ahead...)
	w.awaitHead()
	if n, err := w.conn.Write(w.out); err != nil {
		return x.broken(n == 0, false, fmt.Errorf("write request: %w", err))
	}
	if cap(w.out) > outKept {
		w.out = nil
	}
	if o.body != nil && o.ahead == nil {
		x.upload = startUpload(w, o.body, o.length, cfg)
	}
	if _, err := w.br.Peek(1); err != nil {
		return x.broken(false, false, fmt.Errorf("wait for answer: %w", early(err)))
	}
	if err := x.response.read(w, o.method); err != nil {
		return x.broken(false, true, err)
	}
	if x.upload != nil {
		if err := x.settle(); err != nil {
			return &failure{progress: answered, err: err}
		}
	}
	w.awaitBody(cfg.pieceTime, time.Now().Add(cfg.answerTime))
	return nil
}

// settle is called when the head of the answer is there and the body may still
// be on its way. A refusal ends the upload; with any other answer the body is
// sent to its end first, since HTTP/1.1 clients are served one direction at a
// time. It returns the client's fault, if that is how the upload ended.
func (x *exchange) settle() *problem.Error {
	if x.status >= 300 && !x.upload.ended() {
		if !x.unwatch() {
			return problem.New(problem.ClientClosed, nil)
		}
		x.upload.halt()
	}
	<-x.upload.done
	return x.upload.fault()
}

// unwatch stops the watch over the client; false: it has gone already. Where a
// reader is thrown out of the client's body, net/http takes that for the end of
// the client and cancels the request, which then means nothing any more.
func (x *exchange) unwatch() bool {
	watching := x.unhook == nil || x.unhook()
	x.unhook = nil
	return watching
}

// broken makes a failure of an error on the wire.
func (x *exchange) broken(nothingSent, begun bool, err error) *failure {
	f := &failure{progress: sent, err: problem.New(problem.UpstreamProtocol, err)}
	if x.upload != nil {
		if clients := x.upload.fault(); clients != nil { // the client's fault wins: it is why the rest broke
			return &failure{progress: answered, err: clients}
		}
	}
	timeout := errors.Is(err, os.ErrDeadlineExceeded)
	if timeout {
		f.err.Reason = problem.UpstreamTimeout
	}
	switch {
	case begun:
		f.progress = answered
	case timeout:
		f.progress = answered // its time is used up
	case nothingSent:
		f.progress = notSent
	}
	f.stale = x.wire.reused && !begun && !timeout
	return f
}

// finish ends an exchange whose answer has been read to its end, and keeps the
// connection when both sides left it clean.
func (x *exchange) finish() {
	if x.ended {
		return
	}
	if !x.whole {
		x.abandon()
		return
	}
	x.ended = true
	w := x.wire
	clean := x.unwatch() && !x.closes && w.br.Buffered() == 0 && (x.upload == nil || x.upload.sentWhole())
	if clean {
		if ka := x.header["Keep-Alive"]; len(ka) > 0 {
			w.noteKeepAlive(ka[0])
		}
		x.lease.checkin(w)
	} else {
		x.hangUp()
	}
	x.lease.succeeded()
	x.lease.release()
}

// abandon ends an exchange whose answer is not wanted to its end.
func (x *exchange) abandon() {
	if x.ended {
		return
	}
	x.ended = true
	x.hangUp()
	x.lease.release()
}

// hangUp closes the connection and waits for the upload, which may not touch
// the client's body after the handler has returned.
func (x *exchange) hangUp() {
	x.unwatch()
	x.wire.close()
	if x.upload != nil {
		x.upload.stop()
	}
}

// cut closes the connection under whoever reads from it. The exchange must not
// have been finished: its connection would be somebody else's.
func (x *exchange) cut() {
	x.wasCut.Store(true)
	x.wire.close()
}

// contextReason says why a request's context ended.
func contextReason(ctx context.Context) problem.Reason {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return problem.UpstreamTimeout
	}
	return problem.ClientClosed
}
