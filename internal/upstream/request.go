package upstream

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
)

// Request is a request to a service. It is built from nothing: method, path and
// query leave as the bytes that they are here, framing is the body's, and of
// fields there is Host and what Fields writes. It belongs to the caller again
// when Send has returned, but for its body: see Exchange.
type Request struct {
	Method   string
	Path     string // canonical and escaped; starts with one slash
	Query    string // without the '?'
	HasQuery bool   // a '?' was there, even when nothing follows it
	// Host is the authority that the client asked for, not the address of the
	// instance: services make links of it.
	Host   string
	Fields Fields     // nil: none but Host and the framing
	Client netip.Addr // whose request it is: one client has its share of an instance, see Config.Outstanding

	Body   Body  // read only when there is a Length
	Length int64 // of Body in bytes; -1: not known, so it travels in chunks

	// HTTP2 asks for HTTP/2, in which request and answer travel at the same time and
	// the answer may have trailers. The Body is sent as it comes, whatever its Length, and
	// there is no bound in time but the context and those of the Body.
	HTTP2 bool

	// Handshake asks the service to switch to WebSocket; nil: an ordinary request.
	// It goes with GET and no body. A service may refuse it with any answer.
	Handshake *Handshake

	ahead []byte // the whole body, when it was small enough to be read ahead
}

// Fields writes the header fields of a request that are neither Host, nor
// framing, nor of the connection, with AppendField. It is asked for each
// connection on which the request is tried.
type Fields interface {
	AppendFields(dst []byte) ([]byte, error)
}

// Body is the content of a request, bounded in size and time by whoever made it.
// Errors of Read that are *problem.Error keep their reason.
type Body interface {
	io.Reader
	Retire() // ends it for good: throws out a Read under way and lets none begin
}

// AppendHead appends the head of the request (RFC 9112 section 3) to dst, but
// for the empty line that ends it.
func (r *Request) AppendHead(dst []byte) ([]byte, error) {
	if !validTarget(r.Path, r.Query) {
		return dst, fmt.Errorf("target %q", r.Path)
	}
	dst = append(append(dst, r.Method...), ' ')
	dst = append(dst, r.Path...)
	if r.HasQuery {
		dst = append(append(dst, '?'), r.Query...)
	}
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst, err := AppendField(dst, "Host", r.Host)
	if err == nil && r.Fields != nil {
		dst, err = r.Fields.AppendFields(dst)
	}
	if err == nil && r.Handshake != nil {
		if r.Method != http.MethodGet || r.Length != 0 {
			return dst, errHandshake
		}
		dst, err = r.Handshake.appendTo(dst)
	}
	if err != nil {
		return dst, err
	}
	switch {
	case r.Length == 0 && anticipatesBody(r.Method):
		dst = append(dst, "Content-Length: 0\r\n"...) // RFC 9110 section 8.6
	case r.Length < 0:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case r.Length > 0:
		dst = append(dst, "Content-Length: "...)
		dst = append(strconv.AppendInt(dst, r.Length, 10), "\r\n"...)
	}
	return dst, nil
}

// AppendField appends a line of the header section. Nothing in its value can end
// the line; the name is the caller's and not looked at.
func AppendField(dst []byte, name, value string) ([]byte, error) {
	if !validValue(value) {
		return dst, fmt.Errorf("control character in field %q", name)
	}
	dst = append(append(dst, name...), ": "...)
	return append(append(dst, value...), "\r\n"...), nil
}

// validValue reports whether a field value holds no control character but the
// tab (RFC 9110 section 5.5).
func validValue(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// validTarget is the last look at what is about to be written as a request
// target: origin form only (RFC 9112 section 3.2.1), nothing that could end it.
func validTarget(path, query string) bool {
	if path == "" || path[0] != '/' || len(path) > 1 && path[1] == '/' {
		return false
	}
	for i := range len(path) {
		switch c := path[i]; {
		case c <= ' ' || c >= 0x7f || c == '?' || c == '#' || c == '\\':
			return false
		case c == '%' && (len(path) < i+3 || !isHex(path[i+1]) || !isHex(path[i+2])):
			return false
		}
	}
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// anticipatesBody reports whether a request of this method says that it has no
// content rather than leaving it open.
func anticipatesBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}
