package httpsig

import "strings"

// What may stand in a signature base. A base is lines; whoever could bring a
// line break into a value could write lines of his own (RFC 9421 section 7.5.4).
// net/http refuses most of this before, the gateway's own reader too; here it is
// the last look, on both sides, and it costs a tenth of the MAC.

// validField: one field value, visible ASCII and inner spaces, as it is after
// the white space around it is gone (RFC 9421 section 2.1). No comma: none of the
// covered fields has one, and joined values are how two fields pretend to be one.
func validField(s string) bool {
	return s != "" && len(s) <= maxValue && s[0] != ' ' && s[len(s)-1] != ' ' && within(s, ' ', ',')
}

// validTarget: origin form (RFC 9112 section 3.2.1). No fragment is ever sent.
func validTarget(s string) bool {
	return s != "" && len(s) <= maxValue && s[0] == '/' && within(s, '!', '#')
}

// validMethod: letters, digits and hyphens of a token (RFC 9110 section 9.1).
func validMethod(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i := range len(s) {
		if !alphanumeric(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}

// validAuthority: a name or an address with an optional port, nothing that has
// two readings (user information, empty host or port, an address without brackets).
func validAuthority(s string) bool {
	if s == "" || len(s) > 255+len(":65535") || s[0] == ':' || s[len(s)-1] == ':' {
		return false
	}
	for i := range len(s) {
		if !alphanumeric(s[i]) && strings.IndexByte("-._:[]", s[i]) < 0 {
			return false
		}
	}
	return s[0] == '[' || strings.Count(s, ":") <= 1
}

func alphanumeric(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
}

const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// within reports whether every byte of s lies between low and '~' and none is
// except. It looks at eight bytes at a time: a token has a thousand.
func within(s string, low, except byte) bool {
	lows, excepts := ones*uint64(low), ones*uint64(except)
	for ; len(s) >= 8; s = s[8:] {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		below := (x - lows) &^ x // high bit set in some byte when one is less than low
		if (below|x|zeroByte(x^excepts)|zeroByte(x^ones*0x7f))&highs != 0 {
			return false
		}
	}
	for i := range len(s) {
		if s[i] < low || s[i] > '~' || s[i] == except {
			return false
		}
	}
	return true
}

// zeroByte has a high bit set when some byte of x is zero, and no high bit when
// none is.
func zeroByte(x uint64) uint64 { return (x - ones) &^ x & highs }
