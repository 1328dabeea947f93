package export

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	mediaProtobuf = "application/x-protobuf"
	maxAnswer     = 64 << 10
	maxSaid       = 200
)

// judge reads the answer of a receiver (OTLP/HTTP Response).
//
// 429, 502, 503 and 504 are tried again, all other 4xx and 5xx are refused for
// good: so the protocol has it. A redirect, and a web page that says that all is
// well, are no receiver's answer: a proxy or a login page stands in the way,
// nothing has arrived, and the records are kept until somebody mends that.
func judge(status int, h http.Header, body []byte, now time.Time) outcome {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	success := status >= 200 && status < 300
	switch {
	case success && media == "text/html":
		return outcome{err: fmt.Errorf("status %d with a web page: no OTLP receiver", status)}
	case success:
		o := outcome{verdict: taken}
		if len(body) == 0 { // as some receivers say that all is well
			return o
		}
		var err error
		if media != mediaProtobuf || len(body) > maxAnswer {
			err = errAnswer
		} else {
			o.rejected, o.said, err = parseAnswer(body)
		}
		if err != nil {
			o.said = "(an answer that is not understood)"
		}
		return o
	case status >= 300 && status < 400:
		return outcome{err: fmt.Errorf("status %d: redirects are not followed; name the receiver's own url in the map", status)}
	case status == http.StatusTooManyRequests, status == http.StatusBadGateway,
		status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return outcome{asked: retryAfter(h.Get("Retry-After"), now), err: fmt.Errorf("status %d", status)}
	}
	o := outcome{verdict: refused, err: fmt.Errorf("status %d", status)}
	if media == mediaProtobuf && len(body) <= maxAnswer {
		if _, said, err := parseFields(body); err == nil { // google.rpc.Status
			o.said = said
		}
	}
	return o
}

// retryAfter reads the header (RFC 9110 section 10.2.3); 0 when it says nothing.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}

var errAnswer = errors.New("the answer is malformed")

// parseAnswer reads an Export…ServiceResponse, which is the same for all
// signals: field 1 is partial_success, of which field 1 is the number of
// rejected items and field 2 a message. Other fields are passed over.
func parseAnswer(b []byte) (rejected int64, said string, err error) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, "", errAnswer
		}
		b = b[n:]
		if field == 1 && kind == protowire.BytesType {
			part, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return 0, "", errAnswer
			}
			b = b[n:]
			if rejected, said, err = parseFields(part); err != nil {
				return 0, "", err
			}
			continue
		}
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return 0, "", errAnswer
		}
		b = b[n:]
	}
	return rejected, said, nil
}

// parseFields reads a message whose field 1 is a number and field 2 a text.
func parseFields(b []byte) (number int64, said string, err error) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, "", errAnswer
		}
		b = b[n:]
		switch {
		case field == 1 && kind == protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return 0, "", errAnswer
			}
			number, b = int64(v), b[n:] // #nosec G115 -- int64 of protobuf: negative ones come as large numbers
		case field == 2 && kind == protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return 0, "", errAnswer
			}
			said, b = shorten(string(v)), b[n:]
		default:
			if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
				return 0, "", errAnswer
			}
			b = b[n:]
		}
	}
	return number, said, nil
}

// shorten bounds a text from outside that goes to our log.
func shorten(s string) string {
	s = valid(s)
	if len(s) <= maxSaid {
		return s
	}
	return strings.ToValidUTF8(s[:maxSaid], "") + "…"
}
