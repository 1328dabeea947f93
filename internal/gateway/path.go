package gateway

import "unicode/utf8"

// What stands in a target. Everything that is not named here is refused raw:
// control characters, space, non-ASCII, and  " # < > \ ^ ` { | } ;  of which no
// two readers agree.
const (
	inPath     = 1 << iota // pchar of RFC 3986 section 3.3, but ';'
	inQuery                // query of section 3.4, but ';'; and [ ] as browsers send them
	unreserved             // section 2.3: never needs an encoding
)

// chars is what every byte may be. It is never written after the program starts.
var chars = func() (table [256]uint8) {
	for c := range 256 {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			table[c] = inPath | inQuery | unreserved
		}
	}
	for _, c := range []byte("!$&'()*+,=:@/") {
		table[c] = inPath | inQuery
	}
	for _, c := range []byte("?[]") {
		table[c] = inQuery
	}
	return table
}()

// checkPath reports whether a path means one thing to every reader, and whether
// it holds an encoded slash. It is the only spelling rule there is: no path is
// ever rewritten. Refused are, raw or encoded:
//
//   - segments that are empty, or nothing but dots and spaces: `//`, `/../`,
//     `/%20/`, `/.. /`. An encoded slash counts as a slash in this;
//   - backslash, semicolon, control characters, bytes that are not UTF-8
//     (overlong forms are not), C1 controls, and what Windows and Unicode
//     normalisation turn into a slash or backslash;
//   - an encoded unreserved character: %41 and %2e are A and . in disguise;
//   - an encoded percent sign that a second decoding would take for an encoding.
//
// Lower-case hexadecimal digits pass: they decode to the same byte everywhere
// (RFC 3986 section 6.2.2.1), routes and parameters are compared decoded, and the
// service receives the digits that came. A slash at the end passes and is not
// removed: /a and /a/ are two paths.
func checkPath(p string) (encodedSlash, ok bool) {
	if p == "" || p[0] != '/' {
		return false, false
	}
	seg := segment{}
	for i := 1; i < len(p); {
		switch c := p[i]; {
		case c == '/':
			if !seg.named() {
				return false, false
			}
			seg = segment{}
			i++
		case c == '%':
			n, slash := seg.encoded(p[i:])
			if n == 0 {
				return false, false
			}
			if slash {
				encodedSlash = true
				if !seg.named() {
					return false, false
				}
				seg = segment{}
			}
			i += n
		case chars[c]&inPath == 0:
			return false, false
		default:
			seg.add(rune(c))
			i++
		}
	}
	// The last segment may be empty: the path ends with a slash.
	return encodedSlash, seg == segment{} || seg.named()
}

// segment is what a path segment holds so far, decoded.
type segment struct {
	blank bool // dots and spaces
	name  bool // anything else
}

func (s *segment) named() bool { return s.name }

func (s *segment) add(r rune) {
	switch r {
	case '.', ' ',
		'\u2024', '\u2025', '\u2026', '\ufe19', '\ufe30', '\ufe52', '\uff0e', // compatibility forms of dots
		'\u00a0', '\u202f', '\u205f', '\u3000', // and of spaces
		'\u2000', '\u2001', '\u2002', '\u2003', '\u2004', '\u2005', '\u2006', '\u2007', '\u2008', '\u2009', '\u200a':
		s.blank = true
	default:
		s.name = true
	}
}

// encoded takes the encoded character at the head of p into the segment. It
// returns how many bytes of p that was, 0 to refuse it.
func (s *segment) encoded(p string) (n int, slash bool) {
	c, ok := unhex(p)
	if !ok {
		return 0, false
	}
	switch {
	case c == '/':
		return 3, true
	case c < ' ' || c == 0x7f || c == '\\' || c == ';' || chars[c]&unreserved != 0:
		return 0, false
	case c == '%' && looksEncoded(p[3:]):
		return 0, false
	case c >= utf8.RuneSelf:
		r, n := encodedRune(p)
		if n == 0 || r < 0xa0 || slashLike(r) {
			return 0, false
		}
		s.add(r)
		return n, false
	}
	s.add(rune(c))
	return 3, false
}

// encodedRune decodes one percent-encoded UTF-8 sequence of more than one byte.
// n is 0 when it is not one.
func encodedRune(p string) (r rune, n int) {
	var buf [utf8.UTFMax]byte
	for size := range buf {
		c, ok := unhex(p[min(len(p), 3*size):])
		if !ok {
			return 0, 0
		}
		buf[size] = c
		if utf8.FullRune(buf[:size+1]) {
			r, got := utf8.DecodeRune(buf[:size+1])
			if r == utf8.RuneError && got <= 1 {
				return 0, 0
			}
			return r, 3 * got
		}
	}
	return 0, 0
}

// slashLike reports whether best-fit mapping or NFKC makes a path separator of r.
func slashLike(r rune) bool {
	switch r {
	case '\u2044', '\u2215', '\u29f8', '\uff0f', // fraction, division, big and fullwidth solidus
		'\u2216', '\u29f5', '\u29f9', '\ufe68', '\uff3c', // their reverse forms
		'\u00a5', '\u20a9': // yen and won: the backslash of Japanese and Korean code pages
		return true
	}
	return false
}

// looksEncoded reports whether a percent sign before s would begin an encoding:
// two hexadecimal digits, or u and four (IIS).
func looksEncoded(s string) bool {
	if len(s) > 4 && (s[0] == 'u' || s[0] == 'U') {
		return isHex(s[1]) && isHex(s[2]) && isHex(s[3]) && isHex(s[4])
	}
	return len(s) > 1 && isHex(s[0]) && isHex(s[1])
}

// unhex decodes the percent-encoded byte at the head of p.
func unhex(p string) (c byte, ok bool) {
	if len(p) < 3 || p[0] != '%' || !isHex(p[1]) || !isHex(p[2]) {
		return 0, false
	}
	return hexValue(p[1])<<4 | hexValue(p[2]), true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func hexValue(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
