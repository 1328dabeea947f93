package gateway

import "unicode/utf8"

// maxPairs bounds the name=value pairs of a query (CVE-2026-39825: beyond a
// bound of their own, parsers drop pairs in silence).
const maxPairs = 1000

// checkQuery reports whether a query is read the same by every reader: pairs
// joined by '&', well encoded, valid UTF-8. It refuses
//
//   - a raw semicolon, which some take for '&' (CVE-2022-2880), and every byte
//     that RFC 3986 section 3.4 does not have, but [ ] which browsers send as
//     they are;
//   - an encoding that is broken, or is of NUL or another control character but
//     tab, line feed and carriage return, which texts hold;
//   - more than maxPairs pairs.
//
// Double encoding passes: a query often carries a whole URL, and values are
// decoded once.
func checkQuery(q string) bool {
	pairs := 1
	for i := 0; i < len(q); {
		c := q[i]
		if c != '%' {
			if chars[c]&inQuery == 0 {
				return false
			}
			if c == '&' {
				pairs++
			}
			i++
			continue
		}
		c, ok := unhex(q[i:])
		switch {
		case !ok, c < ' ' && c != '\t' && c != '\n' && c != '\r', c == 0x7f:
			return false
		case c >= utf8.RuneSelf:
			_, n := encodedRune(q[i:])
			if n == 0 {
				return false
			}
			i += n
		default:
			i += 3
		}
	}
	return pairs <= maxPairs
}
