package guard

import (
	"errors"
	"fmt"
	"net/http"

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
	// version does not enforce yet (`as: service`, an upstream away from this host).
	ErrNotEnforced = errors.New("declared in a way that is not enforced yet")

	// ErrNotReady says that the guard has no map in force; see Guard.Ready.
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
// Protect, whose inside token, correlation id and trace go along, so that the
// callee judges the same principal. Authorization, Cookie and the headers of the
// inside that the caller set are removed. Redirects are not followed, no proxy
// is used, and every call ends after Config.CallTimeout; the size of an answer
// is for the caller to bound.
//
//	req, err := http.NewRequestWithContext(r.Context(), "GET", "http://accounts/accounts/"+id, nil)
//	...
//	res, err := g.Client().Do(req)
func (g *Guard) Client() *http.Client { return g.client }

func newClient(g *Guard) *http.Client {
	return &http.Client{
		Transport:     &transport{g},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       g.cfg.CallTimeout,
	}
}

// transport sends what the map declares and refuses the rest.
type transport struct{ g *Guard }

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	b, err := t.g.current()
	if err != nil {
		return notSent(req, fmt.Errorf("%w: %w", ErrNotReady, err))
	}
	out, err := b.outbound(req)
	if err != nil {
		return notSent(req, err)
	}
	return b.calls.wire.RoundTrip(out)
}

func notSent(req *http.Request, err error) (*http.Response, error) {
	if req.Body != nil {
		_ = req.Body.Close() // a RoundTripper closes the body, also on errors
	}
	return nil, &CallError{Service: req.URL.Host, Method: method(req), Path: req.URL.EscapedPath(), Err: err}
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (t *transport) CloseIdleConnections() {
	if b := t.g.book.Load(); b != nil {
		b.calls.wire.CloseIdleConnections()
	}
}

// outbound returns the request to send: the caller's, with the headers of the inside.
func (b *book) outbound(req *http.Request) (*http.Request, error) {
	if err := b.declared(req); err != nil {
		return nil, err
	}
	in := inboundFrom(req.Context())
	if in == nil || in.token == "" {
		return nil, ErrNoRequest
	}
	out := req.WithContext(req.Context())
	out.Host = ""
	out.Header = make(http.Header, len(req.Header)+4)
	for name, values := range req.Header {
		if !withheld(name) {
			out.Header[name] = values
		}
	}
	out.Header[headerToken] = []string{in.token}
	out.Header[headerCorrelation] = []string{in.correlationID}
	out.Header[headerTrace] = []string{in.trace.next().String()}
	out.Header[headerCaller] = []string{b.slice.Service}
	return out, nil
}

// declared says whether the map lets this service make the call.
func (b *book) declared(req *http.Request) error {
	u := req.URL
	if u.Scheme != "http" || u.Opaque != "" || u.User != nil {
		return fmt.Errorf("%w: the URL is not http://SERVICE/path", ErrUndeclared)
	}
	callee := b.calls.to[u.Host]
	if callee == nil {
		return ErrUndeclared
	}
	rt, found := callee.matcher.Match(method(req), u.EscapedPath(), nil)
	if found != zone.Matched {
		return ErrUndeclared
	}
	switch {
	case callee.asService[rt]:
		return fmt.Errorf("%w: as: service", ErrNotEnforced)
	case len(callee.upstreams) == 0:
		return fmt.Errorf("%w: no upstream of the service is on this host", ErrNotEnforced)
	}
	return nil
}

// withheld says whether a header that the caller of Client set stays here:
// credentials of the outside, which never travel inside, what belongs to a
// connection, and what is set anew.
func withheld(name string) bool {
	switch name = http.CanonicalHeaderKey(name); name {
	case "Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key",
		"Connection", "Upgrade", "Keep-Alive", "Proxy-Connection", "Te", "Host",
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
