package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"sallyport.dev/zone"
)

const dialTimeout = 2 * time.Second // of one instance

// calls are the services that this one may call, with the wire to them. Each map
// has a wire of its own, so that no connection outlives the map that named its
// other end.
type calls struct {
	to   map[string]*callee
	wire *http.Transport
}

// callee is a service that this one may call.
type callee struct {
	matcher   *zone.Matcher // of the declared calls
	asService map[*zone.Route]bool
	upstreams []zone.SliceUpstream // those that may be dialled
}

// compileCalls sorts the declared calls by service. The wire bounds the wait for
// an answer's header by patience.
func compileCalls(declared []zone.SliceCall, patience time.Duration) (*calls, error) {
	cs := &calls{to: make(map[string]*callee)}
	routes := make(map[string][]*zone.Route)
	for i := range declared {
		c := &declared[i]
		to := cs.to[c.Service]
		if to == nil {
			to = &callee{asService: make(map[*zone.Route]bool)}
			cs.to[c.Service] = to
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
	for name, to := range cs.to {
		var err error
		if to.matcher, err = zone.NewMatcher(routes[name]); err != nil {
			return nil, fmt.Errorf("calls of %s: %w", name, err)
		}
	}
	cs.wire = &http.Transport{
		Proxy:                  nil, // in particular not from the environment
		DialContext:            cs.dial,
		DisableCompression:     true,
		ForceAttemptHTTP2:      false,
		MaxIdleConns:           128,
		MaxIdleConnsPerHost:    32,
		MaxConnsPerHost:        256,
		IdleConnTimeout:        30 * time.Second,
		ResponseHeaderTimeout:  patience,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return cs, nil
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
func (cs *calls) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	to := cs.to[name]
	if to == nil {
		return nil, ErrUndeclared // the transport judged the call: it cannot come to this
	}
	dialer := net.Dialer{Timeout: dialTimeout, Control: hereOnly}
	errs := []error{fmt.Errorf("guard: no instance of %s takes the connection", name)}
	for _, u := range to.upstreams {
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

// hereOnly refuses to connect to another host (net.Dialer.Control): the name
// localhost is what a resolver says it is.
func hereOnly(network, address string, _ syscall.RawConn) error {
	switch network {
	case "unix":
		return nil
	case "tcp4", "tcp6":
		to, err := netip.ParseAddrPort(address)
		if err == nil && to.Addr().Unmap().IsLoopback() {
			return nil
		}
	}
	return fmt.Errorf("%s is not an address of this host", address)
}
