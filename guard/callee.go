package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"sallyport.dev/zone"
)

const dialTimeout = 2 * time.Second // of one instance

// callee is a service that this one may call.
type callee struct {
	matcher   *zone.Matcher // of the declared calls
	asService map[*zone.Route]bool
	upstreams []zone.SliceUpstream // those that may be dialled
}

// compileCalls sorts the declared calls by service.
func compileCalls(calls []zone.SliceCall) (map[string]*callee, error) {
	callees := make(map[string]*callee)
	routes := make(map[string][]*zone.Route)
	for i := range calls {
		c := &calls[i]
		to := callees[c.Service]
		if to == nil {
			to = &callee{asService: make(map[*zone.Route]bool)}
			callees[c.Service] = to
		}
		rt := c.Route()
		to.asService[rt] = c.AsService
		routes[c.Service] = append(routes[c.Service], rt)
		for _, u := range c.Upstreams {
			if onThisHost(u) && !slices.Contains(to.upstreams, u) {
				to.upstreams = append(to.upstreams, u)
			}
		}
	}
	for name, to := range callees {
		var err error
		if to.matcher, err = zone.NewMatcher(routes[name]); err != nil {
			return nil, fmt.Errorf("calls of %s: %w", name, err)
		}
	}
	return callees, nil
}

// onThisHost says whether an instance may be called without mutual TLS: inside
// tokens do not travel a network in the clear.
func onThisHost(u zone.SliceUpstream) bool {
	if u.Scheme != "http" {
		return false
	}
	switch u.Network {
	case "unix":
		return true
	case "tcp":
		host, _, err := net.SplitHostPort(u.Address)
		if err != nil {
			return false
		}
		ip, err := netip.ParseAddr(host)
		return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
	default:
		return false
	}
}

// dial connects to the first instance of a service that takes the connection.
// addr is SERVICE:80, as http.Transport derives it from the URL.
func (g *Guard) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	b := g.book.Load()
	if b == nil || b.callees[name] == nil {
		return nil, ErrUndeclared // the map changed since the call was judged
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	errs := []error{fmt.Errorf("guard: no instance of %s takes the connection", name)}
	for _, u := range b.callees[name].upstreams {
		conn, err := dialer.DialContext(ctx, u.Network, u.Address)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}
