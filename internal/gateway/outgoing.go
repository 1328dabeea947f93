package gateway

import (
	"encoding/hex"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/upstream"
)

// outgoing is the request that goes to a service, with what its fields are made
// of. It is built from nothing: of the received fields only those travel that
// passesInward lets pass.
type outgoing struct {
	upstream.Request
	received http.Header // as received; only read

	inside      string // inside token; empty only in tests
	correlation string
	trace       obs.Trace
	client      string            // Sallyport-Client
	route       *route            // nil only in tests
	digest      string            // Content-Digest; empty: none
	plain       *policy.Principal // set for services with plain_headers, nil else
}

// outgoings lends the requests of forwardStage: what is handed on through an
// interface would be garbage of each request else.
var outgoings = sync.Pool{New: func() any { return new(outgoing) }}

// Retire makes a *body an upstream.Body.
func (b *body) Retire() { b.retire() }

// AppendFields appends the fields of the request. The gateway's own come first
// and are written past every rule for received ones, so that a client's
// Connection field cannot name them away.
func (o *outgoing) AppendFields(dst []byte) ([]byte, error) {
	f := fields{b: dst}
	if o.inside != "" {
		f.add("Txn-Token", o.inside)
	}
	f.add(obs.CorrelationHeader, o.correlation)
	f.b = append(f.b, "Traceparent: 00-"...)
	f.b = hex.AppendEncode(f.b, o.trace.ID[:])
	f.b = append(f.b, '-')
	f.b = hex.AppendEncode(f.b, o.trace.Span[:])
	f.b = append(f.b, "-01\r\n"...)
	f.add("Sallyport-Client", o.client)
	if o.digest != "" {
		f.add("Content-Digest", o.digest)
	}
	if o.plain != nil {
		f.addPlain(o.plain)
	}
	f.addReceived(o.received)
	return f.b, f.err
}

// fields appends header fields and remembers the first that may not be sent.
type fields struct {
	b   []byte
	err error
}

func (f *fields) add(name, value string) {
	b, err := upstream.AppendField(f.b, name, value)
	if err != nil {
		f.err = err
		return
	}
	f.b = b
}

// clientField says where a request came in: `"ADDRESS";listener=NAME`, a
// structured field item (RFC 9651 section 3.3.3).
func clientField(client netip.Addr, listener string) string {
	buf := append(make([]byte, 0, 64), '"')
	if client.IsValid() {
		buf = client.Unmap().WithZone("").AppendTo(buf)
	}
	buf = append(buf, `";listener=`...)
	return string(append(buf, listener...))
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
		if !passesInward(name) || connection != nil && upstream.Nominated(connection, name) {
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
