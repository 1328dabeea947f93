package sidecar

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream"
)

// outbound is the handler of the listener that takes the service's calls.
type outbound struct {
	cfg     Config
	handles *handles
	own     http.Handler // answers to ownHost; nil where the peer may be anybody
	proxy   *httputil.ReverseProxy
	sockets sockets
	end     context.CancelFunc // ends the sockets
}

func newOutbound(c Config, t *handles, own http.Handler) *outbound {
	o := &outbound{cfg: c, handles: t, own: own}
	o.sockets.over, o.end = context.WithCancel(context.Background())
	o.proxy = &httputil.ReverseProxy{
		Rewrite:        o.rewrite,
		ModifyResponse: o.answer,
		ErrorHandler:   o.failed,
		Transport:      &callWire{c.Guard},
		BufferPool:     pieces{},
		ErrorLog:       log.New(io.Discard, "", 0), // it would quote the callee's answer; failed says what is to say
	}
	return o
}

// call is one call of the service.
type call struct {
	ctx    context.Context // the values of the request in hand, the life of the call
	callee string
	upload atomic.Pointer[error] // why the call's body ended early
	conn   *http.ResponseController
}

// lasts lets a call take longer than any other: it is a stream.
func (c *call) lasts() {
	_ = c.conn.SetReadDeadline(time.Time{}) // a recorder in a test has none
	_ = c.conn.SetWriteDeadline(time.Time{})
}

type callKey struct{}

func callFrom(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// ServeHTTP makes one call.
func (o *outbound) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var socket *upstream.Handshake
	if asksUpgrade(r) {
		w.Header()["Connection"] = []string{"close"} // what follows is no request, whatever the answer
		var err error
		if socket, err = handshakeOf(r); err != nil {
			o.refuse(w, r, err)
			return
		}
	}
	switch {
	case !originForm(r):
		o.refuse(w, r, problem.WithDetail(problem.RequestTarget, "send the path as the target and the callee's name as Host"))
		return
	case r.Host == ownHost && o.own != nil:
		o.own.ServeHTTP(w, r)
		return
	case !isServiceName(r.Host):
		o.refuse(w, r, problem.WithDetail(problem.RequestHost, "the Host is the name of a service, without a port"))
		return
	}
	values, err := o.requestOf(r)
	if err != nil {
		o.refuse(w, r, err)
		return
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(values))
	defer cancel(errOver)
	stop := context.AfterFunc(r.Context(), func() { cancel(context.Cause(r.Context())) })
	defer stop()
	c := &call{ctx: ctx, callee: r.Host, conn: http.NewResponseController(w)}
	if isGRPC(r) {
		c.lasts()
		o.forwardCall(w, r, c)
		return
	}
	if socket != nil {
		o.forwardSocket(w, r, c, socket)
		return
	}
	w.Header()["Content-Type"] = nil // net/http would guess one from the body
	r.Body = http.MaxBytesReader(w, r.Body, o.cfg.CallBody)
	o.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
}

// requestOf returns the context of the request that the call belongs to; of none
// when there is no handle, which leaves the calls `as: service`. A handle that is
// there must hold: it is never passed over.
func (o *outbound) requestOf(r *http.Request) (context.Context, error) {
	switch values := r.Header[headerHandle]; len(values) {
	case 0:
		return context.Background(), nil
	case 1:
		if ctx, ok := o.handles.find(values[0]); ok {
			return ctx, nil
		}
	}
	return nil, problem.New(problem.InsideHandle, nil)
}

// rewrite makes the request for guard.Client, which removes credentials and adds
// what the inside needs.
func (o *outbound) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	keep(out.Header, leavesService)
	out.Trailer = nil
	c := callFrom(pr.In.Context())
	out.URL.Scheme, out.URL.Host = "http", c.callee
	out.URL.RawQuery = pr.In.URL.RawQuery // ReverseProxy drops what it cannot parse
	out.Host = ""
	if out.Body != nil {
		out.Body = &upload{out.Body, &c.upload}
	}
}

// answer takes from the callee's answer what is for the two guards alone. A
// Sallyport-Reason in front of the service is therefore always this sidecar's.
func (o *outbound) answer(res *http.Response) error {
	keep(res.Header, answers)
	return nil
}

func (o *outbound) failed(w http.ResponseWriter, r *http.Request, err error) {
	c := callFrom(r.Context())
	o.refuse(w, r.WithContext(c.ctx), c.blame(err))
}

func (o *outbound) refuse(w http.ResponseWriter, r *http.Request, err error) {
	l := o.cfg.Log
	if isServiceName(r.Host) {
		l = l.With(slog.String("callee", r.Host))
	}
	logRefusal(l, r, "sidecar: call not made", err)
	problem.WriteError(w, err, correlationOf(r.Context()))
}

// isServiceName takes the names of the map's grammar.
func isServiceName(s string) bool {
	if len(s) == 0 || len(s) > 63 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
