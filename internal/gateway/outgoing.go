package gateway

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
)

// outgoing is the request that goes to a service. It is built from nothing: the
// method, path and query are the bytes that were matched and authorized, and of
// the received fields only those travel that passesInward lets pass.
//
// Host is the authority that the client asked for and the listener judged, not
// the address of the instance: services make links of it.
type outgoing struct {
	method   string
	path     string // canonical and escaped; starts with one slash
	query    string
	hasQuery bool
	host     string
	received http.Header // as received; only read

	inside      string // inside token; empty only in tests
	correlation string
	trace       obs.Trace
	client      netip.Addr
	listener    string
	plain       *policy.Principal // set for services with plain_headers, nil else

	body   inbound // nil when the request has none
	length int64   // of body; -1: not known, so it travels in chunks
	ahead  []byte  // the whole body, when it was small enough to be read ahead
}

// inbound is the body of a request, bounded in size and time; *body is one.
type inbound interface {
	io.Reader
	retire() // ends it for good: throws out a Read under way and lets none begin
}

// appendHead appends the head of the request (RFC 9112 section 3) to b. The
// gateway's own fields come first and are written past every rule for received
// ones, so that a client's Connection field cannot name them away.
func (o *outgoing) appendHead(b []byte) ([]byte, error) {
	if !validTarget(o.path, o.query) {
		return nil, fmt.Errorf("target %q", o.path)
	}
	b = append(append(b, o.method...), ' ')
	b = append(b, o.path...)
	if o.hasQuery {
		b = append(append(b, '?'), o.query...)
	}
	b = append(b, " HTTP/1.1\r\n"...)
	f := fields{b: b}
	f.add("Host", o.host)
	if o.inside != "" {
		f.add("Txn-Token", o.inside)
	}
	f.add(obs.CorrelationHeader, o.correlation)
	f.b = append(f.b, "Traceparent: 00-"...)
	f.b = hex.AppendEncode(f.b, o.trace.ID[:])
	f.b = append(f.b, '-')
	f.b = hex.AppendEncode(f.b, o.trace.Span[:])
	f.b = append(f.b, "-01\r\n"...)
	f.addClient(o.client, o.listener)
	if o.plain != nil {
		f.addPlain(o.plain)
	}
	f.addReceived(o.received)
	switch {
	case o.body == nil && o.length == 0 && anticipatesBody(o.method):
		f.b = append(f.b, "Content-Length: 0\r\n"...) // RFC 9110 section 8.6
	case o.length < 0:
		f.b = append(f.b, "Transfer-Encoding: chunked\r\n"...)
	case o.length > 0:
		f.b = append(f.b, "Content-Length: "...)
		f.b = append(strconv.AppendInt(f.b, o.length, 10), "\r\n"...)
	}
	return append(f.b, "\r\n"...), f.err
}

// fields appends header fields and remembers the first that may not be sent.
type fields struct {
	b   []byte
	err error
}

func (f *fields) add(name, value string) {
	if !validValue(value) {
		f.err = fmt.Errorf("control character in field %q", name)
		return
	}
	f.b = append(append(f.b, name...), ": "...)
	f.b = append(append(f.b, value...), "\r\n"...)
}

// addClient says where the request came in: `"ADDRESS";listener=NAME`, a
// structured field item (RFC 9651 section 3.3.3).
func (f *fields) addClient(client netip.Addr, listener string) {
	f.b = append(f.b, `Sallyport-Client: "`...)
	if client.IsValid() {
		f.b = client.Unmap().WithZone("").AppendTo(f.b)
	}
	f.b = append(f.b, `";listener=`...)
	f.b = append(append(f.b, listener...), "\r\n"...)
}

// addPlain says in clear who the request acts for, to a service that has no
// guard to read the inside token. An anonymous caller has none of these fields:
// a service must not take "anonymous" for a user of that name.
func (f *fields) addPlain(p *policy.Principal) {
	if p.Kind == policy.Anonymous {
		return
	}
	f.add("X-User-Id", p.Subject)
	f.addList("X-User-Roles", p.Roles)
	f.addList("X-User-Scopes", p.Scopes)
	if p.Client != "" {
		f.add("X-Client-Id", p.Client)
	}
}

// addList appends a comma-separated list (RFC 9110 section 5.6.1), if it has members.
func (f *fields) addList(name string, members []string) {
	if len(members) == 0 {
		return
	}
	list := members[0]
	for _, m := range members[1:] {
		list += "," + m
	}
	f.add(name, list)
}

// addReceived copies the fields of the outside request that may travel.
func (f *fields) addReceived(h http.Header) {
	connection := nominations(h)
	for name, values := range h {
		if !passesInward(name) || connection != nil && nominated(connection, name) {
			continue
		}
		cookie := strings.EqualFold(name, "Cookie")
		for _, v := range values {
			if cookie {
				if v = cookiesInward(v); v == "" {
					continue
				}
			}
			f.add(name, v)
		}
	}
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

// anticipatesBody reports whether a request of this method says that it has no
// content rather than leaving it open.
func anticipatesBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}
