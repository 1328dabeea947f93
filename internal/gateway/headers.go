package gateway

import (
	"net/http"
	"strings"
)

// The tables of this file say which header fields cross the doors. Names are
// compared in lower case whatever their spelling in the map, and a name outside
// [A-Za-z0-9-] never crosses inwards: CGI-like services fold X_User_Id and
// X.User.Id into X-User-Id.

// foldLimit is longer than every name and prefix of the tables.
const foldLimit = 32

// fold puts the lower case of name into buf, cut at foldLimit. It reports
// whether every byte of the whole name is a letter, a digit or a hyphen.
func fold(buf *[foldLimit]byte, name string) (folded []byte, plain bool) {
	plain = name != ""
	for i := range len(name) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-':
		default:
			plain = false
		}
		if i < foldLimit {
			buf[i] = c
		}
	}
	return buf[:min(len(name), foldLimit)], plain
}

// insideName reports whether a folded name belongs to the inside vocabulary
// (INTERFACE section 3): only the gateway may say these inwards, and nobody
// says them outwards.
func insideName(name []byte) bool {
	switch string(name) {
	case "txn-token", "x-client-id", "x-caller", "x-correlation-id":
		return true
	}
	return hasPrefix(name, "x-user-") || hasPrefix(name, "sallyport-")
}

// hopByHop reports whether a folded name is meaningful for one connection only
// (RFC 9110 section 7.6.1). What Connection names besides is found by upstream.Nominated.
func hopByHop(name []byte) bool {
	switch string(name) {
	case "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
		"http2-settings": // the h2c upgrade (RFC 7540 section 3.2.1)
		return true
	}
	return hasPrefix(name, "proxy-") // Proxy-Authorization, -Authenticate, -Connection and their kin
}

// passesInward reports whether a field of the outside request may travel to the
// service. Host, framing, the inside token, the correlation id and the trace
// are then written by the gateway itself. Cookie passes by a filter of its own.
func passesInward(name string) bool {
	var buf [foldLimit]byte
	n, plain := fold(&buf, name)
	if !plain || insideName(n) || hopByHop(n) {
		return false
	}
	switch string(n) {
	case "host", "content-length": // rebuilt
		return false
	case "expect": // answered at this hop (RFC 9110 section 10.1.1)
		return false
	case "authorization", "x-api-key": // the outside credential never travels inside
		return false
	case "content-digest", "signature": // checked where declared; else nobody vouches for them
		return false
	case "traceparent", "tracestate", "baggage": // a new trace starts at the door
		return false
	case "proxy": // CGI makes HTTP_PROXY of it, by which libraries choose a proxy
		return false
	case "forwarded", "via", "x-forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip",
		"true-client-ip", "cf-connecting-ip": // the client's address is in Sallyport-Client
		return false
	case "x-rewrite-url", "x-http-method", "x-http-method-override", "x-method-override":
		// Frameworks take these for the target or the method: not what policy judged.
		return false
	}
	// The handshake of a WebSocket is written by upstream, where there is one.
	return !hasPrefix(n, "x-forwarded-") && !hasPrefix(n, "x-original-") && !hasPrefix(n, "signature-") && !hasPrefix(n, "sec-websocket-")
}

// passesOutward reports whether a field of the service's answer may travel to
// the client. Content-Length is written again after the body's framing was
// understood, Access-Control-* by the route's declared cors alone.
func passesOutward(name string) bool {
	var buf [foldLimit]byte
	n, _ := fold(&buf, name)
	if insideName(n) || hopByHop(n) {
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
	return !hasPrefix(n, "access-control-") && !hasPrefix(n, "x-aspnet") && !hasPrefix(n, "sec-websocket-")
}

func hasPrefix(name []byte, prefix string) bool {
	return len(name) >= len(prefix) && string(name[:len(prefix)]) == prefix
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
