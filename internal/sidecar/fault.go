package sidecar

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"

	"sallyport.dev/internal/problem"
)

var errStatus = errors.New("a status that no answer has, or a switch of protocols that nobody asked for")

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

// logRefusal says a refusal once: a defect of the service louder than one of the
// asker.
func logRefusal(l *slog.Logger, r *http.Request, text string, err error) {
	reason := problem.ReasonOf(err)
	level := slog.LevelInfo
	if reason.Status() >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	if !l.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{slog.String("reason", reason.Code()), slog.String("correlation_id", correlationOf(r.Context()))}
	if cause := errors.Unwrap(err); cause != nil {
		attrs = append(attrs, slog.String("cause", cause.Error()))
	}
	l.LogAttrs(r.Context(), level, text, attrs...)
}
