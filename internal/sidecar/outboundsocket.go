package sidecar

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream"
)

// sockets are the WebSockets that the service has open at others.
type sockets struct {
	over context.Context //nolint:containedctx // ends when the sidecar drains
	open sync.WaitGroup
}

// forwardSocket opens a WebSocket by guard.Client and moves what passes on it. The
// guard ends it, with the request that its handle names and when the map takes the
// right. An answer that is no 101 is passed on whole, and is the last of its
// connection.
func (o *outbound) forwardSocket(w http.ResponseWriter, r *http.Request, c *call, asked *upstream.Handshake) {
	out := r.WithContext(c.ctx)
	u := *r.URL
	u.Scheme, u.Host = "http", c.callee
	out.URL, out.Host, out.RequestURI = &u, "", ""
	out.Header, out.Body = make(http.Header, len(r.Header)), http.NoBody
	for name, values := range r.Header {
		if leavesService(name) && !upstream.Nominated(r.Header["Connection"], name) {
			out.Header[name] = values
		}
	}
	out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	res, err := o.cfg.Guard.Client().Do(out)
	if err != nil {
		o.refuse(w, r.WithContext(c.ctx), c.blame(err))
		return
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusSwitchingProtocols {
		err = o.answerSocket(w, res, c, asked)
	} else if res, err = plainAnswer(res); err == nil {
		length := res.ContentLength
		if res.StatusCode == http.StatusNotModified {
			length = -1 // net/http's 0 is not that of the page
		}
		head(w, res.StatusCode, res.Header, length)
		buf := piecePool.Get().(*[pieceSize]byte)
		defer piecePool.Put(buf)
		pump(w, res.Body, buf, 0, length < 0)
	}
	if err != nil {
		o.refuse(w, r.WithContext(c.ctx), c.blame(err))
	}
}

// answerSocket gives the callee's 101, when it accepts the handshake, and what
// follows it.
func (o *outbound) answerSocket(w http.ResponseWriter, res *http.Response, c *call, asked *upstream.Handshake) error {
	conn, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		return errStatus
	}
	if err := asked.Accept(res.Header); err != nil {
		return problem.New(problem.UpstreamProtocol, err)
	}
	o.sockets.open.Add(1) // before the server forgets the connection
	defer o.sockets.open.Done()
	why, err := openTunnel(o.sockets.over, w, res.Header, called{conn}, o.cfg.StreamIdle, o.cfg.TunnelRest)
	if err != nil {
		return problem.New(problem.InternalError, err)
	}
	if p, ok := errors.AsType[*problem.Error](why); ok { // the guard ended it, and says what for
		o.cfg.Log.LogAttrs(c.ctx, slog.LevelInfo, "sidecar: WebSocket of the service ended",
			slog.String("callee", c.callee), slog.String("reason", p.Reason.Code()), slog.String("correlation_id", correlationOf(c.ctx)))
	}
	return nil
}

// await waits for the sockets to be over.
func (o *outbound) await(ctx context.Context) {
	done := make(chan struct{})
	go func() { o.sockets.open.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// called is the far end of a tunnel to a callee.
type called struct{ io.ReadWriteCloser }

func (c called) CloseWrite() error {
	if half, ok := c.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.New("sidecar: a callee whose one direction cannot be ended")
}

// Cut does not wait for TLS to take leave of a callee that does not read.
func (c called) Cut() { go func() { _ = c.Close() }() }
