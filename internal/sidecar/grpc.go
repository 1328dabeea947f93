package sidecar

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream"
)

var errSilent = errors.New("neither side said anything for too long")

// forwardGRPC sends a call of gRPC to the service and gives its answer, each while
// it comes, over HTTP/2 on both sides (gRPC over HTTP2). Trailers of the answer
// pass by the rules of any header; those of the request end here.
func (d *inbound) forwardGRPC(w http.ResponseWriter, r *http.Request, f *facts, h handle) error {
	if r.ProtoMajor != 2 {
		return problem.WithDetail(problem.RequestUpgrade, "this route takes gRPC over HTTP/2")
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(errOver)
	quiet := newSilence(d.cfg.StreamIdle, func() { cancel(errSilent) })
	defer quiet.stop()
	out := outgoings.Get().(*outgoing)
	out.fill(r, f, h)
	out.HTTP2 = true
	if out.Body != nil {
		out.Body, out.Length = &audible{Body: &content{r.Body}, quiet: quiet}, -1
	}
	x, err := d.service.Send(ctx, &out.Request)
	*out = outgoing{}
	outgoings.Put(out)
	if err != nil {
		if errors.Is(context.Cause(ctx), errSilent) {
			return problem.New(problem.UpstreamTimeout, errSilent)
		}
		return err
	}
	defer x.Close()
	outward(w.Header(), x.Header)
	w.WriteHeader(x.Status)
	to := http.NewResponseController(w)
	// An answer that ends with its head has its status there, and must end with it
	// here too ("Trailers-Only"): so nothing is sent before it is known to go on.
	if x.Length != 0 {
		_ = to.Flush() // what cannot be sent fails the next Write
	}
	buf := piecePool.Get().(*[pieceSize]byte)
	defer piecePool.Put(buf)
	for {
		n, err := x.Read(buf[:])
		if n > 0 {
			quiet.touch()
			if _, werr := w.Write(buf[:n]); werr != nil {
				return nil
			}
			_ = to.Flush() // likewise
		}
		switch {
		case err == io.EOF:
			trailers(w.Header(), x.Trailer())
			return nil
		case err != nil:
			panic(http.ErrAbortHandler)
		}
	}
}

// trailers announces what comes behind the answer.
func trailers(h, from http.Header) {
	for name, values := range from {
		if leavesDoor(name) && !strings.EqualFold(name, "Set-Cookie") {
			h[http.TrailerPrefix+name] = values
		}
	}
}

// silence ends a call on which nothing is said.
type silence struct {
	timer *time.Timer
	most  time.Duration
	ended atomic.Bool
}

func newSilence(most time.Duration, end func()) *silence {
	return &silence{timer: time.AfterFunc(most, end), most: most}
}

func (s *silence) touch() {
	if !s.ended.Load() {
		s.timer.Reset(s.most)
	}
}

func (s *silence) stop() {
	s.ended.Store(true)
	s.timer.Stop()
}

// audible is a body whose pieces are heard.
type audible struct {
	upstream.Body
	quiet *silence
}

func (a *audible) Read(p []byte) (int, error) {
	n, err := a.Body.Read(p)
	if n > 0 {
		a.quiet.touch()
	}
	return n, err
}
