package gateway

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"sallyport.dev/internal/problem"
)

// maxHeaderFields bounds the fields of a request: their bytes are bounded by
// limits.header, but each costs a check in every stage and hop that follows.
const maxHeaderFields = 128

// normalizeStage refuses what two readers could read in two ways. It changes
// nothing: the bytes that came are judged, recorded and forwarded, or the answer
// is 4xx.
//
// What is refused here is the last of its HTTP/1 connection: a client that spells
// `Content_Length` may mean a body where net/http has found the next request.
func normalizeStage(_ *Gateway, t *trip) problem.Reason {
	reason := t.normalize()
	if reason != problem.OK && t.r.ProtoMajor == 1 {
		t.closeAfter()
	}
	return reason
}

func (t *trip) normalize() problem.Reason {
	if reason := t.framing(); reason != problem.OK {
		return reason
	}
	if reason := t.target(); reason != problem.OK {
		return reason
	}
	return t.headers()
}

// closeAfterDoubt ends the connection after messages whose length an intermediary
// before us may have read in another way.
//
// net/http refuses lengths that differ, codings other than chunked, and more
// than one coding. Two cases it settles in silence: with Transfer-Encoding it
// drops a Content-Length (RFC 9112 section 6.3: "ought to be handled as an
// error"), and of HTTP/1.0 it drops Transfer-Encoding (section 6.1: "MUST treat
// the message as if the framing is faulty"). No handler can see either. So every
// request with a coding, and every HTTP/1.0 request, is the last of its
// connection: whatever was smuggled behind it is never read as a request.
//
// So is every request that asks for an upgrade, also where it is refused before
// anybody looks at that: what its client has sent behind it is no HTTP.
func (t *trip) closeAfterDoubt() {
	if t.r.ProtoMajor == 1 && (len(t.r.TransferEncoding) > 0 || t.r.ProtoMinor == 0 || len(t.r.Header["Upgrade"]) > 0) {
		t.closeAfter()
	}
}

// framing refuses lengths that are not the body's, and transfer codings that net/http does not read.
func (t *trip) framing() problem.Reason {
	if t.r.ProtoMajor != 1 {
		return t.declaredLength()
	}
	if te := t.r.TransferEncoding; len(te) > 1 || len(te) == 1 && te[0] != "chunked" {
		return problem.RequestFraming // net/http has refused these; should it stop to, we do
	}
	return problem.OK
}

// declaredLength refuses an HTTP/2 request that declares another length than it
// has (RFC 9113 section 8.1.1). net/http counts frames: it believes the first of
// several lengths, takes one that is no number for 0, and of 0 it only learns
// with the first byte that it was wrong.
func (t *trip) declaredLength() problem.Reason {
	declared := t.r.Header["Content-Length"]
	switch {
	case len(declared) == 0:
		return problem.OK
	case len(declared) > 1 || declared[0] != strconv.FormatInt(t.r.ContentLength, 10):
		return problem.RequestFraming
	case t.r.ContentLength > 0 || t.body == nil:
		return problem.OK
	}
	var one [1]byte
	if n, err := t.body.Read(one[:]); n > 0 || !errors.Is(err, io.EOF) {
		return problem.RequestFraming
	}
	return problem.OK
}

// target accepts the origin form only (RFC 9112 section 3.2.1) and works on the
// bytes of the request line: r.URL is somebody's reading of them. Absolute form
// would bring a second Host, authority form is CONNECT, asterisk form is about
// no resource.
func (t *trip) target() problem.Reason {
	target := t.r.RequestURI
	if target == "" || target[0] != '/' || t.r.Method == http.MethodConnect {
		return problem.RequestTarget
	}
	if t.r.URL == nil || t.r.URL.Opaque != "" || t.r.URL.Host != "" || t.r.URL.Scheme != "" {
		return problem.RequestTarget
	}
	if strings.IndexByte(target, '#') >= 0 { // a fragment is never sent (RFC 9110 section 4.2.5)
		return problem.RequestTarget
	}
	path, query, hasQuery := strings.Cut(target, "?")
	encodedSlash, ok := checkPath(path)
	if !ok {
		return problem.RequestPath
	}
	if hasQuery && !checkQuery(query) {
		return problem.RequestQuery
	}
	t.path, t.query, t.hasQuery, t.encodedSlash = path, query, hasQuery, encodedSlash
	return problem.OK
}

// headers refuses field names that a service may fold into others: CGI and its
// heirs read X_User_Id and X.User.Id as X-User-Id. Values with control
// characters net/http refuses, on both protocols; a test holds it to that.
func (t *trip) headers() problem.Reason {
	n := 0
	for name, values := range t.r.Header {
		if !plainName(name) {
			return problem.RequestHeader
		}
		if n += len(values); n > maxHeaderFields {
			return problem.RequestHeaderTooLarge
		}
	}
	// HTTP/2 has the host in :authority; a Host beside it must say the same
	// (RFC 9113 section 8.3.1). HTTP/1 never leaves it here.
	if hosts := t.r.Header["Host"]; len(hosts) > 1 || len(hosts) == 1 && hosts[0] != t.r.Host {
		return problem.RequestHost
	}
	// 100-continue is answered here, when the body is first read. Nothing else is
	// known (RFC 9110 section 10.1.1); HTTP/1 never gets here with it: 417.
	if expect := t.r.Header["Expect"]; len(expect) > 1 || len(expect) == 1 && !strings.EqualFold(expect[0], "100-continue") {
		return problem.RequestHeader
	}
	return problem.OK
}

func plainName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-':
		default:
			return false
		}
	}
	return name != ""
}
