package gateway

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	"sallyport.dev/internal/problem"
)

// watched stands between TLS and net/http on a connection of HTTP/1 and reads
// none of it. What net/http writes while no handler runs is its own refusal of a
// head that it could not take; the client gets our answer in its place, and the
// refusal has its record. net/http decides, this says it.
type watched struct {
	*tls.Conn
	conn    *conn
	refused bool // by Write, which net/http's goroutine of the connection calls alone
}

// Write sends what the handler answers. Outside of a handler it sends the
// refusal, once.
func (w *watched) Write(p []byte) (int, error) {
	if w.conn.handling.Load() {
		return w.Conn.Write(p)
	}
	if !w.refused {
		w.refused = true
		state := w.ConnectionState()
		answer := w.conn.listener().gateway.refuseUnread(w.conn, &state, refusedBy(p))
		_ = w.SetWriteDeadline(time.Now().Add(readerGrace)) // fails on a dead connection only; so does Write
		if _, err := w.Conn.Write(answer); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Close takes leave, but does not wait for a client that does not read: crypto/tls
// would for five seconds.
func (w *watched) Close() error {
	enough := time.AfterFunc(vigilGrace, func() { _ = w.conn.Close() })
	defer enough.Stop()
	return w.Conn.Close()
}

// refusedBy tells from net/http's answer why it refuses.
func refusedBy(answer []byte) problem.Reason {
	const status = len("HTTP/1.1 ")
	if len(answer) < status+3 {
		return problem.RequestMalformed
	}
	switch string(answer[status : status+3]) {
	case "431":
		return problem.RequestHeaderTooLarge
	case "501": // a transfer coding other than chunked
		return problem.RequestFraming
	case "417": // an expectation other than 100-continue
		return problem.RequestHeader
	}
	return problem.RequestMalformed
}

// refuseUnread keeps the record of a request that nobody could read, and
// returns the answer that its client gets. It has no method and no path.
func (g *Gateway) refuseUnread(c *conn, state *tls.ConnectionState, reason problem.Reason) []byte {
	g.underWay.Add(1)
	defer g.underWay.Add(-1)
	c.reading.Store(false)
	answer := buffer{header: make(http.Header)}
	t := g.begin(c.listener(), c, &answer, &http.Request{ProtoMajor: 1, ProtoMinor: 1, TLS: state, Header: http.Header{}})
	t.unread = true
	g.refuse(t, reason)
	g.recycle(t)
	answer.header["Connection"] = []string{"close"}
	answer.header["Date"] = []string{g.clock().UTC().Format(http.TimeFormat)}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", answer.status, http.StatusText(answer.status))
	_ = answer.header.Write(&b) // into memory
	b.WriteString("\r\n")
	b.Write(answer.body.Bytes())
	return b.Bytes()
}
