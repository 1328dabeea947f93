package sidecar

import (
	"net/http"
	"strings"
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

// foldLimit is longer than every name and prefix of the tables below.
const foldLimit = 32

// fold puts name into buf in lower case, each byte that is no letter or digit as
// a hyphen, cut at foldLimit: X_User_Id and x.user.id are X-User-Id to many
// readers. plain says that nothing but the case was changed.
func fold(buf *[foldLimit]byte, name string) (folded []byte, plain bool) {
	plain = name != ""
	for i := range len(name) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-':
		default:
			c, plain = '-', false
		}
		if i < foldLimit {
			buf[i] = c
		}
	}
	return buf[:min(len(name), foldLimit)], plain
}

// insideName says whether a folded name is of the inside vocabulary (INTERFACE
// section 3): the two doors say these, nobody else.
func insideName(n []byte) bool {
	switch string(n) {
	case "txn-token", "x-client-id", "x-caller", "x-correlation-id":
		return true
	}
	return hasPrefix(n, "x-user-") || hasPrefix(n, "sallyport-")
}

func hasPrefix(n []byte, prefix string) bool {
	return len(n) >= len(prefix) && string(n[:len(prefix)]) == prefix
}

// hopByHop says whether a folded name is meaningful for one connection only (RFC
// 9110 section 7.6.1). What Connection names besides is found by upstream.Nominated.
func hopByHop(n []byte) bool {
	switch string(n) {
	case "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
		"http2-settings": // the h2c upgrade (RFC 7540 section 3.2.1)
		return true
	}
	return hasPrefix(n, "proxy-") // Proxy-Authorization, -Authenticate, -Connection and their kin
}

// proofName says whether a folded name carries proof between workloads.
func proofName(n []byte) bool {
	return string(n) == "content-digest" || string(n) == "signature" || hasPrefix(n, "signature-")
}

// reachesService says whether a header of the request goes on to the service.
// The gateway and guard.Client have removed most of the others already; a door
// does not rely on the one before it.
func reachesService(name string) bool {
	var buf [foldLimit]byte
	n, plain := fold(&buf, name)
	if !plain || insideName(n) || proofName(n) || hopByHop(n) {
		return false
	}
	switch string(n) {
	case "host", "content-length": // written anew
		return false
	case "authorization", "x-api-key": // credentials of the outside
		return false
	case "traceparent": // written anew
		return false
	case "expect": // of this hop (RFC 9110 section 10.1.1)
		return false
	case "proxy": // CGI makes HTTP_PROXY of it, by which libraries choose a proxy
		return false
	case "forwarded", "via", "x-forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip",
		"true-client-ip", "cf-connecting-ip": // nobody vouches for these
		return false
	case "x-rewrite-url", "x-http-method", "x-http-method-override", "x-method-override":
		return false // frameworks take these for the target or the method: not what was judged
	}
	return !hasPrefix(n, "x-forwarded-") && !hasPrefix(n, "x-original-") && !hasPrefix(n, "sec-websocket-") // of a handshake, read by upstream
}

// leavesService says whether a header of the service's own call goes on to
// guard.Client, which removes credentials besides.
func leavesService(name string) bool {
	var buf [foldLimit]byte
	n, plain := fold(&buf, name)
	return plain && !insideName(n) && !proofName(n) && string(n) != "expect" && string(n) != "te"
}

// answers says whether a header of an answer goes on, in either direction.
func answers(name string) bool {
	var buf [foldLimit]byte
	n, _ := fold(&buf, name)
	return !insideName(n)
}

// leavesDoor says whether a header of the service's answer goes on. Its length is
// written anew.
func leavesDoor(name string) bool {
	var buf [foldLimit]byte
	n, _ := fold(&buf, name)
	return !insideName(n) && !hopByHop(n) && string(n) != "content-length"
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

// oneReading says whether a decoded path means the same to every service. The
// guard's matcher knows of no `;`, of no backslash and of no character that ends
// a string; behind some frameworks /a/..;/b is /b. The gateway refuses these
// already, a service that calls need not have.
func oneReading(path string) bool {
	for i := range len(path) {
		if c := path[i]; c < ' ' || c == 0x7f || c == '\\' {
			return false
		}
	}
	for segment := range strings.SplitSeq(path, "/") { // encoded slashes are slashes here
		name, _, parameters := strings.Cut(segment, ";")
		if name == "." || name == ".." || name == "" && parameters {
			return false
		}
	}
	return true
}
