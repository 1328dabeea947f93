package gateway

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// answer gives the service's answer to the client. The record is kept before the
// last byte of the body leaves: a client that holds a whole answer holds one
// that is on record. A refusal returned before the head has left is answered as
// any other; after that it means that the connection must be broken off.
func (g *Gateway) answer(t *trip, x *exchange) problem.Reason {
	t.status, t.reason = x.status, problem.OK
	if svc := t.route.Service; svc != nil && svc.InnerDoor() {
		t.reason = x.reason()
	}
	if x.framing == noBody {
		x.finish()
		return g.answerWhole(t, x, nil)
	}
	if t.route.Stream == zone.StreamSSE && x.eventStream() {
		return g.answerStream(t, x)
	}
	buf := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(buf)
	if x.length > pieceSize {
		return g.answerPieces(t, x, buf, 0)
	}
	n, err := x.fill(buf[:])
	switch err {
	case io.EOF: // most answers are this small: the connection inside is free before the client is served
		x.finish()
		return g.answerWhole(t, x, buf[:n])
	case nil:
		return g.answerPieces(t, x, buf, n)
	}
	return t.cutInside(x, err)
}

// answerWhole gives an answer that is in memory as a whole. body is nil for
// answers without one.
func (g *Gateway) answerWhole(t *trip, x *exchange, body []byte) problem.Reason {
	t.bytesOut = int64(len(body))
	if r := g.record(t); r != problem.OK {
		return r
	}
	length := int64(len(body))
	if x.framing == noBody && (t.r.Method == http.MethodHead || x.status == http.StatusNotModified) {
		length = x.length // what the same GET would have had (RFC 9110 section 8.6)
	}
	t.head(x, length)
	t.w.WriteHeader(x.status)
	if len(body) > 0 {
		_, _ = t.w.Write(body) // a client that is gone gets nothing; the record stands
	}
	return problem.OK
}

// answerPieces gives an answer that begins with buf[:n] and has more. The last
// byte read is held back until another has come or the record is kept, so no
// piece waits for the next one.
func (g *Gateway) answerPieces(t *trip, x *exchange, buf *[pieceSize]byte, n int) problem.Reason {
	t.head(x, x.length)
	t.w.WriteHeader(x.status)
	for {
		if n > 1 {
			m, err := t.w.Write(buf[:n-1])
			t.bytesOut += int64(m)
			if err != nil {
				return t.cutOutside(err)
			}
			buf[0], n = buf[n-1], 1
		}
		m, err := x.Read(buf[n:])
		n += m
		switch err {
		case nil:
		case io.EOF:
			x.finish()
			t.bytesOut += int64(n)
			if r := g.record(t); r != problem.OK {
				return r
			}
			_, _ = t.w.Write(buf[:n])
			return problem.OK
		default:
			return t.cutInside(x, err)
		}
	}
}

// cutInside ends a trip whose answer stopped coming from the service.
func (t *trip) cutInside(x *exchange, err error) problem.Reason {
	t.cause = err
	if ctx := t.r.Context(); x.unhook != nil && ctx.Err() != nil { // the wire was closed because the client went away
		return contextReason(ctx)
	}
	timeout := errors.Is(err, os.ErrDeadlineExceeded)
	// What we cut ourselves says nothing about the instance, nor does a quiet
	// stream, nor an answer that has used up its time: clients are slow, too.
	if !x.wasCut.Load() && (!timeout || time.Now().Before(x.wire.end)) {
		x.lease.failed(false, err)
	}
	if timeout {
		return problem.UpstreamTimeout
	}
	return problem.UpstreamProtocol
}

// cutOutside ends a trip whose answer the client does not take any more, or
// takes too slowly.
func (t *trip) cutOutside(err error) problem.Reason {
	t.cause = err
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return problem.RequestTimeout
	}
	return problem.ClientClosed
}

// head fills in the header section of the service's answer. A negative length
// means that it is not known.
func (t *trip) head(x *exchange, length int64) {
	h := t.w.Header()
	connection := nominations(x.header)
	for name, values := range x.header {
		if !passesOutward(name) || connection != nil && nominated(connection, name) {
			continue
		}
		if name == "Set-Cookie" {
			if values = withoutSession(values); values == nil {
				continue
			}
		}
		h[name] = values
	}
	if length >= 0 && x.status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	t.dress(h)
}

// reason is what the service's guard says of its refusal (problem.ReasonHeader),
// OK when it says nothing of the closed list. A service without a guard has none
// to say.
func (a *response) reason() problem.Reason {
	if a.status < 400 {
		return problem.OK
	}
	said := a.header[problem.ReasonHeader]
	if len(said) != 1 {
		return problem.OK
	}
	if r, known := problem.Parse(said[0]); known {
		return r
	}
	return problem.OK
}

// fill reads until p is full or the body ends, which is io.EOF.
func (a *response) fill(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = a.Read(p[n:])
		n += m
	}
	return n, err
}
