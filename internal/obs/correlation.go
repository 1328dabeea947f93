package obs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/netip"

	"github.com/google/uuid"
)

// CorrelationHeader names one business action over every hop.
const CorrelationHeader = "X-Correlation-Id"

// CorrelationID returns the client's correlation id when it is a canonical
// UUID v4 (RFC 9562: lower case, hyphens) and a new one else. It is a label:
// clients may repeat one on purpose, so it never decides anything.
func CorrelationID(header string) string {
	if canonicalUUIDv4(header) {
		return header
	}
	return uuid.NewString()
}

func canonicalUUIDv4(s string) bool {
	if len(s) != 36 || s[14] != '4' || (s[19] != '8' && s[19] != '9' && s[19] != 'a' && s[19] != 'b') {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Trace names one technical request tree (W3C Trace Context). Never made from a correlation id.
type Trace struct {
	ID   [16]byte
	Span [8]byte
}

// NewTrace starts a new trace with its root span. The span's id is the second half
// of the trace's: who reads the journal, which keeps the latter, knows both.
func NewTrace() Trace {
	var t Trace
	_, _ = rand.Read(t.ID[:]) // crypto/rand.Read never fails (Go 1.24)
	t.ID[0] |= 1              // never all zero (W3C Trace Context section 3.2.2.3)
	t.ID[8] |= 1
	copy(t.Span[:], t.ID[8:])
	return t
}

// String returns the trace id as 32 lower-case hexadecimal digits.
func (t Trace) String() string { return hex.EncodeToString(t.ID[:]) }

// Request is what every line about a request is found by.
type Request struct {
	CorrelationID string
	Trace         Trace
	Client        netip.Addr // as trusted proxies tell it
	Listener      string
}

type requestKey struct{}

// WithRequest returns a context that carries r.
func WithRequest(ctx context.Context, r *Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// RequestFrom returns the request of a context; an empty one when there is none, never nil.
func RequestFrom(ctx context.Context) *Request {
	if r, ok := ctx.Value(requestKey{}).(*Request); ok && r != nil {
		return r
	}
	return &Request{}
}
