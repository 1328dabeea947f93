package sidecar

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"sallyport.dev/internal/fieldname"
)

// The header names that the sidecar itself writes, as net/http spells them.
const (
	headerHandle      = "Sallyport-Request"
	headerUser        = "X-User-Id"
	headerRoles       = "X-User-Roles"
	headerScopes      = "X-User-Scopes"
	headerClient      = "X-Client-Id"
	headerCaller      = "X-Caller"
	headerCorrelation = "X-Correlation-Id"
	headerTrace       = "Traceparent"
)

// proofName says whether a folded name carries proof between workloads.
func proofName(n []byte) bool {
	return string(n) == "content-digest" || string(n) == "signature" || fieldname.HasPrefix(n, "signature-")
}

// reachesService says whether a header of the request goes on to the service.
// The gateway and guard.Client have removed most of the others already; a door
// does not rely on the one before it.
func reachesService(name string) bool {
	var buf [fieldname.Limit]byte
	n, plain := fieldname.Fold(&buf, name)
	if !plain || fieldname.Inside(n) || proofName(n) || fieldname.HopByHop(n) || fieldname.Unjudged(n) {
		return false
	}
	switch string(n) {
	case "host", "content-length", "traceparent": // written anew
		return false
	}
	return true
}

// leavesService says whether a header of the service's own call goes on to
// guard.Client, which removes credentials besides.
func leavesService(name string) bool {
	var buf [fieldname.Limit]byte
	n, plain := fieldname.Fold(&buf, name)
	return plain && !fieldname.Inside(n) && !proofName(n) && string(n) != "expect" && string(n) != "te"
}

// answers says whether a header of an answer goes on, in either direction.
func answers(name string) bool {
	var buf [fieldname.Limit]byte
	n, _ := fieldname.Fold(&buf, name)
	return !fieldname.Inside(n)
}

// leavesDoor says whether a header of the service's answer goes on. Its length is
// written anew.
func leavesDoor(name string) bool {
	var buf [fieldname.Limit]byte
	n, _ := fieldname.Fold(&buf, name)
	return !fieldname.Inside(n) && !fieldname.HopByHop(n) && string(n) != "content-length"
}

// keep removes from h the names that pass does not let through.
func keep(h http.Header, pass func(name string) bool) {
	for name := range h {
		if !pass(name) {
			delete(h, name)
		}
	}
}

// asksUpgrade says whether a request would turn its connection into something else.
func asksUpgrade(r *http.Request) bool {
	if r.Method == http.MethodConnect || len(r.Header["Upgrade"]) > 0 {
		return true
	}
	for _, f := range r.Header["Connection"] {
		for option := range strings.SplitSeq(f, ",") {
			if strings.EqualFold(strings.Trim(option, " \t"), "upgrade") {
				return true
			}
		}
	}
	return false
}

// originForm says whether the request target is a path (RFC 9112 section 3.2.1).
func originForm(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/") && r.URL.Scheme == "" && r.URL.Host == "" &&
		r.URL.Opaque == "" && r.URL.User == nil && (r.RequestURI == "" || r.RequestURI[0] == '/')
}

// oneReading says whether a decoded path means the same to every service. To the
// guard's matcher a `;` is a character, and to some frameworks the end of the
// segment: /orders/export;x, which is some {id} here, is /orders/export there. So it
// is with a backslash, with what a second decoding would decode, and with dots and
// blanks. The gateway refuses these as well; a service that calls need not have.
func oneReading(path string) bool {
	if !utf8.ValidString(path) {
		return false
	}
	for i := range len(path) {
		switch c := path[i]; {
		case c < ' ', c == 0x7f, c == '\\', c == ';':
			return false
		case c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]):
			return false
		}
	}
	for segment := range strings.SplitSeq(path, "/") { // encoded slashes are slashes here
		if segment != "" && strings.Trim(segment, ". ") == "" {
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' }
