package zone

import (
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// maxSocket is the longest path of a unix socket in bytes (unix(7)).
const maxSocket = 107

const domainText = `^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`

// isDomain says whether s is a host name in lower case (RFC 1123 section 2.1) and no
// address. What ends in a number is an address to many a program: 127.1, 0x7f.1
// (WHATWG URL, "ends in a number checker").
func isDomain(s string) bool {
	last := s[strings.LastIndexByte(s, '.')+1:]
	hex, isHex := strings.CutPrefix(last, "0x")
	if len(s) > 253 || strings.Trim(last, "0123456789") == "" || isHex && strings.Trim(hex, "0123456789abcdef") == "" {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if len(label) == 0 || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// domain is the name of the zone: also the trust domain of its identities
// (SPIFFE-ID section 2.1) and the host of its issuer.
func domain() typ[string] {
	return scalar("domain", "a domain in lower case, such as shop.example", domainText, func(s string) (string, error) {
		if !isDomain(s) {
			return "", errNo
		}
		return s, nil
	})
}

// host is a name or an address by which clients reach a listener.
func host() typ[string] {
	return scalar("host", "a domain in lower case or an IP address, without port", `^[a-z0-9.:-]+$`, func(s string) (string, error) {
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			return a.Unmap().String(), nil
		}
		name, _, _ := net.SplitHostPort(s)
		switch low := strings.ToLower(s); {
		case isDomain(s):
			return s, nil
		case isDomain(low):
			return "", wrong("write "+low, "%s has capitals", quote(s))
		case strings.HasPrefix(s, "*."):
			return "", wrong("name each host", "%s: wildcard hosts are refused", quote(s))
		case isDomain(name):
			return "", wrong("write "+name, "%s has a port", quote(s))
		}
		return "", errNo
	})
}

// bindAddress is where a listener listens; port 0 takes any free one.
func bindAddress() typ[string] {
	return scalar("address", "[HOST]:PORT with an IP address or localhost as host, such as :8443 or 127.0.0.1:8440", `^[0-9a-zA-Z.:%\[\]-]*:[0-9]{1,5}$`, func(s string) (string, error) {
		h, p, ok := splitAddress(s)
		if _, err := netip.ParseAddr(h); !ok || err != nil && h != "" && h != "localhost" {
			return "", errNo
		}
		return net.JoinHostPort(h, p), nil
	})
}

// dialAddress is where another process listens.
func dialAddress() typ[string] {
	return scalar("host:port", "HOST:PORT, such as 10.0.1.6:9502", `^[0-9a-z.:\[\]-]+:[0-9]{1,5}$`, func(s string) (string, error) {
		h, p, ok := splitAddress(s)
		if !ok || p == "0" || !dialable(h) {
			return "", errNo
		}
		return net.JoinHostPort(h, p), nil
	})
}

func splitAddress(s string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(s)
	n, bad := strconv.ParseUint(port, 10, 16)
	return host, port, err == nil && bad == nil && strconv.FormatUint(n, 10) == port
}

func dialable(h string) bool {
	if a, err := netip.ParseAddr(h); err == nil {
		return a.Zone() == "" && !a.IsUnspecified()
	}
	return isDomain(h)
}

// loopback says whether only processes of this host can be behind a host name.
func loopback(h string) bool {
	a, err := netip.ParseAddr(h)
	return h == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// Local says whether the upstream is on this host: loopback or a unix socket.
func (u Upstream) Local() bool {
	h, _, _ := net.SplitHostPort(u.Address)
	return u.Network == "unix" || loopback(h)
}

func upstream() typ[Upstream] {
	const doc = "http://HOST:PORT, https://HOST:PORT or unix:/PATH"
	return scalar("upstream", doc, `^(https?://[^/@?#]+:[0-9]{1,5}|unix:/.+)$`, func(s string) (Upstream, error) {
		if socket, ok := strings.CutPrefix(s, "unix:"); ok {
			if hasControl(socket) || !path.IsAbs(socket) || path.Clean(socket) != socket || len(socket) > maxSocket || socket == "/" {
				return Upstream{}, wrong("write unix: and a clean absolute path of at most 107 bytes, such as unix:/run/orders.sock", "%s is no path of a socket", quote(s))
			}
			return Upstream{Scheme: "http", Network: "unix", Address: socket, URL: s}, nil
		}
		u, err := url.Parse(s)
		switch {
		case err != nil || !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://"):
			return Upstream{}, errNo
		case u.User != nil:
			return Upstream{}, wrong("remove it, change the password, and let the inner door protect the service", "an upstream holds a login in clear")
		case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(s, "?#"):
			return Upstream{}, wrong("write "+u.Scheme+"://HOST:PORT only; requests keep their own path", "%s has a path", quote(s))
		}
		h, p, ok := splitAddress(u.Host)
		if u.Port() == "" {
			return Upstream{}, wrong("write the port: "+u.Scheme+"://HOST:PORT", "%s has no port", quote(s))
		}
		if !ok || p == "0" || !dialable(h) {
			return Upstream{}, errNo
		}
		return Upstream{Scheme: u.Scheme, Network: "tcp", Address: net.JoinHostPort(h, p), URL: s}, nil
	})
}

// webURL is an address of another party: no login, query or fragment, for
// those are where secrets hide.
func webURL(name, doc string, schemes ...string) typ[string] {
	return scalar(name, doc, `^(`+strings.Join(schemes, "|")+`)://[^@?#]+$`, func(s string) (string, error) {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || !isOneOf(u.Scheme, schemes) || !strings.HasPrefix(s, u.Scheme+"://") || !dialable(u.Hostname()) {
			return "", errNo
		}
		if u.User != nil {
			return "", wrong("remove it and change it: a map holds no secret", "the url holds a login in clear")
		}
		if strings.ContainsAny(s, "?#") {
			return "", wrong("remove it: a map holds no secret", "the url has a query or a fragment, where secrets hide")
		}
		return s, nil
	})
}

// origin is scheme, host and port only: what CORS and egress compare.
func origin(name, doc string) typ[string] {
	of := webURL(name, doc, "https", "http")
	return scalar(name, doc, `^https?://[^/@?#]+$`, func(s string) (string, error) {
		v, err := of.parse(s)
		if err == nil && (strings.Count(v, "/") > 2 || strings.ToLower(v) != v) {
			return "", wrong("write scheme, host and port only, in lower case", "%s is more than an origin", quote(s))
		}
		return v, err
	})
}

func isOneOf(s string, list []string) bool {
	for _, l := range list {
		if s == l {
			return true
		}
	}
	return false
}

func prefix() typ[netip.Prefix] {
	return scalar("network", "an IP network, such as 10.0.0.0/8", `^[0-9a-f.:]+/[0-9]{1,3}$`, func(s string) (netip.Prefix, error) {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return p, errNo
		}
		if m := p.Masked(); m != p {
			return p, wrong("write "+m.String(), "%s has bits outside its mask", quote(s))
		}
		return p, nil
	})
}

// filePath is a file or folder, relative to the folder of the map.
func filePath() typ[string] {
	return scalar("file", "a path, relative to the folder of the map", `^[^\x00-\x1f\x7f]+$`, func(s string) (string, error) {
		if s == "" || len(s) > 500 || hasControl(s) {
			return "", errNo
		}
		return filepath.Clean(s), nil
	})
}

// glob is a pattern of files, relative to the folder of the map.
func glob() typ[string] {
	return scalar("glob", "a pattern of files relative to the map, such as teams/*.yaml", `^[^/\x00-\x1f\x7f][^\x00-\x1f\x7f]*$`, func(s string) (string, error) {
		if _, err := filepath.Match(s, ""); err != nil || s == "" || len(s) > 500 || hasControl(s) || filepath.IsAbs(s) {
			return "", errNo
		}
		return s, nil
	})
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7F })
}

func mailAddress() typ[string] {
	return scalar("mail address", "an address such as no-reply@shop.example", `^[^@\s<>]+@[^@\s<>]+$`, func(s string) (string, error) {
		if a, err := mail.ParseAddress(s); err != nil || a.Address != s || len(s) > 254 {
			return "", errNo
		}
		return s, nil
	})
}
