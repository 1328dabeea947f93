package pki

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// maxHosts bounds the names of one certificate.
const maxHosts = 100

// loopback is what every internal certificate names besides its hosts, so that
// the zone can be tried on its own machine.
var loopback = [...]string{"localhost", "127.0.0.1", "::1"}

// names are the subject alternative names of a leaf.
type names struct {
	dns []string
	ips []net.IP
}

// parseNames sorts hosts of a map into names and addresses and adds loopback.
func parseNames(hosts []string) (names, error) {
	if len(hosts) > maxHosts {
		return names{}, fmt.Errorf("pki: %d hosts are more than %d", len(hosts), maxHosts)
	}
	var n names
	seen := map[string]bool{}
	for _, h := range slices.Concat(hosts, loopback[:]) {
		addr, err := netip.ParseAddr(h)
		switch {
		case err == nil && addr.Zone() == "":
			addr = addr.Unmap()
			if h = addr.String(); !seen[h] {
				n.ips = append(n.ips, addr.AsSlice())
			}
		case dnsName(h):
			if !seen[h] {
				n.dns = append(n.dns, h)
			}
		default:
			return names{}, fmt.Errorf("pki: host %q is neither a name in lower case nor an address", h)
		}
		seen[h] = true
	}
	return n, nil
}

// dnsName says whether s is a host name in lower case (RFC 1123 section 2.1).
// Wildcards are not: one name of a zone never speaks for another.
func dnsName(s string) bool {
	last := s[strings.LastIndexByte(s, '.')+1:]
	return domain(s) && strings.Trim(last, "0123456789") != "" // all digits would read as an address
}

// domain says whether s can name a zone, and so a SPIFFE trust domain
// (SPIFFE-ID section 2.1, which takes more).
func domain(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil || len(s) > 253 {
		return false
	}
	for l := range strings.SplitSeq(s, ".") {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for i := range len(l) {
			if c := l[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// workloadName says whether s can name a service, and so be the path of a
// SPIFFE ID: one segment, nothing that could be written in two ways.
func workloadName(s string) bool {
	if s == "" || len(s) > 63 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
