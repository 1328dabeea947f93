package guard

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
	"sallyport.dev/zone"
)

const dialTimeout = 2 * time.Second // of one instance

// calls are the services that this one may call, with the wires to them. Each
// map has wires of its own, so that no connection outlives the map that named
// its other end.
type calls struct {
	to map[string]*callee
}

// callee is a service that this one may call.
type callee struct {
	name      string
	id        svid.ID       // zero: it has no inner door
	matcher   *zone.Matcher // of the declared calls
	calls     map[*zone.Route]*call
	upstreams []zone.SliceUpstream // those that may be dialled
	wire      wire
	http2     wire // of gRPC, over HTTP/2
	sockets   wire // of WebSockets, whose connections nothing else uses
}

// call is a compiled call.
type call struct {
	asService bool
	stream    zone.Stream
	proof     httpsig.Profile
	body      int64  // bytes of the request's body
	closed    string // why the call is not sent; empty: it is
}

// compileCalls sorts the declared calls by service.
func compileCalls(g *Guard, s *zone.Slice) (*calls, error) {
	cs := &calls{to: make(map[string]*callee)}
	routes := make(map[string][]*zone.Route)
	for i := range s.Calls {
		c := &s.Calls[i]
		to, err := cs.callee(s.Zone, c)
		if err != nil {
			return nil, err
		}
		rt := c.Route()
		to.calls[rt] = compileCall(c, rt)
		routes[c.Service] = append(routes[c.Service], rt)
		for _, u := range c.Upstreams {
			if to.mayDial(u) && !slices.Contains(to.upstreams, u) {
				to.upstreams = append(to.upstreams, u)
			}
		}
	}
	for name, to := range cs.to {
		var err error
		if to.matcher, err = zone.NewMatcher(routes[name]); err != nil {
			return nil, fmt.Errorf("calls of %s: %w", name, err)
		}
		if to.id.IsZero() {
			to.wire, to.http2, to.sockets = newPlainWire(g, to, inTurn), newPlainWire(g, to, together), newPlainWire(g, to, once)
		} else {
			to.wire, to.http2, to.sockets = newInnerWire(g, to, inTurn), newInnerWire(g, to, together), newInnerWire(g, to, once)
		}
	}
	return cs, nil
}

// callee returns the entry of a call's service. A service has an inner door for
// all calls or for none: one that says both is refused rather than guessed.
func (cs *calls) callee(zoneName string, c *zone.SliceCall) (*callee, error) {
	var id svid.ID
	if c.InnerDoor {
		var err error
		if id, err = svid.ServiceID(zoneName, c.Service); err != nil {
			return nil, err
		}
	}
	to := cs.to[c.Service]
	if to == nil {
		to = &callee{name: c.Service, id: id, calls: make(map[*zone.Route]*call)}
		cs.to[c.Service] = to
	}
	if to.id != id {
		return nil, fmt.Errorf("calls of %s: with an inner door and without", c.Service)
	}
	return to, nil
}

func compileCall(c *zone.SliceCall, rt *zone.Route) *call {
	out := &call{
		asService: c.AsService, stream: rt.Stream, proof: profileOf(rt), body: defaultBody,
		closed: strings.Join(rt.NotEnforced, ", "),
	}
	if c.BodyLimit > 0 {
		out.body = c.BodyLimit
	}
	return out
}

// mayDial says whether an instance may be called: an inner door over mutual TLS,
// wherever it is; anything else on this host only, since inside tokens do not
// travel a network in the clear.
func (to *callee) mayDial(u zone.SliceUpstream) bool {
	if u.Network != "unix" && u.Network != "tcp" {
		return false
	}
	if !to.id.IsZero() {
		return u.Scheme == "https"
	}
	return u.Scheme == "http" && onThisHost(u)
}

func onThisHost(u zone.SliceUpstream) bool {
	if u.Network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(u.Address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// close lets go of connections that no call uses.
func (cs *calls) close() {
	for _, to := range cs.to {
		to.wire.CloseIdleConnections()
		to.http2.CloseIdleConnections()
	}
}
