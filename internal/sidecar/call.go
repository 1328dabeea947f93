package sidecar

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"

	"sallyport.dev/guard"
	"sallyport.dev/internal/problem"
)

// callWire is the http.RoundTripper that calls with guard.Client.
type callWire struct{ guard Guard }

func (w *callWire) RoundTrip(req *http.Request) (*http.Response, error) {
	// The call's own context: without the trace by which ReverseProxy would pass
	// interim answers on, and with what the guard knows of the request in hand.
	c := callFrom(req.Context())
	out := req.WithContext(c.ctx)
	out.RequestURI = "" // http.Client takes none
	res, err := w.guard.Client().Do(out)
	if err != nil {
		return nil, err
	}
	if isEventStream(res.StatusCode, res.Header) {
		c.lasts()
	}
	return plainAnswer(res)
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

// noHandle helps the author of the service on the way.
const noHandle = "send back the header Sallyport-Request of the request in hand; without it only calls declared `as: service` pass"

// blame says why a call has no answer.
func (c *call) blame(err error) *problem.Error {
	if u, ok := errors.AsType[*url.Error](err); ok { // its text holds the URL, whose query is not for the log
		err = u.Err
	}
	switch {
	case errors.Is(err, guard.ErrNoRequest):
		return &problem.Error{Reason: problem.InsideCall, Detail: noHandle, Cause: guard.ErrNoRequest}
	case errors.Is(err, guard.ErrUndeclared):
		return problem.New(problem.InsideCall, guard.ErrUndeclared)
	case errors.Is(err, guard.ErrNotEnforced):
		return problem.New(problem.ZoneNotEnforced, err)
	case context.Cause(c.ctx) != nil:
		return problem.New(problem.ClientClosed, nil)
	}
	if up := c.upload.Load(); up != nil {
		return bodyFault(*up)
	}
	if p, ok := errors.AsType[*problem.Error](err); ok { // the guard's, such as inside.stale, or inside.peer of a handshake
		return p
	}
	if errors.Is(err, guard.ErrNotReady) {
		return problem.New(problem.InsideUnavailable, err)
	}
	if _, ok := errors.AsType[*guard.CallError](err); ok { // not a byte was sent, for a reason that is new to us
		return problem.New(problem.InsideCall, err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return problem.New(problem.UpstreamUnreachable, op)
	}
	return serviceFault(err)
}
