package guard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"sallyport.dev/zone"
)

// Why a call is not sent. Each is in the chain of a *CallError.
var (
	// ErrNoRequest says that the call's context did not come through Protect with
	// an inside token, so that there is none to pass on.
	ErrNoRequest = errors.New("the context holds no inside token of a request that came through Protect")

	// ErrUndeclared says that the map does not let this service call the operation.
	ErrUndeclared = errors.New("the map declares no such call")

	// ErrNotEnforced says that the map declares the call in a way that this
	// version does not enforce (a proof it does not know, a service without inner
	// door away from this host).
	ErrNotEnforced = errors.New("declared in a way that is not enforced yet")

	// ErrNotReady says that the guard has no map in force, or that control gives no
	// token for a call `as: service`; see Guard.Ready.
	ErrNotReady = errors.New("the guard is not ready")
)

// CallError is the error of a call that was refused before a byte of it was sent.
type CallError struct {
	Service string // as the URL named it
	Method  string
	Path    string // escaped
	Err     error  // one of the errors of this package
}

func (e *CallError) Error() string {
	return fmt.Sprintf("guard: call %s %s of service %q: %v", e.Method, e.Path, e.Service, e.Err)
}

func (e *CallError) Unwrap() error { return e.Err }

// Client returns the client for calls to other services of the zone. It is one
// client, for use by any number of goroutines.
//
// A URL is http://SERVICE/path, and only operations that the map lists under
// this service's calls are sent: all else is a *CallError without a byte on
// any wire. The request must carry the context of a request that came through
// Protect, whose inside token, correlation id, client and trace go along, so that
// the callee judges the same principal. Calls declared `as: service` carry a token
// of this service itself and may have any context.
//
// The wire is mutual TLS with the service that the map names, and each request
// carries its proof. A service without inner door is called in plain, and only on
// this host. Authorization, Cookie and the headers of the inside that the caller
// set are removed. A body is read to its end before anything is sent, except on
// stream and `proof: channel` routes. Calls of gRPC go over HTTP/2, with the trailers
// of their answers; see Guard.GRPC. No upgrade leaves but the opening handshake of
// a WebSocket, on `stream: websocket` calls: the body of its 101 is an
// io.ReadWriteCloser, so that any library which takes an *http.Client works. It
// has a CloseWrite, and ends with the request in hand whatever the context of the
// handshake; one of a call `as: service` does not.
// Redirects are not followed, no proxy is used, and every call but those of gRPC
// ends after Config.CallTimeout; the size of an answer is for the caller to bound.
//
//	req, err := http.NewRequestWithContext(r.Context(), "GET", "http://accounts/accounts/"+id, nil)
//	...
//	res, err := g.Client().Do(req)
func (g *Guard) Client() *http.Client { return g.client }

func newClient(g *Guard) *http.Client {
	return &http.Client{
		Transport:     &transport{g},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// transport sends what the map declares and refuses the rest.
type transport struct{ g *Guard }

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	b, err := t.g.current()
	if err != nil {
		return notSent(req, fmt.Errorf("%w: %w", ErrNotReady, err))
	}
	ctx, over := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(t.g.cfg.CallTimeout, func() { over(errTimeout) })
	end := func() { timer.Stop(); over(errOver) }
	o, err := t.g.prepare(ctx, b, req)
	if err != nil {
		end()
		return notSent(req, err)
	}
	wire := o.to.wire
	if o.call.stream == zone.StreamGRPC {
		timer.Stop() // its client sets the deadline
		wire = o.to.http2
	}
	var s *socket
	if o.socket {
		if s, err = t.g.reserve(o); err != nil {
			end()
			return notSent(req, err)
		}
		wire = o.to.sockets
	}
	res, err := wire.RoundTrip(o.request)
	if err == nil && res.StatusCode == http.StatusSwitchingProtocols {
		if err = s.take(res); err == nil {
			end() // of the handshake
			res.Request = req
			return res, nil
		}
	}
	s.drop()
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errTimeout) {
			err = cause
		}
		end()
		o.release()
		return nil, err
	}
	if o.call.stream != zone.NoStream && !o.socket {
		timer.Stop() // it may last
	}
	res.Request = req
	res.Body = newAnswerBody(ctx, res.Body, func() { end(); o.release() })
	return res, nil
}

// errOver is the end of a call whose answer was read or closed.
var errOver = errors.New("guard: the call is over")

// errTimeout is the end of a call that took longer than Config.CallTimeout.
var errTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string   { return "guard: the call took longer than its timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }
func (timeoutError) Is(err error) bool {
	return err == context.DeadlineExceeded
}

func notSent(req *http.Request, err error) (*http.Response, error) {
	if req.Body != nil {
		_ = req.Body.Close() // a RoundTripper closes the body, also on errors
	}
	return nil, &CallError{Service: req.URL.Host, Method: method(req), Path: req.URL.EscapedPath(), Err: err}
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (t *transport) CloseIdleConnections() {
	if b := t.g.book.Load(); b != nil && b.calls != nil {
		b.calls.close()
	}
}

// withheld says whether a header that the caller of Client set stays here:
// credentials of the outside, which never travel inside, what belongs to a
// connection, and what is set anew.
func withheld(name string) bool {
	switch name = http.CanonicalHeaderKey(name); name {
	case "Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key",
		"Connection", "Upgrade", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Expect", "Host",
		headerCorrelation, headerTrace:
		return true
	}
	return inside(name)
}

func method(req *http.Request) string {
	if req.Method == "" {
		return http.MethodGet
	}
	return req.Method
}
