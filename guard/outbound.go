package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/zone"
)

// outbound is a call that is about to be sent.
type outbound struct {
	request *http.Request
	to      *callee
	call    *call
	body    *httpsig.Body   // nil: the caller's own
	socket  bool            // it is the opening handshake of a WebSocket
	life    context.Context //nolint:containedctx // of the request whose right the call uses; nil: of none
}

// prepare returns the request to send: the caller's, with the headers of the
// inside and a body whose digest is known.
func (g *Guard) prepare(ctx context.Context, b *book, req *http.Request) (*outbound, error) {
	to, c, err := b.declared(req)
	if err != nil {
		return nil, err
	}
	in := inboundFrom(req.Context())
	tok, err := g.tokenFor(ctx, in, c)
	if err != nil {
		return nil, err
	}
	o := &outbound{to: to, call: c, socket: c.opensSocket(req)}
	if in != nil && !c.asService {
		o.life = in.life
	}
	if in == nil { // a service that acts for itself begins a business action of its own
		in = &inbound{correlationID: correlationOf(nil), trace: traceOf(nil), client: nobody}
	}
	out := req.WithContext(withProof(ctx, c.proof))
	u := *req.URL
	out.URL, out.Host, out.Trailer = &u, "", nil
	out.Header = make(http.Header, len(req.Header)+8)
	for name, values := range req.Header {
		if !withheld(name) {
			out.Header[name] = values
		}
	}
	if o.socket { // its other fields are between the two ends of the socket
		out.Header["Connection"], out.Header["Upgrade"], out.Close = []string{"Upgrade"}, []string{"websocket"}, false
	}
	if c.stream == zone.StreamGRPC {
		out.Header["Te"] = []string{"trailers"} // RFC 9113 section 8.2.2
	}
	out.Header[headerToken] = []string{tok}
	out.Header[headerCorrelation] = []string{in.correlationID}
	out.Header[headerTrace] = []string{in.trace.next().String()}
	out.Header[httpsig.ClientHeader] = []string{firstOf(in.client, nobody)}
	o.request = out
	if to.id.IsZero() {
		out.Header[headerCaller] = []string{b.slice.Service} // no certificate says it
		return o, nil
	}
	out.URL.Scheme = "https"
	return o, o.digest(g.spool)
}

// tokenFor returns the token that a call carries: the one of the request in hand,
// or for `as: service` one of this service.
func (g *Guard) tokenFor(ctx context.Context, in *inbound, c *call) (string, error) {
	if !c.asService {
		switch {
		case in == nil || in.token == "":
			return "", ErrNoRequest
		case in.itself:
			return "", fmt.Errorf("%w: it is that of %s alone", ErrNoRequest, in.caller)
		}
		return in.token, nil
	}
	tok, err := g.ownTokenFor(ctx)
	if err != nil {
		return "", fmt.Errorf("%w: token of the service itself: %w", ErrNotReady, err)
	}
	return tok, nil
}

// digest takes the body to its end and says what it is in the header, so that the
// proof covers it.
func (o *outbound) digest(spool *httpsig.Spool) error {
	out := o.request
	if o.call.proof.NoDigest {
		return nil
	}
	if out.Body == nil || out.Body == http.NoBody {
		out.Header[httpsig.DigestHeader] = []string{httpsig.EmptyDigest}
		return nil
	}
	body, err := spool.TakeSized(out.Body, out.ContentLength, o.call.body)
	if err != nil {
		return err
	}
	_ = out.Body.Close()
	at, ok := body.ReadSeeker.(io.ReaderAt) // bytes.Reader or os.File
	if !ok {
		_ = body.Close()
		return errors.New("guard: a body that cannot be read twice")
	}
	o.body = body
	out.ContentLength, out.TransferEncoding = body.Size, nil
	out.GetBody = func() (io.ReadCloser, error) {
		if body.Size == 0 {
			return http.NoBody, nil
		}
		return io.NopCloser(io.NewSectionReader(at, 0, body.Size)), nil
	}
	out.Body, _ = out.GetBody()
	out.Header[httpsig.DigestHeader] = []string{httpsig.FormatDigest(body.Sum)}
	return nil
}

// release gives back what the call takes.
func (o *outbound) release() {
	if o.body != nil {
		_ = o.body.Close()
	}
}

// declared says whether the map lets this service make the call.
func (b *book) declared(req *http.Request) (*callee, *call, error) {
	u := req.URL
	if u.Scheme != "http" || u.Opaque != "" || u.User != nil {
		return nil, nil, fmt.Errorf("%w: the URL is not http://SERVICE/path", ErrUndeclared)
	}
	to := b.calls.to[u.Host]
	if to == nil {
		return nil, nil, ErrUndeclared
	}
	rt, found := to.matcher.Match(method(req), u.EscapedPath(), nil)
	if found != zone.Matched {
		return nil, nil, ErrUndeclared
	}
	c := to.calls[rt]
	switch {
	case c.closed != "":
		return nil, nil, fmt.Errorf("%w: %s", ErrNotEnforced, c.closed)
	case len(to.upstreams) == 0 && to.id.IsZero():
		return nil, nil, fmt.Errorf("%w: the service has no inner door, and no upstream on this host", ErrNotEnforced)
	case len(to.upstreams) == 0:
		return nil, nil, fmt.Errorf("%w: the map gives no address of the service's inner door", ErrNotEnforced)
	}
	return to, c, nil
}

// answerBody is the body of an answer, at whose end the call is over.
type answerBody struct {
	io.ReadCloser
	ctx  context.Context //nolint:containedctx // it is the call's own life
	over func()
}

func newAnswerBody(ctx context.Context, body io.ReadCloser, over func()) *answerBody {
	return &answerBody{body, ctx, sync.OnceFunc(over)}
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		return n, nil
	}
	// A callee that sees the call end may end its answer in good form: it is not
	// the whole answer for that.
	if cause := context.Cause(b.ctx); cause != nil && err == io.EOF && !errors.Is(cause, errOver) {
		err = cause
	}
	b.over()
	return n, err
}

func (b *answerBody) Close() error {
	defer b.over()
	return b.ReadCloser.Close()
}
