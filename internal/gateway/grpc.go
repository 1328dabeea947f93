package gateway

import (
	"context"
	"encoding/binary"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream"
)

// openGRPC judges the head of a call (gRPC over HTTP2, "Requests").
func openGRPC(t *trip) problem.Reason {
	if t.r.ProtoMajor != 2 {
		t.detail = "this route takes gRPC over HTTP/2"
		return problem.RequestUpgrade
	}
	if types := t.r.Header["Content-Type"]; len(types) != 1 || !isGRPC(types[0]) {
		t.detail = "this route takes application/grpc"
		return problem.RequestContent
	}
	return problem.OK
}

// isGRPC says whether a content type is that of gRPC, in whatever encoding of its
// messages; application/grpc-web is another protocol.
func isGRPC(contentType string) bool {
	const kind = "application/grpc"
	rest, ok := strings.CutPrefix(contentType, kind)
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// timeoutGrace: a service that knows of the deadline answers at it, and says more
// than we could.
const timeoutGrace = time.Second

// callTimeout reads grpc-timeout: at most eight digits and a unit.
func callTimeout(h http.Header) (d time.Duration, ok bool) {
	v := h["Grpc-Timeout"]
	if len(v) != 1 || len(v[0]) < 2 || len(v[0]) > 9 {
		return 0, false
	}
	digits, unit := v[0][:len(v[0])-1], v[0][len(v[0])-1]
	n, err := strconv.ParseUint(digits, 10, 32)
	at := strings.IndexByte("HMSmun", unit)
	if err != nil || at < 0 {
		return 0, false
	}
	of := [...]time.Duration{time.Hour, time.Minute, time.Second, time.Millisecond, time.Microsecond, 1}[at]
	if n > uint64(math.MaxInt64/of) {
		return math.MaxInt64, true
	}
	return time.Duration(n) * of, true
}

// callBody is the request of a call on its way in: as many messages as the client
// likes, at its own pace, but none larger than the body of any other request. Its
// trailers end here: gRPC has none, and where they cross an early answer net/http
// ends the connection, which is that of others too.
type callBody struct {
	*body
	messages messages
	quiet    *silence
}

// Read reads on.
func (b *callBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if n > 0 {
		b.quiet.touch()
		if !b.messages.pass(p[:n]) {
			return 0, problem.New(problem.RequestBodyTooLarge, nil)
		}
	}
	return n, err
}

// messages finds where messages begin: a flag, four bytes of length, the message.
type messages struct {
	limit  int64
	left   int64 // of the message under way
	prefix [5]byte
	have   int // of the prefix
}

// pass reports false when a message is larger than the limit.
func (m *messages) pass(p []byte) bool {
	for len(p) > 0 {
		if m.left > 0 {
			n := min(m.left, int64(len(p)))
			m.left -= n
			p = p[n:]
			continue
		}
		n := copy(m.prefix[m.have:], p)
		m.have += n
		p = p[n:]
		if m.have == len(m.prefix) {
			m.have, m.left = 0, int64(binary.BigEndian.Uint32(m.prefix[1:]))
			if m.left > m.limit {
				return false
			}
		}
	}
	return true
}

// forwardCall sends a call to the service and the answer to the client, each while
// it comes. It leaves two records: one before anything is sent, since a client may
// stream for hours before the service says a word, and one at the end.
func (g *Gateway) forwardCall(t *trip) problem.Reason {
	if r := g.recordOpen(t); r != problem.OK {
		return r
	}
	ctx, cancel := context.WithCancel(t.r.Context())
	defer cancel()
	timeout, bounded := callTimeout(t.r.Header)
	if bounded = bounded && timeout < math.MaxInt64-timeoutGrace; bounded {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, timeout+timeoutGrace)
		defer stop()
	}
	began := time.Now()
	quiet := await(t.listener.Limits.Idle, cancel)
	var lasts drainedCall
	v := g.watch(t, ends{cut: cancel, force: t.out.cutOff, drain: lasts.drained})
	x, reason := g.call(ctx, t, quiet)
	if reason == problem.OK {
		defer x.Close()
		t.status, t.reason = x.Status, problem.OK
		quiet.touch()
		if !isCallAnswer(x) { // a refusal, or no service of gRPC
			reason = g.answer(t, x)
			x = nil
		} else {
			reason = carry(t, x, quiet, &lasts)
		}
	}
	if quiet.stop() && reason != problem.OK {
		reason = problem.UpstreamTimeout
	}
	if bounded && reason == problem.UpstreamProtocol && time.Since(began) >= timeout {
		reason = problem.UpstreamTimeout // the service broke it off at the deadline, as gRPC does
		<-ctx.Done()                     // so does the client, which knows best what to make of it
	}
	if r := v.end(reason); !t.recorded {
		reason = r
	}
	if x == nil || !t.out.started { // no answer of gRPC has begun: it ends as any other
		return reason
	}
	return g.endCall(t, x, reason)
}

// isCallAnswer says whether the service answers as gRPC does, whatever the status
// of the call.
func isCallAnswer(x *upstream.Exchange) bool {
	types := x.Header["Content-Type"]
	return x.Status == http.StatusOK && len(types) == 1 && isGRPC(types[0])
}

// call sends the request and waits for the head of the answer.
func (g *Gateway) call(ctx context.Context, t *trip, quiet *silence) (*upstream.Exchange, problem.Reason) {
	out := outgoings.Get().(*outgoing)
	t.outgoing(out)
	out.HTTP2 = true
	if out.Body != nil {
		b := &callBody{body: t.body, messages: messages{limit: t.route.bodyLimit}, quiet: quiet}
		t.body.unhurried()
		out.Body, out.Length = b, -1
	}
	x, err := t.route.service.Send(ctx, &out.Request)
	*out = outgoing{}
	outgoings.Put(out)
	if err != nil {
		return nil, t.notSent(err)
	}
	return x, problem.OK
}

// carry gives the answer to the client as it comes, but for its end: see endCall.
func carry(t *trip, x *upstream.Exchange, quiet *silence, lasts *drainedCall) problem.Reason {
	var buf scoop
	defer buf.drop()
	out := http.NewResponseController(t.w)
	// An answer that ends with its head has its status there, and must end with it
	// here too ("Trailers-Only"): so nothing is sent before it is known to go on.
	if x.Length != 0 {
		t.callHead(x)
		lasts.answered.Store(true)
		if err := out.Flush(); err != nil {
			return t.cutOutside(err)
		}
	}
	for n := 0; ; {
		var err error
		b := buf.next(n)
		n, err = x.Read(b)
		if n > 0 {
			quiet.touch()
			m, werr := t.w.Write(b[:n])
			t.bytesOut += int64(m)
			if werr == nil {
				werr = out.Flush()
			}
			if werr != nil {
				return t.cutOutside(werr)
			}
		}
		switch err {
		case nil:
		case io.EOF:
			if !t.out.started {
				t.callHead(x)
			}
			return problem.OK
		default:
			return t.cutInside(err)
		}
	}
}

// drainedCall tells what of a draining gateway's calls is a stream that would go on:
// a unary call has its answer and its end at once, and may be waited for.
type drainedCall struct {
	answered atomic.Bool // the head of the answer is there
	seen     bool        // by an earlier look; of the vigil's goroutine alone
}

// drained is for ends.drain.
func (c *drainedCall) drained() bool {
	was := c.seen
	c.seen = c.answered.Load()
	return was
}

// callHead sends the head of the answer, which says what trailers will come where
// the service has said so.
func (t *trip) callHead(x *upstream.Exchange) {
	t.head(x, -1)
	t.w.WriteHeader(x.Status)
}

// endCall keeps the record of the end and then sends the trailers: the service's,
// or, when the call was cut, our own in their place. gRPC has its status there, so
// a client that holds one holds the end of the call.
func (g *Gateway) endCall(t *trip, x *upstream.Exchange, reason problem.Reason) problem.Reason {
	reason = g.whoWent(reason)
	t.reason = reason
	h := t.w.Header()
	switch {
	case reason == problem.OK:
		for name, values := range x.Trailer() {
			if passesOutward(name) && name != "Set-Cookie" {
				h[http.TrailerPrefix+name] = values
			}
		}
		t.tagStatus(x.Header, x.Trailer())
	case reason == problem.ClientClosed, reason == problem.RequestTimeout:
		return reason // nobody is there, or takes no more
	default:
		g.logCause(t, reason)
		h[http.TrailerPrefix+"Grpc-Status"] = []string{grpcStatus(reason)}
		h[http.TrailerPrefix+"Grpc-Message"] = []string{grpcMessage(reason)}
	}
	g.recordEnd(t)
	return problem.OK
}

// tagStatus tells the record the status of the call: that of HTTP is always 200.
func (t *trip) tagStatus(sections ...http.Header) {
	for _, h := range sections {
		if v := h["Grpc-Status"]; len(v) == 1 {
			if n, err := strconv.ParseUint(v[0], 10, 8); err == nil {
				t.tags = append(t.tags, "grpc_status:"+strconv.FormatUint(n, 10))
				return
			}
		}
	}
}

// grpcStatus is the status code of gRPC that says what a reason says.
func grpcStatus(r problem.Reason) string {
	switch r {
	case problem.OwnerDenied:
		return "5" // NOT_FOUND
	case problem.ClientClosed:
		return "1" // CANCELLED
	}
	switch r.Status() {
	case http.StatusBadRequest, http.StatusMisdirectedRequest, http.StatusUnsupportedMediaType:
		return "3" // INVALID_ARGUMENT
	case http.StatusUnauthorized:
		return "16" // UNAUTHENTICATED
	case http.StatusForbidden:
		return "7" // PERMISSION_DENIED
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return "12" // UNIMPLEMENTED
	case http.StatusRequestTimeout:
		return "4" // DEADLINE_EXCEEDED
	case http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge, http.StatusTooManyRequests:
		return "8" // RESOURCE_EXHAUSTED
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return "14" // UNAVAILABLE
	}
	return "13" // INTERNAL
}

// grpcMessage: codes and titles are plain ASCII, so nothing has to be escaped.
func grpcMessage(r problem.Reason) string { return r.Code() + ": " + r.Title() }
