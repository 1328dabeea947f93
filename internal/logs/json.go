package logs

import (
	"encoding/hex"
	"strconv"
	"unicode/utf8"

	"sallyport.dev/internal/journal"
)

// timeForm is RFC 3339 in UTC with microseconds.
const timeForm = "2006-01-02T15:04:05.000000Z"

// AppendJSON appends a record as a JSON object on one line, without its end.
// Its names are promises: they are only ever added to.
//
//	time            RFC 3339, UTC, microseconds
//	kind            request, open, end, admin, mark
//	correlation_id, trace_id, zone, listener, service, route, method
//	client          address without port
//	principal       the `sub`
//	reason          a code; ok when the request was allowed
//	status, bytes_in, bytes_out, duration_us
//	stages          object, microseconds by stage; left out when there are none
//	tags            list of texts; left out when there are none
//	sequence        place in the journal
//
// Texts show printable characters only; all else is escaped as \uXXXX, so that
// neither a terminal nor a viewer is misled (encoding/json leaves C1 controls
// and bidirectional controls as they are).
func AppendJSON(dst []byte, e *journal.Entry) []byte {
	dst = append(dst, `{"time":"`...)
	dst = e.Time.UTC().AppendFormat(dst, timeForm)
	dst = append(dst, '"')
	dst = appendField(dst, "kind", e.Kind.String())
	dst = appendField(dst, "correlation_id", e.CorrelationID)
	dst = appendField(dst, "trace_id", e.TraceID)
	dst = appendField(dst, "zone", e.Header.Zone)
	dst = appendField(dst, "listener", e.Listener)
	dst = appendField(dst, "service", e.Service)
	dst = appendField(dst, "route", e.Route)
	dst = appendField(dst, "method", e.Method)
	client := ""
	if e.Client.IsValid() {
		client = e.Client.String()
	}
	dst = appendField(dst, "client", client)
	dst = appendField(dst, "principal", e.Principal)
	dst = appendField(dst, "reason", e.Reason)
	dst = appendNumber(dst, "status", int64(e.Status))
	dst = appendNumber(dst, "bytes_in", e.BytesIn)
	dst = appendNumber(dst, "bytes_out", e.BytesOut)
	dst = appendNumber(dst, "duration_us", e.Duration.Microseconds())
	dst = appendStages(dst, e)
	dst = appendTags(dst, e.Tags)
	dst = appendName(dst, "sequence")
	dst = strconv.AppendUint(dst, e.Sequence, 10)
	return append(dst, '}')
}

func appendStages(dst []byte, e *journal.Entry) []byte {
	if len(e.Stages) == 0 {
		return dst
	}
	dst = append(appendName(dst, "stages"), '{')
	for i, us := range e.Stages {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, e.Header.StageName(i)), ':')
		dst = strconv.AppendUint(dst, uint64(us), 10)
	}
	return append(dst, '}')
}

func appendTags(dst []byte, tags []string) []byte {
	if len(tags) == 0 {
		return dst
	}
	dst = append(appendName(dst, "tags"), '[')
	for i, tag := range tags {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, tag)
	}
	return append(dst, ']')
}

// appendName begins a member that is not the first. name is a constant of this file.
func appendName(dst []byte, name string) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	return append(dst, `":`...)
}

func appendField(dst []byte, name, value string) []byte {
	return appendString(appendName(dst, name), value)
}

func appendNumber(dst []byte, name string, value int64) []byte {
	return strconv.AppendInt(appendName(dst, name), value, 10)
}

// appendString appends a JSON string (RFC 8259 section 7). Bytes that are not
// UTF-8 become U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case !printable(r):
			dst = appendEscape(dst, r)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// appendEscape appends \uXXXX, a pair of them (UTF-16) beyond the basic plane.
func appendEscape(dst []byte, r rune) []byte {
	if r > 0xffff {
		r -= 0x10000
		dst = appendEscape(dst, 0xd800+r>>10)
		return appendEscape(dst, 0xdc00+r&0x3ff)
	}
	dst = append(dst, '\\', 'u')
	return hex.AppendEncode(dst, []byte{byte(r >> 8), byte(r)})
}
