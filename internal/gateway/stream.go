package gateway

import (
	"io"
	"mime"
	"net/http"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream"
)

// isEventStream reports whether the answer is what `stream: sse` declares: a
// refusal on such a route is an ordinary answer.
func isEventStream(x *upstream.Exchange) bool {
	if x.Status != http.StatusOK {
		return false
	}
	kind, _, err := mime.ParseMediaType(x.Header.Get("Content-Type"))
	return err == nil && kind == "text/event-stream"
}

// answerStream gives a declared stream: each piece at once, for as long as both
// sides want and the credential holds, but never silent for longer than the
// bound. It leaves two records, one before the first byte and one at the end.
func (g *Gateway) answerStream(t *trip, x *upstream.Exchange) problem.Reason {
	if r := g.recordOpen(t); r != problem.OK {
		return r
	}
	v := g.watch(t, ends{cut: x.Cut, force: t.out.cutOff, drain: atOnce})
	reason := v.end(t.pump(x))
	if reason == problem.OK {
		x.Close() // not before the end of the vigil, which may close the wire until then
	}
	if reason != problem.OK {
		t.reason = reason
	}
	g.recordEnd(t)
	return reason
}

// pump moves the pieces of a stream until one side ends.
func (t *trip) pump(x *upstream.Exchange) problem.Reason {
	x.Stream(t.listener.Limits.Idle)
	t.head(x, -1)
	t.w.WriteHeader(x.Status)
	out := http.NewResponseController(t.w)
	if err := out.Flush(); err != nil { // the client waits for the head before the first event
		return t.cutOutside(err)
	}
	var buf scoop
	defer buf.drop()
	for n := 0; ; {
		var err error
		b := buf.next(n)
		n, err = x.Read(b)
		if n > 0 {
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
			return problem.OK
		default:
			return t.cutInside(err)
		}
	}
}
