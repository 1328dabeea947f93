package upstream

import "strings"

// Nominated reports whether one of the Connection fields of a message names the
// field or option. Such a field ends at this hop (RFC 9110 section 7.6.1).
func Nominated(connection []string, name string) bool {
	for _, f := range connection {
		for token := range strings.SplitSeq(f, ",") {
			if strings.EqualFold(strings.Trim(token, " \t"), name) {
				return true
			}
		}
	}
	return false
}
