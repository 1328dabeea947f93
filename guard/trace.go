package guard

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
)

// The headers of the wire inside (INTERFACE section 4).
const (
	headerToken       = "Txn-Token"
	headerCaller      = "X-Caller"
	headerCorrelation = "X-Correlation-Id"
	headerTrace       = "Traceparent"
)

// trace is the W3C trace context of a request: its trace, and the span of
// whoever sent it.
type trace struct {
	trace [16]byte
	span  [8]byte
	flags byte
}

// traceOf returns the trace of a request, a new one when it has none that is
// valid (W3C Trace Context section 3.2).
func traceOf(h http.Header) trace {
	if v := h[headerTrace]; len(v) == 1 {
		if t, ok := parseTrace(v[0]); ok {
			return t
		}
	}
	var t trace
	_, _ = rand.Read(t.trace[:]) // crypto/rand.Read never fails (Go 1.24)
	t.trace[0] |= 1              // never all zero
	t.flags = 1
	return t.next()
}

// parseTrace reads version 00 and what later versions keep of it: they may only
// append (section 3.2.4).
func parseTrace(s string) (t trace, ok bool) {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || strings.ToLower(s[:55]) != s[:55] {
		return trace{}, false
	}
	var version, flags [1]byte
	for _, part := range []struct {
		to   []byte
		text string
	}{{version[:], s[:2]}, {t.trace[:], s[3:35]}, {t.span[:], s[36:52]}, {flags[:], s[53:55]}} {
		if _, err := hex.Decode(part.to, []byte(part.text)); err != nil {
			return trace{}, false
		}
	}
	t.flags = flags[0]
	switch {
	case version[0] == 0xff, version[0] == 0 && len(s) != 55, len(s) > 55 && s[55] != '-':
		return trace{}, false
	case t.trace == [16]byte{}, t.span == [8]byte{}:
		return trace{}, false
	}
	return t, true
}

// next returns a new span of the same trace.
func (t trace) next() trace {
	_, _ = rand.Read(t.span[:])
	t.span[0] |= 1 // never all zero
	return t
}

func (t trace) id() string { return hex.EncodeToString(t.trace[:]) }

// String returns the header value.
func (t trace) String() string {
	b := make([]byte, 0, 55)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, t.trace[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, t.span[:])
	b = append(b, '-')
	return string(hex.AppendEncode(b, []byte{t.flags & 1})) // the sampled flag is the only one known
}

// correlationOf returns the request's correlation id, a canonical UUID v4 (RFC
// 9562), and a new one when it has none.
func correlationOf(h http.Header) string {
	if v := h[headerCorrelation]; len(v) == 1 && canonicalUUIDv4(v[0]) {
		return v[0]
	}
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func canonicalUUIDv4(s string) bool {
	if len(s) != 36 || s[14] != '4' || strings.IndexByte("89ab", s[19]) < 0 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}
