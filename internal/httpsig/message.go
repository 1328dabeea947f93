package httpsig

import (
	"fmt"
	"net/http"
	"strings"
)

// Message is what a proof covers of a request.
type Message struct {
	Method      string
	Target      string // origin form, path and query exactly as on the wire
	Authority   string // Host or :authority as on the wire; normalised where it is covered
	Token       string // Txn-Token
	Correlation string // X-Correlation-Id
	Client      string // Sallyport-Client
	Digest      string // Content-Digest; empty under NoDigest

	// Sender is not covered: it is who must have signed, for a receiver that knows
	// it from the connection. Empty: whoever the certificate names.
	Sender string
}

// FromRequest returns what a received request has of the covered components.
// A field that comes twice is problem.ProofInvalid; one that is missing is left
// empty, which the verification refuses.
func FromRequest(r *http.Request) (Message, error) {
	m := Message{Method: r.Method, Target: r.RequestURI, Authority: r.Host}
	// HTTP/2 keeps a Host field beside :authority; two that differ are two requests.
	for _, host := range r.Header["Host"] {
		if host != r.Host {
			return Message{}, invalid(fmt.Errorf("host %q beside authority %q", clip(host), clip(r.Host)))
		}
	}
	if err := m.fields(r.Header); err != nil {
		return Message{}, invalid(err)
	}
	return m, nil
}

// FromOutgoing returns what net/http's client will send of the covered
// components: call it when the request is otherwise complete.
func FromOutgoing(r *http.Request) (Message, error) {
	m := Message{Method: r.Method, Target: r.URL.RequestURI(), Authority: r.Host}
	if m.Method == "" {
		m.Method = http.MethodGet
	}
	if m.Authority == "" {
		m.Authority = r.URL.Host
	}
	if err := m.fields(r.Header); err != nil {
		return Message{}, unsigned(err)
	}
	return m, nil
}

func (m *Message) fields(h http.Header) error {
	for _, f := range []struct {
		name string
		to   *string
	}{{TokenHeader, &m.Token}, {CorrelationHeader, &m.Correlation}, {ClientHeader, &m.Client}, {DigestHeader, &m.Digest}} {
		v, err := one(h, f.name)
		if err != nil {
			return err
		}
		*f.to = v
	}
	return nil
}

// component is one line of a signature base: a name and a value that needs no
// further canonicalisation.
type component struct{ name, value string }

// componentCount is the length of the fixed list; content-digest is its last.
const componentCount = 7

// components returns the covered components in the fixed order, or an error
// that names the first one that is missing or not in form. The number of them is
// returned beside so that nothing is allocated.
func (m *Message) components(p Profile) (cs [componentCount]component, n int, err error) {
	authority, err := normalAuthority(m.Authority)
	if err != nil {
		return cs, 0, err
	}
	cs = [componentCount]component{
		{"@method", m.Method},
		{"@request-target", m.Target},
		{"@authority", authority},
		{"txn-token", m.Token},
		{"x-correlation-id", m.Correlation},
		{"sallyport-client", m.Client},
		{"content-digest", m.Digest},
	}
	if !validMethod(m.Method) {
		return cs, 0, fmt.Errorf("@method is %q", clip(m.Method))
	}
	if !validTarget(m.Target) {
		return cs, 0, fmt.Errorf("@request-target of %d bytes is not in origin form", len(m.Target))
	}
	n = componentCount
	if p.NoDigest {
		n--
		if m.Digest != "" { // it would be read by the service and covered by nothing
			return cs, 0, fmt.Errorf("content-digest on a route without")
		}
	}
	for _, c := range cs[3:n] {
		switch {
		case c.value == "":
			return cs, 0, fmt.Errorf("%s is missing", c.name)
		case !validField(c.value):
			return cs, 0, fmt.Errorf("%s is not one plain value", c.name)
		}
	}
	return cs, n, nil
}

// normalAuthority is RFC 9421 section 2.2.3: lower case, without the default
// port. Inside a zone everything is https, whatever a middle box speaks, so the
// default port is 443.
func normalAuthority(s string) (string, error) {
	if !validAuthority(s) {
		return "", fmt.Errorf("@authority is %q", clip(s))
	}
	return strings.TrimSuffix(strings.ToLower(s), ":443"), nil
}

// clip bounds what an error shows of something received.
func clip(s string) string { return s[:min(len(s), 64)] }
