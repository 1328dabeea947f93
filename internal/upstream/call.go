package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"sallyport.dev/internal/problem"
)

// call is the part of an exchange that is its own over HTTP/2: request and answer
// travel at the same time, and each may end first.
type call struct {
	conn   *h2conn
	cancel context.CancelFunc
	resp   *http.Response
	body   *callBody // nil: the request has none
}

// callBody is the body of a request as http2 takes it.
type callBody struct {
	Body
	fault  atomic.Pointer[problem.Error] // the client's
	over   sync.Once
	thrown atomic.Bool // out by this side: what Read meets from then on is no fault of the client
}

// Read reads on, and remembers whose fault it is that it cannot.
func (b *callBody) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if err != nil && err != io.EOF && !b.thrown.Load() {
		b.fault.CompareAndSwap(nil, bodyFault(context.Background(), err))
	}
	return n, err
}

// Close is http2's way to say that it reads no more. It does so from goroutines of
// its own, also after the exchange, when the body is nobody's any more: so there is
// one retirement, and endCall does not come back before it is over.
func (b *callBody) Close() error {
	b.thrown.Store(true)
	b.over.Do(b.Retire)
	return nil
}

// call sends the request to the leased instance over HTTP/2 and waits for the
// head of its answer, for as long as ctx holds: a client may send for long before
// the service has anything to say.
func (s *Set) call(ctx context.Context, l lease, r *Request) (*Exchange, *failure) {
	c, used, err := l.calls.take(ctx)
	if err != nil {
		if problem.ReasonOf(err) == problem.UpstreamBusy {
			return nil, &failure{ours: true, err: problem.New(problem.UpstreamBusy, err)}
		}
		if fault, ok := errors.AsType[*problem.Error](err); ok && fault.Reason == problem.UpstreamProtocol {
			return nil, &failure{gone: ctx.Err() != nil, err: fault}
		}
		return nil, &failure{dial: true, gone: ctx.Err() != nil, err: problem.New(problem.UpstreamUnreachable, err)}
	}
	req, err := c.request(l.instance, r, s.cfg.Prove)
	if err != nil {
		l.calls.give(c)
		return nil, &failure{ours: true, err: asFault(err)}
	}
	x := &Exchange{lease: l, ctx: ctx, call: &call{conn: c}}
	var wrote atomic.Bool
	inner, cancel := context.WithCancel(ctx)
	x.call.cancel = cancel
	inner = httptrace.WithClientTrace(inner, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	if r.Body != nil && r.Length != 0 {
		x.call.body = &callBody{Body: r.Body}
		req.Body, req.ContentLength = x.call.body, -1
		// http2 does not look at the context while it waits for the body.
		x.unhook = context.AfterFunc(inner, func() { _ = x.call.body.Close() })
	}
	x.call.resp, err = c.cc.RoundTrip(req.WithContext(inner))
	if err == nil && (x.call.resp.StatusCode < 200 || x.call.resp.StatusCode > 599) {
		err = fmt.Errorf("status %d is out of range", x.call.resp.StatusCode)
	}
	if err != nil {
		fail := x.call.broken(ctx, wrote.Load(), used, err)
		x.endCall()
		return nil, fail
	}
	x.Status, x.Header, x.Length = x.call.resp.StatusCode, x.call.resp.Header, x.call.resp.ContentLength
	return x, nil
}

func asFault(err error) *problem.Error {
	if e, ok := errors.AsType[*problem.Error](err); ok {
		return e
	}
	return problem.New(problem.RequestMalformed, err)
}

// request makes of the request what http2 takes. Its fields are those that
// HTTP/1.1 would have, written by the same hands.
func (c *h2conn) request(in *instance, r *Request, prove func([]byte, *Conn, *Request) ([]byte, error)) (*http.Request, error) {
	if !validTarget(r.Path, r.Query) {
		return nil, fmt.Errorf("target %q", r.Path)
	}
	var lines []byte
	var err error
	if r.Fields != nil {
		if lines, err = r.Fields.AppendFields(nil); err != nil {
			return nil, err
		}
	}
	if prove != nil {
		c.proving.Lock()
		lines, err = proven(lines, &c.Conn, r, prove)
		c.proving.Unlock()
		if err != nil {
			return nil, err
		}
	}
	h := http.Header{
		"Te":         {"trailers"}, // RFC 9113 section 8.2.2: the one value that there is
		"User-Agent": {""},         // none of our own
	}
	for line := range bytes.SplitSeq(bytes.TrimSuffix(lines, crlf), crlf) {
		name, value, ok := strings.Cut(string(line), ": ")
		switch name = http.CanonicalHeaderKey(name); {
		case len(line) == 0:
		case !ok || !isToken(name):
			return nil, errMalformedLine
		case name == "User-Agent":
			h[name] = []string{value}
		default:
			h[name] = append(h[name], value)
		}
	}
	return &http.Request{
		Method: r.Method, Host: r.Host, Header: h, Proto: "HTTP/2.0", ProtoMajor: 2,
		URL: &url.URL{Scheme: in.Scheme, Host: r.Host, Opaque: r.Path, RawQuery: r.Query, ForceQuery: r.HasQuery},
	}, nil
}

// broken makes a failure of an error of http2.
func (c *call) broken(ctx context.Context, wrote, used bool, err error) *failure {
	if c.body != nil && ctx.Err() == nil {
		if clients := c.body.fault.Load(); clients != nil {
			return &failure{ours: true, err: clients}
		}
	}
	f := &failure{progress: sent, gone: ctx.Err() != nil, err: problem.New(problem.UpstreamProtocol, err)}
	if !wrote {
		f.progress, f.stale = notSent, used
	}
	return f
}

// Trailer are the trailer fields of an answer over HTTP/2, nil before its end.
func (x *Exchange) Trailer() http.Header {
	if x.call == nil || !x.answer.whole {
		return nil
	}
	return x.call.resp.Trailer
}

// readCall is Read over HTTP/2.
func (x *Exchange) readCall(p []byte) (int, error) {
	if x.answer.whole {
		return 0, io.EOF
	}
	n, err := x.call.resp.Body.Read(p)
	switch {
	case err == io.EOF:
		x.answer.whole = true
	case err != nil:
		x.fault = x.blameCall(err)
		err = x.fault
	}
	return n, err
}

func (x *Exchange) blameCall(err error) *problem.Error {
	if x.ctx.Err() != nil {
		return problem.New(contextReason(x.ctx), err)
	}
	if b := x.call.body; b != nil && !x.wasCut.Load() { // else it was thrown out by us
		if clients := b.fault.Load(); clients != nil {
			return clients
		}
	}
	if !x.wasCut.Load() {
		x.lease.failed(false, err)
	}
	return problem.New(problem.UpstreamProtocol, err)
}

// endCall ends the request if it is still under way; the service is told so.
func (x *Exchange) endCall() {
	c := x.call
	x.unwatch()
	c.cancel()
	if c.body != nil {
		_ = c.body.Close() // it only retires
	}
	if c.resp != nil {
		_ = c.resp.Body.Close() // it is over or broken
	}
	x.lease.calls.give(c.conn)
}
