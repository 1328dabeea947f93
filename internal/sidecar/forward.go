package sidecar

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"sallyport.dev/guard"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream"
)

var (
	errTooLong = errors.New("the whole request took too long")
	errOver    = errors.New("the request is over")
)

// forward sends a request to the service over HTTP/1.1 and gives its answer, be it
// an event stream or the tunnel of a WebSocket. An error is a refusal of which nothing has been written.
func (d *inbound) forward(w http.ResponseWriter, r *http.Request, f *facts, h handle, upgrade *upstream.Handshake) error {
	out := outgoings.Get().(*outgoing)
	out.fill(r, f, h)
	out.Handshake = upgrade
	ctx, settle := r.Context(), func() {}
	if out.Length != 0 { // without a body the bounds of the answer are enough
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		whole := time.AfterFunc(d.cfg.AnswerTime, func() { cancel(errTooLong) })
		settle = func() { whole.Stop() }
		defer cancel(errOver)
		defer whole.Stop()
	}
	x, err := d.service.Send(ctx, &out.Request)
	*out = outgoing{} // the body is over: Send waits for it
	outgoings.Put(out)
	if err != nil {
		if errors.Is(context.Cause(ctx), errTooLong) {
			return problem.New(problem.UpstreamTimeout, errTooLong)
		}
		return err
	}
	defer x.Close()
	if x.Switched() {
		return d.answerTunnel(r.Context(), w, x)
	}
	if guard.Stream(r.Context()) == "sse" && isEventStream(x.Status, x.Header) {
		settle()
		x.Stream(d.cfg.StreamIdle)
		d.answerStream(w, x)
		return nil
	}
	d.answer(w, r, x)
	return nil
}

// answer gives the service's answer. One that ends early breaks the connection
// off: nobody may take it for whole. Where the writer in front takes no more,
// which is the guard's when it holds an answer back, the rest is the writer's to
// say.
func (d *inbound) answer(w http.ResponseWriter, r *http.Request, x *upstream.Exchange) {
	if x.Empty() {
		length := int64(0)
		if r.Method == http.MethodHead || x.Status == http.StatusNotModified {
			length = x.Length // what the same GET would have had (RFC 9110 section 8.6)
		}
		x.Close()
		head(w, x.Status, x.Header, length)
		return
	}
	buf := piecePool.Get().(*[pieceSize]byte)
	defer piecePool.Put(buf)
	n, err := x.Read(buf[:])
	for x.Length >= 0 && err == nil && n < len(buf) { // of one without a length nobody knows when more comes
		var m int
		m, err = x.Read(buf[n:])
		n += m
	}
	if err == io.EOF { // most answers: the service's connection is free before ours is written to
		x.Close()
		head(w, x.Status, x.Header, int64(n))
		_, _ = w.Write(buf[:n]) // who is gone gets nothing
		return
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	head(w, x.Status, x.Header, x.Length)
	pump(w, x, buf, n, x.Length < 0)
}

// answerStream gives an event stream: each piece at once, the head first.
func (d *inbound) answerStream(w http.ResponseWriter, x *upstream.Exchange) {
	head(w, x.Status, x.Header, -1)
	buf := piecePool.Get().(*[pieceSize]byte)
	defer piecePool.Put(buf)
	pump(w, x, buf, 0, true)
}

// pump moves the pieces of an answer, of which buf[:n] is there already.
func pump(w http.ResponseWriter, from io.Reader, buf *[pieceSize]byte, n int, flush bool) {
	out := http.NewResponseController(w)
	for err := error(nil); ; n, err = from.Read(buf[:]) {
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
		}
		switch {
		case err == io.EOF:
			return
		case err != nil:
			panic(http.ErrAbortHandler)
		case flush:
			_ = out.Flush() // what cannot be sent fails the next Write
		}
	}
}

// head writes the head of an answer, without what is not the service's to say.
func head(w http.ResponseWriter, status int, from http.Header, length int64) {
	h := w.Header()
	outward(h, from)
	if h["Content-Type"] == nil {
		h["Content-Type"] = nil // net/http would guess one from the body
	}
	if length >= 0 && status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	w.WriteHeader(status)
}

// outward copies the fields of an answer that go on.
func outward(h, from http.Header) {
	connection := nominations(from)
	for name, values := range from {
		if leavesDoor(name) && (connection == nil || !upstream.Nominated(connection, name)) {
			h[name] = values
		}
	}
}

// isEventStream says whether an answer is what `stream: sse` declares: a refusal
// on such a route is an ordinary answer.
func isEventStream(status int, h http.Header) bool {
	if status != http.StatusOK {
		return false
	}
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && kind == "text/event-stream"
}
