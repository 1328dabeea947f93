package gateway

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

// Canonical keys of the header fields that are read here.
const (
	headerForwardedFor = "X-Forwarded-For"
	headerTraceparent  = "Traceparent"
)

// label gives the trip the names by which it is found: correlation id, trace and
// client address. It runs before the first stage, so that a request refused by
// it has them too; nothing is decided by them here.
func label(t *trip) {
	var given string
	if ids := t.r.Header[obs.CorrelationHeader]; len(ids) == 1 {
		given = ids[0]
	}
	t.CorrelationID = obs.CorrelationID(given)
	// A new trace starts at the door. The caller's own is a link and no parent: it
	// could choose ids that collide, or sampling that floods.
	t.Trace = obs.NewTrace()
	if parents := t.r.Header[headerTraceparent]; len(parents) == 1 && validTraceparent(parents[0]) {
		t.tags = append(t.tags, "link:"+parents[0])
	}
	t.Client = t.client()
}

// client returns the address that the request comes from: the peer, or what
// declared proxies say of it.
func (t *trip) client() netip.Addr {
	var peer netip.Addr
	if t.conn != nil {
		peer = t.conn.peer
	} else if ap, err := netip.ParseAddrPort(t.r.RemoteAddr); err == nil {
		peer = ap.Addr().Unmap().WithZone("")
	}
	if !t.listener.trusts(peer) { // by the map that judges this request: the connection may be older
		return peer
	}
	return forwardedFor(t.r.Header, peer, t.listener.trusts)
}

func (l *listener) trusts(a netip.Addr) bool {
	for _, p := range l.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// forwardedFor walks X-Forwarded-For from the right, where the nearest proxy
// wrote, and returns the first address that is no trusted proxy. What stands
// left of it was written by the client. A hop that is no address ends the walk
// at the proxy that wrote it: the last of whom anything is known.
func forwardedFor(h http.Header, peer netip.Addr, trusts func(netip.Addr) bool) netip.Addr {
	fields := h[headerForwardedFor]
	last := peer
	for i := len(fields) - 1; i >= 0; i-- {
		rest := fields[i]
		for rest != "" {
			hop := rest
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, hop = rest[:comma], rest[comma+1:]
			} else {
				rest = ""
			}
			a, ok := parseHop(strings.Trim(hop, " \t"))
			if !ok {
				return last
			}
			last = a
			if !trusts(a) {
				return a
			}
		}
	}
	return last
}

// parseHop reads an address; some proxies add the port.
func parseHop(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// validTraceparent reports whether s is a version 00 traceparent (W3C Trace
// Context section 3.2): what goes into a record has a known shape.
func validTraceparent(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; i != 2 && i != 35 && i != 52 && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s[3:35] != "00000000000000000000000000000000" && s[36:52] != "0000000000000000"
}

// identifyStage bounds the client's address before anything costly, and checks
// that the request is for this listener.
func identifyStage(g *Gateway, t *trip) problem.Reason {
	if ok, retry := g.requests.take(t.Client, t.start); !ok {
		t.retryAfter(retry)
		return problem.LimitAddress
	}
	host, ok := hostOf(t.r.Host)
	if !ok {
		return problem.RequestHost
	}
	if !t.listener.hosts[host] {
		return problem.ListenerHost
	}
	t.host = host
	return t.serverName()
}

// serverName compares the name that the handshake was for with the one that the
// request is for: a certificate or a client check chosen for one host must not
// serve another (RFC 9110 section 7.4).
func (t *trip) serverName() problem.Reason {
	switch name := t.r.TLS.ServerName; {
	case name == "" && t.listener.noSNI:
		return problem.OK
	case strings.EqualFold(name, t.host):
		return problem.OK
	}
	return problem.ListenerSNI
}

// retryAfter tells when to come back, in whole seconds, at least one (RFC 9110
// section 10.2.3).
func (t *trip) retryAfter(d time.Duration) { t.extra.Set("Retry-After", wholeSeconds(d)) }
