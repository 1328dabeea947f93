package gateway

import (
	"net/http"
	"strings"

	"sallyport.dev/internal/fieldname"
)

// The tables of this file say which header fields cross the doors. Names are
// compared in lower case whatever their spelling in the map, and a name outside
// [A-Za-z0-9-] never crosses inwards: see fieldname.

// passesInward reports whether a field of the outside request may travel to the
// service. Host, framing, the inside token, the correlation id and the trace
// are then written by the gateway itself. Cookie passes by a filter of its own.
func passesInward(name string) bool {
	var buf [fieldname.Limit]byte
	n, plain := fieldname.Fold(&buf, name)
	if !plain || fieldname.Inside(n) || fieldname.HopByHop(n) || fieldname.Unjudged(n) {
		return false
	}
	switch string(n) {
	case "host", "content-length": // rebuilt
		return false
	case "content-digest", "signature": // checked where declared; else nobody vouches for them
		return false
	case "traceparent", "tracestate", "baggage": // a new trace starts at the door
		return false
	}
	return !fieldname.HasPrefix(n, "signature-")
}

// passesOutward reports whether a field of the service's answer may travel to
// the client. Content-Length is written again after the body's framing was
// understood, Access-Control-* by the route's declared cors alone.
func passesOutward(name string) bool {
	var buf [fieldname.Limit]byte
	n, _ := fieldname.Fold(&buf, name)
	if fieldname.Inside(n) || fieldname.HopByHop(n) {
		return false
	}
	switch string(n) {
	case "content-length":
		return false
	case "server", "x-powered-by", "via": // what runs inside is nobody's business
		return false
	case "alt-svc": // would lead clients past this door (RFC 7838)
		return false
	case "traceparent", "tracestate", "baggage":
		return false
	}
	return !fieldname.HasPrefix(n, "access-control-") && !fieldname.HasPrefix(n, "x-aspnet") && !fieldname.HasPrefix(n, "sec-websocket-")
}

// nominations returns the Connection fields of a message when they name
// anything but the connection's own options, which is rare; nil else.
func nominations(h http.Header) []string {
	fields := h["Connection"]
	for _, f := range fields {
		if f != "" && !strings.EqualFold(f, "keep-alive") && !strings.EqualFold(f, "close") {
			return fields
		}
	}
	return nil
}
