package guard

import (
	"net/http"
	"net/textproto"
	"strings"

	"sallyport.dev/internal/httpsig"
)

// inside says whether a header belongs to the vocabulary of the inside (INTERFACE
// section 3) or lets a client change what the map judged. It counts an
// underscore as a hyphen, since some readers do.
func inside(name string) bool {
	if strings.IndexByte(name, '_') >= 0 {
		name = textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	switch name {
	case headerToken, headerCaller, "X-Client-Id":
		return true
	case httpsig.InputHeader, httpsig.SignatureHeader, httpsig.DigestHeader: // of one hop
		return true
	case "X-Http-Method-Override", "X-Http-Method", "X-Method-Override":
		return true // the route was judged by the method of the request line
	}
	return strings.HasPrefix(name, "X-User-") || strings.HasPrefix(name, "Sallyport-")
}

// forHandler returns the headers that a handler sees: without those of the
// inside, and with the correlation id and trace that the guard goes by.
func forHandler(h http.Header, in *inbound) http.Header {
	out := make(http.Header, len(h)+2)
	for name, values := range h {
		if !inside(name) {
			out[name] = values
		}
	}
	out[headerCorrelation] = []string{in.correlationID}
	out[headerTrace] = []string{in.trace.String()}
	return out
}

// conditional are the request headers by which an answer may come without the
// representation, in part or coded (RFC 9110 sections 12.5.3, 13.1 and 14.2):
// such an answer cannot be judged.
func conditional() []string {
	return []string{
		"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range", "Accept-Encoding", "A-Im",
	}
}

// describing are the request headers that belong to a body or a connection.
func describing() []string {
	return []string{
		"Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Location", "Content-Range",
		"Content-Digest", "Transfer-Encoding", "Te", "Trailer", "Expect", "Upgrade", "Connection",
	}
}

func remove(h http.Header, names []string) {
	for _, n := range names {
		delete(h, n)
	}
}
