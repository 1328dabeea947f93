package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"sallyport.dev/internal/problem"
)

// progress says how far a failed exchange had come, which decides whether the
// request may be sent again.
type progress uint8

const (
	notSent  progress = iota // not a byte of the request has left
	sent                     // the service may have acted on it; nothing came back
	answered                 // part of an answer came back, or its time is used up
)

// failure is why an exchange broke.
type failure struct {
	progress progress
	dial     bool // the instance takes no connection
	stale    bool // on a connection used before: says nothing about the instance
	gone     bool // the client went away
	ours     bool // neither the service nor its connection is at fault
	err      *problem.Error
}

// Send sends a request and returns the exchange with the head of the answer
// read. It passes over every instance that takes no connection. Once, and no more,
// it sends a request again, when that is certain to do no harm: when nothing of it
// had left, or when its method is safe, it has no body and nothing of an answer had
// come. Errors are *problem.Error, of the upstream family where the service is at
// fault.
func (s *Set) Send(ctx context.Context, r *Request) (*Exchange, error) {
	if !r.HTTP2 {
		if err := r.readAhead(ctx); err != nil {
			return nil, err
		}
	}
	s.retries.earn()
	safe := retriable(r.Method) && r.Length == 0
	holder := holderOf(s.seed, r.Client)
	var last *failure
	var avoid []*instance // that have failed this request
	for retried := false; ; {
		l, reason := s.pick(avoid, safe && !retried, holder)
		if reason != problem.OK {
			if last != nil {
				return nil, last.err // tells more than that there is no other instance
			}
			return nil, problem.New(reason, fmt.Errorf("service %s: no instance", s.service.Name))
		}
		var x *Exchange
		var fail *failure
		if r.HTTP2 {
			x, fail = s.call(ctx, l, r)
		} else {
			x, fail = s.try(ctx, l, r, retried)
		}
		if fail == nil {
			return x, nil
		}
		if fail.ours {
			l.release()
			return nil, fail.err
		}
		if fail.gone {
			l.release()
			return nil, problem.New(contextReason(ctx), fail.err)
		}
		if !fail.stale {
			// Over HTTP/2 the instance may be well but for that, and serve all other routes.
			l.failed(fail.dial && !r.HTTP2, fail.err)
		}
		l.release()
		switch {
		case fail.dial && len(avoid)+1 < len(s.instances):
		case fail.dial, retried, fail.progress == answered, fail.progress == sent && !safe:
			return nil, fail.err
		// A service that closes its idle connections is no failing service: only
		// what says something about it costs of the budget.
		case !fail.stale && !s.retries.spend():
			return nil, fail.err
		default:
			retried = true
		}
		s.cfg.Log.Debug("upstream is tried again", slog.String("service", s.service.Name),
			slog.String("upstream", l.URL), slog.Any("cause", fail.err))
		last = fail
		if !fail.stale {
			avoid = append(avoid, l.instance)
		}
	}
}

// try sends the request to the leased instance and reads the head of its answer.
// With fresh set it does not trust an idle connection.
func (s *Set) try(ctx context.Context, l lease, r *Request, fresh bool) (*Exchange, *failure) {
	deadline := time.Now().Add(s.cfg.HeadTime)
	var w *wire
	if !fresh {
		w = l.checkout(deadline)
	}
	if w == nil {
		conn, err := l.dial(ctx, s.cfg.Dial)
		if err != nil {
			return nil, &failure{dial: true, gone: ctx.Err() != nil, err: problem.New(problem.UpstreamUnreachable, err)}
		}
		w = newWire(conn)
		if err := conn.SetDeadline(deadline); err != nil {
			w.close()
			return nil, &failure{err: problem.New(problem.UpstreamProtocol, err)} // it ended since: as a write that fails
		}
	}
	x := &Exchange{lease: l, ctx: ctx}
	x.answer.wire = w
	if ctx.Done() != nil {
		x.unhook = context.AfterFunc(ctx, w.close) // a client that went away ends its request
	}
	if fail := x.request(r, &s.cfg); fail != nil {
		fail.gone = ctx.Err() != nil // before hangUp, which may end the context itself: see unwatch
		x.hangUp()
		return nil, fail
	}
	x.Status, x.Header, x.Length = x.answer.status, x.answer.header, x.answer.length
	return x, nil
}

// request writes the request and reads the head of the answer.
func (x *Exchange) request(r *Request, cfg *Config) *failure {
	w := x.answer.wire
	var err error
	if w.out, err = r.AppendHead(w.out[:0]); err != nil {
		return &failure{ours: true, err: problem.New(problem.RequestMalformed, err)}
	}
	if cfg.Prove != nil {
		if err := w.prove(r, cfg.Prove); err != nil {
			return &failure{ours: true, err: asFault(err)}
		}
	}
	w.out = append(append(w.out, "\r\n"...), r.ahead...)
	w.awaitHead()
	if n, err := w.Net.Write(w.out); err != nil {
		return x.broken(n == 0, false, fmt.Errorf("write request: %w", err))
	}
	if cap(w.out) > outKept {
		w.out = nil
	}
	if r.Length != 0 && r.ahead == nil {
		x.upload = startUpload(w, r.Body, r.Length, cfg)
	}
	if _, err := w.br.Peek(1); err != nil {
		return x.broken(false, false, fmt.Errorf("wait for answer: %w", early(err)))
	}
	if err := x.answer.read(w, r.Method, r.Handshake); err != nil {
		return x.broken(false, true, err)
	}
	if x.upload != nil {
		if err := x.settle(); err != nil {
			return &failure{ours: true, err: err}
		}
	}
	if x.Switched() {
		if err := x.switched(); err != nil {
			return x.broken(false, true, err)
		}
		return nil
	}
	w.awaitBody(cfg.PieceTime, time.Now().Add(cfg.AnswerTime))
	return nil
}

// prove adds the proof to the head, and sees that it is lines of a head.
func (w *wire) prove(r *Request, prove func([]byte, *Conn, *Request) ([]byte, error)) error {
	out, err := proven(w.out, &w.Conn, r, prove)
	if err != nil {
		return err
	}
	w.out = out
	return nil
}

// proven returns the lines with the proof behind them.
func proven(lines []byte, c *Conn, r *Request, prove func([]byte, *Conn, *Request) ([]byte, error)) ([]byte, error) {
	n := len(lines)
	out, err := prove(lines, c, r)
	if err == nil && (len(out) < n || len(out) > n && (!bytes.HasSuffix(out, crlf) || bytes.Contains(out[max(0, n-len(crlf)):], crlfcrlf))) {
		err = errProof
	}
	if err != nil {
		reason := problem.ReasonOf(err)
		if reason == problem.OK { // an error is never a yes
			reason = problem.InternalError
		}
		return nil, problem.New(reason, fmt.Errorf("prove request: %w", err))
	}
	return out, nil
}

var (
	crlf     = []byte("\r\n")
	crlfcrlf = []byte("\r\n\r\n")
	errProof = errors.New("the proof is no field lines")
)

// settle is called when the head of the answer is there and the body may still
// be on its way. A refusal ends the upload; with any other answer the body is
// sent to its end first, since HTTP/1.1 clients are served one direction at a
// time. It returns the client's fault, if that is how the upload ended.
func (x *Exchange) settle() *problem.Error {
	if x.answer.status >= 300 && !x.upload.ended() {
		if !x.unwatch() {
			return problem.New(problem.ClientClosed, nil)
		}
		x.upload.halt()
	}
	<-x.upload.done
	return x.upload.fault()
}

// broken makes a failure of an error on the wire.
func (x *Exchange) broken(nothingSent, begun bool, err error) *failure {
	f := &failure{progress: sent, err: problem.New(problem.UpstreamProtocol, err)}
	if x.upload != nil {
		if clients := x.upload.fault(); clients != nil { // the client's fault wins: it is why the rest broke
			return &failure{ours: true, err: clients}
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
	f.stale = x.answer.wire.reused && !begun && !timeout
	return f
}

// contextReason says why a request's context ended.
func contextReason(ctx context.Context) problem.Reason {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return problem.UpstreamTimeout
	}
	return problem.ClientClosed
}
