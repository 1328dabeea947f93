package sidecar

import (
	"io"
	"net/http"
	"strings"
	"sync"

	"sallyport.dev/internal/upstream"
)

// outgoing is the request that goes to the service, with what its fields are made
// of. It is built from nothing: of the received fields only those travel that
// travels lets pass.
type outgoing struct {
	upstream.Request
	facts    facts
	handle   handle
	received http.Header // only read
	content  content
}

// outgoings lends the requests of forward: what is handed on through an interface
// would be garbage of each request else.
var outgoings = sync.Pool{New: func() any { return new(outgoing) }}

// fill makes o the request for the service.
func (o *outgoing) fill(r *http.Request, f *facts, h handle) {
	o.Method, o.Path, o.Host = r.Method, r.URL.EscapedPath(), r.Host
	o.Query, o.HasQuery = r.URL.RawQuery, r.URL.RawQuery != "" || r.URL.ForceQuery // what was proved, also where net/url cannot parse it
	o.Fields, o.facts, o.handle, o.received = o, *f, h, r.Header
	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		o.content.ReadCloser = r.Body
		o.Body, o.Length = &o.content, r.ContentLength
	}
}

// AppendFields appends the fields of the request. The sidecar's own come first
// and are written past every rule for received ones, so that a sender's
// Connection field cannot name them away.
func (o *outgoing) AppendFields(dst []byte) ([]byte, error) {
	var err error
	add := func(name, value string) {
		if err == nil {
			dst, err = upstream.AppendField(dst, name, value)
		}
	}
	for _, field := range o.facts.fields() {
		if field.value != "" {
			add(field.name, field.value)
		}
	}
	dst = append(dst, headerHandle+": "...)
	dst = append(o.handle.appendTo(dst), "\r\n"...)
	connection := nominations(o.received)
	for name, values := range o.received {
		if travels(name, connection) {
			for _, v := range values {
				add(name, v)
			}
		}
	}
	return dst, err
}

// travels says whether a received field goes on to the service. What belongs to
// the connection, or is nominated by it, ends here; Host and the framing are
// written anew.
func travels(name string, connection []string) bool {
	return reachesService(name) && (connection == nil || !upstream.Nominated(connection, name))
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

// content is the body of a request. What ends it early is not the service's fault.
type content struct{ io.ReadCloser }

func (c *content) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = bodyFault(err)
	}
	return n, err
}

// Retire ends the body for good (upstream.Body); the guard's know how to.
func (c *content) Retire() {
	if b, ok := c.ReadCloser.(interface{ Retire() }); ok {
		b.Retire()
		return
	}
	_ = c.Close() // another's, in a test: its reads do not wait
}
