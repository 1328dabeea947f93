package sidecar

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
)

var (
	errTooLong = errors.New("the whole request took too long")
	errSilent  = errors.New("the answer stopped coming")
	errOver    = errors.New("the request is over")
	errStatus  = errors.New("a status that no answer has, or a switch of protocols that nobody asked for")
)

// exchange is one request on its way to the service and back. It ends with the
// handler's return.
type exchange struct {
	ctx    context.Context // the request's, ended by the bounds besides
	cancel context.CancelCauseFunc
	facts  facts
	handle handle
	stream bool                  // the route is a declared stream
	whole  *time.Timer           // bounds all; a stream only until its head
	upload atomic.Pointer[error] // why the request's body ended early
	broken error                 // why the answer's did
}

type exchangeKey struct{}

func exchangeFrom(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

func (d *inbound) newExchange(r *http.Request) *exchange {
	x := &exchange{}
	x.ctx, x.cancel = context.WithCancelCause(r.Context())
	x.whole = time.AfterFunc(d.cfg.AnswerTime, func() { x.cancel(errTooLong) })
	return x
}

func (x *exchange) end() {
	x.whole.Stop()
	x.cancel(errOver)
}

// wire is the http.RoundTripper under httputil.ReverseProxy. It gives the
// transport the exchange's own context, which has no trace in it: ReverseProxy
// would pass interim answers on by that, and no policy has seen them.
type wire struct {
	d    *inbound
	next http.RoundTripper
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchangeFrom(req.Context())
	res, err := w.next.RoundTrip(req.WithContext(x.ctx))
	if err != nil {
		return nil, err
	}
	out, err := plainAnswer(res)
	if err != nil {
		return nil, err
	}
	patience := w.d.cfg.PieceTime
	if x.stream && isEventStream(out) {
		x.whole.Stop()
		patience = w.d.cfg.StreamIdle
	}
	out.Body = newPaced(out.Body, x, patience)
	return out, nil
}

// isEventStream says whether an answer is what `stream: sse` declares: a refusal
// on such a route is an ordinary answer.
func isEventStream(res *http.Response) bool {
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	return err == nil && kind == "text/event-stream" && res.StatusCode == http.StatusOK
}

// plainAnswer returns an answer without its trailers, and refuses what is no
// final answer: ReverseProxy would hand the connection over after a 101 that
// does not even name a protocol. The transport writes trailers into res, which
// nobody sees.
func plainAnswer(res *http.Response) (*http.Response, error) {
	if res.StatusCode < 200 || res.StatusCode > 599 {
		_ = res.Body.Close() // the connection is not used again
		return nil, errStatus
	}
	out := *res
	out.Trailer = nil
	return &out, nil
}

// paced is the body of an answer whose pieces come in time.
type paced struct {
	io.ReadCloser
	x        *exchange
	patience time.Duration
	timer    *time.Timer
}

func newPaced(body io.ReadCloser, x *exchange, patience time.Duration) *paced {
	p := &paced{ReadCloser: body, x: x, patience: patience, timer: time.AfterFunc(patience, func() { x.cancel(errSilent) })}
	p.timer.Stop()
	return p
}

func (p *paced) Read(b []byte) (int, error) {
	p.timer.Reset(p.patience)
	n, err := p.ReadCloser.Read(b)
	p.timer.Stop()
	if err != nil && err != io.EOF {
		p.x.broken = err
	}
	return n, err
}

// upload is the body of a request; it remembers why it ended early, which is
// then not the fault of the far end.
type upload struct {
	io.ReadCloser
	fault *atomic.Pointer[error]
}

func (u *upload) Read(b []byte) (int, error) {
	n, err := u.ReadCloser.Read(b)
	if err != nil && err != io.EOF {
		u.fault.CompareAndSwap(nil, &err)
	}
	return n, err
}

// blame says whose fault it is that there is no answer.
func (x *exchange) blame(err error) *problem.Error {
	if up := x.upload.Load(); up != nil {
		return bodyFault(*up)
	}
	switch cause := context.Cause(x.ctx); {
	case errors.Is(cause, errTooLong):
		return problem.New(problem.UpstreamTimeout, errTooLong)
	case cause != nil:
		return problem.New(problem.ClientClosed, nil)
	}
	return serviceFault(err)
}

// bodyFault says why a request's body could not be read.
func bodyFault(err error) *problem.Error {
	if p, ok := errors.AsType[*problem.Error](err); ok { // the guard's, such as a digest that does not hold
		return p
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem.New(problem.RequestBodyTooLarge, nil)
	}
	if timedOut(err) {
		return problem.New(problem.RequestTimeout, nil)
	}
	return problem.New(problem.ClientClosed, nil)
}

// serviceFault says what went wrong at the far end. Errors about what an answer
// holds quote it, so that they do not become a cause: causes are logged.
func serviceFault(err error) *problem.Error {
	switch {
	case errors.Is(err, errUnreachable):
		return problem.New(problem.UpstreamUnreachable, err)
	case timedOut(err):
		return problem.New(problem.UpstreamTimeout, nil)
	case errors.Is(err, errStatus):
		return problem.New(problem.UpstreamProtocol, errStatus)
	}
	return problem.New(problem.UpstreamProtocol, nil)
}

func timedOut(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}
