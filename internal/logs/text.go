package logs

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/internal/journal"
)

// AppendText appends a record as one line for a person, without its end: time,
// status, reason, listener, service, route, principal, client, duration,
// correlation id, and what is out of the ordinary. Whatever a field holds, it
// cannot break the line, move the cursor, change the direction of the text or
// pass for two fields.
func AppendText(dst []byte, e *journal.Entry) []byte {
	asked := word(e.Method) // where no route matched
	if e.Route != "" {
		asked = visible(e.Route) // declared; it has its method and a space in it
	}
	client := ""
	if e.Client.IsValid() {
		client = e.Client.String()
	}
	dst = column(dst, 23, e.Time.UTC().Format("2006-01-02 15:04:05.000"))
	dst = column(dst, 4, strconv.Itoa(e.Status))
	dst = column(dst, 20, word(e.Reason))
	dst = column(dst, 9, word(e.Listener))
	dst = column(dst, 12, word(e.Service))
	dst = column(dst, 32, asked)
	dst = column(dst, 36, word(e.Principal))
	dst = column(dst, 15, word(client))
	dst = column(dst, 9, e.Duration.String())
	dst = append(dst, word(e.CorrelationID)...)
	if e.Kind != journal.KindRequest {
		dst = append(dst, " kind="...)
		dst = append(dst, e.Kind.String()...)
	}
	for _, tag := range e.Tags {
		dst = append(dst, " tag="...)
		dst = append(dst, word(tag)...)
	}
	return dst
}

// column appends a text, filled up to a width, and a space.
func column(dst []byte, width int, s string) []byte {
	dst = append(dst, s...)
	for n := utf8.RuneCountInString(s); n < width; n++ {
		dst = append(dst, ' ')
	}
	return append(dst, ' ')
}

// word returns a text that is one word: a dash when it is empty, quoted when it has spaces.
func word(s string) string {
	switch {
	case s == "":
		return "-"
	case strings.ContainsAny(s, ` "\`):
		return string(appendString(nil, s))
	default:
		return visible(s)
	}
}

// visible escapes what does not show as itself, as JSON does.
func visible(s string) string {
	for _, r := range s {
		if !printable(r) {
			quoted := appendString(nil, s)
			return string(quoted[1 : len(quoted)-1])
		}
	}
	return s
}

// printable says whether a character shows as itself wherever it stands:
// letters, marks, numbers, punctuation, symbols and the ASCII space. Controls,
// format characters (those that change the direction of text, zero-width
// joiners, byte order marks), other spaces, letters and marks that show nothing,
// and what is no character do not.
func printable(r rune) bool {
	const brailleBlank = '\u2800'
	return r < utf8.RuneSelf && r >= ' ' && r < 0x7f ||
		r >= utf8.RuneSelf && r != utf8.RuneError && r != brailleBlank && unicode.IsPrint(r) &&
			!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
