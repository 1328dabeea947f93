package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// reply gives a final answer from memory: a refusal, or the answer of a built-in
// handler. The record is kept first; when it cannot be, the client gets that
// refusal in its place. Fields of h travel by the same table as a service's, but
// a built-in handler may set the session cookie. reply keeps neither h nor body.
func (g *Gateway) reply(t *trip, status int, h http.Header, body []byte) {
	t.status, t.bytesOut = status, 0
	if t.r.Method != http.MethodHead {
		t.bytesOut = int64(len(body))
	}
	if r := g.record(t); r != problem.OK {
		status = r.Status()
		h, body = document(t, r)
	}
	out := t.w.Header()
	for name, values := range h {
		if passesOutward(name) || t.answersOrigins() && strings.HasPrefix(name, "Access-Control-") {
			out[name] = values
		}
	}
	if status != http.StatusNoContent && status != http.StatusNotModified {
		out["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	t.dress(out)
	t.w.WriteHeader(status)
	if len(body) > 0 && t.r.Method != http.MethodHead {
		_, _ = t.w.Write(body) // a client that is gone gets nothing; the record stands
	}
}

// refuse answers with the problem document of a reason. What a stage has put
// into t.extra (Allow, Retry-After, WWW-Authenticate) goes with it.
func (g *Gateway) refuse(t *trip, r problem.Reason) {
	t.reason = r
	if t.route != nil && t.route.Stream == zone.StreamGRPC {
		// Beside the status of HTTP: a client that reads these need not guess from it,
		// and one that looks at HTTP first sees the refusal that it is.
		t.extra["Grpc-Status"], t.extra["Grpc-Message"] = []string{grpcStatus(r)}, []string{grpcMessage(r)}
	}
	h, body := document(t, r)
	g.reply(t, r.Status(), h, body)
}

// document makes the problem document (RFC 9457) of a reason.
func document(t *trip, r problem.Reason) (http.Header, []byte) {
	body, err := json.Marshal(problem.Document{
		Type:          "urn:sallyport:reason:" + r.Code(),
		Title:         r.Title(),
		Status:        r.Status(),
		Detail:        t.detail,
		CorrelationID: t.CorrelationID,
	})
	if err != nil { // strings and an int always marshal
		body = []byte("{}")
	}
	return http.Header{
		"Content-Type":  {problem.ContentType},
		"Cache-Control": {"no-store"},
	}, body
}
