package gateway

import (
	"net/netip"
	"strings"
)

// hostOf returns the host of an authority (RFC 3986 section 3.2): in lower case,
// without port, addresses in their canonical text and without brackets. It
// refuses whatever is not plainly a name or an address with an optional port.
func hostOf(authority string) (host string, ok bool) {
	if strings.HasPrefix(authority, "[") {
		return addressOf(authority)
	}
	host, port, hasPort := strings.Cut(authority, ":")
	if hasPort && !validPort(port) {
		return "", false
	}
	if host == "" || len(host) > 253 { // RFC 1035 section 2.3.4
		return "", false
	}
	lower := true
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.':
		case 'A' <= c && c <= 'Z':
			lower = false
		default:
			return "", false
		}
	}
	if !lower {
		host = strings.ToLower(host)
	}
	return host, true
}

func addressOf(authority string) (host string, ok bool) {
	end := strings.IndexByte(authority, ']')
	if end < 0 {
		return "", false
	}
	if rest := authority[end+1:]; rest != "" && (rest[0] != ':' || !validPort(rest[1:])) {
		return "", false
	}
	a, err := netip.ParseAddr(authority[1:end])
	if err != nil || !a.Is6() || a.Zone() != "" {
		return "", false
	}
	return a.String(), true
}

func validPort(p string) bool {
	if p == "" || len(p) > 5 {
		return false
	}
	for i := range len(p) {
		if p[i] < '0' || p[i] > '9' {
			return false
		}
	}
	return true
}
