// Package fieldname tells what the names of header fields mean to both doors: the
// one list of names that only we may say, and of those by which a request could
// say other things than those that were judged.
//
// Names are folded first, since CGI-like services read X_User_Id and X.User.Id as
// X-User-Id, and none but letters, digits and hyphens is plain.
package fieldname

// Limit is longer than every name and prefix that is asked for.
const Limit = 32

// Fold puts name into buf in lower case, with a hyphen for each byte that is no
// letter or digit, cut at Limit. plain says that nothing but the case was changed.
func Fold(buf *[Limit]byte, name string) (folded []byte, plain bool) {
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
		if i < Limit {
			buf[i] = c
		}
	}
	return buf[:min(len(name), Limit)], plain
}

// Inside reports whether a folded name belongs to the inside vocabulary
// (INTERFACE section 3): the two doors say these, and nobody else.
func Inside(folded []byte) bool {
	switch string(folded) {
	case "txn-token", "x-client-id", "x-caller", "x-correlation-id":
		return true
	}
	return HasPrefix(folded, "x-user-") || HasPrefix(folded, "sallyport-")
}

// HopByHop reports whether a folded name is meaningful for one connection only
// (RFC 9110 section 7.6.1). What Connection names besides is found by
// upstream.Nominated.
func HopByHop(folded []byte) bool {
	switch string(folded) {
	case "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
		"http2-settings": // the h2c upgrade (RFC 7540 section 3.2.1)
		return true
	}
	return HasPrefix(folded, "proxy-") // Proxy-Authorization, -Authenticate, -Connection and their kin
}

// Unjudged reports whether a field of a request with this folded name says what
// no door has judged, to services that believe it: where the request comes from,
// what it is for. No door lets it in.
func Unjudged(folded []byte) bool {
	switch string(folded) {
	case "authorization", "x-api-key", "dpop": // credentials of the outside, and their proofs, never travel inside
		return true
	case "expect": // answered at each hop (RFC 9110 section 10.1.1)
		return true
	case "proxy": // CGI makes HTTP_PROXY of it, by which libraries choose a proxy
		return true
	case "forwarded", "via", "x-forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip",
		"true-client-ip", "cf-connecting-ip": // the client's address is in Sallyport-Client
		return true
	case "x-rewrite-url", "x-http-method", "x-http-method-override", "x-method-override": // taken for the target or the method
		return true
	}
	// The handshake of a WebSocket is written by upstream, where there is one.
	return HasPrefix(folded, "x-forwarded-") || HasPrefix(folded, "x-original-") || HasPrefix(folded, "sec-websocket-")
}

// HasPrefix reports whether a folded name begins with prefix.
func HasPrefix(folded []byte, prefix string) bool {
	return len(folded) >= len(prefix) && string(folded[:len(prefix)]) == prefix
}
