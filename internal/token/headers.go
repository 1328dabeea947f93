package token

import (
	"strings"
	"sync/atomic"
)

// headersKnown is how many protected headers a verifier remembers: a ring has two
// or three keys at a time.
const headersKnown = 8

// headers are the first segments of tokens that verified, with their kid. A
// segment that is the same needs no second reading. Only what carried a valid
// signature comes in, so strangers cannot push others out. Safe for concurrent use.
type headers struct {
	known atomic.Pointer[[]knownHeader]
}

type knownHeader struct{ segment, kid string }

// find returns the kid of a token whose header is known.
func (h *headers) find(value string) (kid string, ok bool) {
	known := h.known.Load()
	if known == nil {
		return "", false
	}
	for i := range *known {
		k := &(*known)[i]
		if len(value) > len(k.segment) && value[len(k.segment)] == '.' && value[:len(k.segment)] == k.segment {
			return k.kid, true
		}
	}
	return "", false
}

// note remembers the header of a token that verified. Of two at once one may be
// lost, until the next token.
func (h *headers) note(value, kid string) {
	segment, _, _ := strings.Cut(value, ".")
	old := h.known.Load()
	next := []knownHeader{{strings.Clone(segment), kid}}
	if old != nil {
		for _, k := range *old {
			if k.segment != segment && len(next) < headersKnown {
				next = append(next, k)
			}
		}
	}
	h.known.CompareAndSwap(old, &next)
}
