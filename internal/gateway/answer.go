package gateway

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream"
	"sallyport.dev/zone"
)

// answer gives the service's answer to the client. The record is kept before the
// last byte of the body leaves: a client that holds a whole answer holds one
// that is on record. A refusal returned before the head has left is answered as
// any other; after that it means that the connection must be broken off.
func (g *Gateway) answer(t *trip, x *upstream.Exchange) problem.Reason {
	t.status, t.reason = x.Status, problem.OK
	if svc := t.route.Service; svc != nil && svc.InnerDoor() {
		t.reason = saidReason(x)
	}
	if insideFault(t.reason) {
		return g.answerFault(t, x)
	}
	if x.Switched() {
		return g.answerTunnel(t, x)
	}
	if x.Empty() {
		x.Close()
		return g.answerWhole(t, x, nil)
	}
	if t.route.Stream == zone.StreamSSE && isEventStream(x) {
		return g.answerStream(t, x)
	}
	buf := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(buf)
	if x.Length > pieceSize {
		return g.answerPieces(t, x, buf, 0)
	}
	n, err := fill(x, buf[:])
	switch err {
	case io.EOF: // most answers are this small: the connection inside is free before the client is served
		x.Close()
		return g.answerWhole(t, x, buf[:n])
	case nil:
		return g.answerPieces(t, x, buf, n)
	}
	return t.cutInside(err)
}

// answerWhole gives an answer that is in memory as a whole. body is nil for
// answers without one.
func (g *Gateway) answerWhole(t *trip, x *upstream.Exchange, body []byte) problem.Reason {
	t.bytesOut = int64(len(body))
	if r := g.record(t); r != problem.OK {
		return r
	}
	length := int64(len(body))
	if x.Empty() && (t.r.Method == http.MethodHead || x.Status == http.StatusNotModified) {
		length = x.Length // what the same GET would have had (RFC 9110 section 8.6)
	}
	t.head(x, length)
	t.w.WriteHeader(x.Status)
	if len(body) > 0 {
		_, _ = t.w.Write(body) // a client that is gone gets nothing; the record stands
	}
	return problem.OK
}

// answerPieces gives an answer that begins with buf[:n] and has more. The last
// byte read is held back until another has come or the record is kept, so no
// piece waits for the next one.
func (g *Gateway) answerPieces(t *trip, x *upstream.Exchange, buf *[pieceSize]byte, n int) problem.Reason {
	t.head(x, x.Length)
	t.w.WriteHeader(x.Status)
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
			x.Close()
			t.bytesOut += int64(n)
			if r := g.record(t); r != problem.OK {
				return r
			}
			_, _ = t.w.Write(buf[:n])
			return problem.OK
		default:
			return t.cutInside(err)
		}
	}
}

// cutInside ends a trip whose answer stopped coming from the service.
func (t *trip) cutInside(err error) problem.Reason {
	t.cause = err
	return problem.ReasonOf(err)
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
func (t *trip) head(x *upstream.Exchange, length int64) {
	h := t.w.Header()
	connection := nominations(x.Header)
	for name, values := range x.Header {
		if !passesOutward(name) || connection != nil && upstream.Nominated(connection, name) {
			continue
		}
		if name == "Set-Cookie" {
			if values = withoutOurs(values); values == nil {
				continue
			}
		}
		h[name] = values
	}
	if length >= 0 && x.Status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	t.dress(h)
}

// saidReason is what the service's guard says of its refusal (problem.ReasonHeader),
// OK when it says nothing of the closed list. A service without a guard has none
// to say.
func saidReason(x *upstream.Exchange) problem.Reason {
	if x.Status < 400 {
		return problem.OK
	}
	said := x.Header[problem.ReasonHeader]
	if len(said) != 1 {
		return problem.OK
	}
	if r, known := problem.Parse(said[0]); known {
		return r
	}
	return problem.OK
}

// fill reads until p is full or the body ends, which is io.EOF.
func fill(x *upstream.Exchange, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = x.Read(p[n:])
		n += m
	}
	return n, err
}
