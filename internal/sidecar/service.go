package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"sallyport.dev/zone"
)

const (
	serviceName = "service"       // the host of every request to the service's instances, which share one pool
	idleTime    = 4 * time.Second // below the 5 s after which common servers close
	idleMost    = 128             // idle connections to the service
	headMost    = 64 << 10        // bytes of an answer's head
)

// errUnreachable is in the chain when no instance of the service takes a connection.
var errUnreachable = errors.New("no instance of the service takes the connection")

// instances dials the service. The instances take turns; one that does not take
// the connection is passed over.
type instances struct {
	list   []zone.Upstream
	dialer net.Dialer
	turn   atomic.Uint32
}

func newInstances(list []zone.Upstream, dialTime time.Duration) *instances {
	return &instances{list: list, dialer: net.Dialer{Timeout: dialTime, Control: hereOnly}}
}

// dial is for http.Transport, whose idea of the address is serviceName.
func (in *instances) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	errs := []error{errUnreachable}
	first := int(in.turn.Add(1) % uint32(len(in.list))) // #nosec G115 -- a map has few instances
	for i := range in.list {
		u := in.list[(first+i)%len(in.list)]
		conn, err := in.dialer.DialContext(ctx, u.Network, u.Address)
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

// newTransport returns the wire to the service. The number of its connections is
// that of the open requests, which the table of handles bounds.
func newTransport(c Config, in *instances) *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // in particular not from the environment
		DialContext:            in.dial,
		DisableCompression:     true, // what the service sends goes on as it is
		ForceAttemptHTTP2:      false,
		MaxIdleConns:           idleMost,
		MaxIdleConnsPerHost:    idleMost,
		IdleConnTimeout:        idleTime,
		ResponseHeaderTimeout:  c.HeadTime,
		MaxResponseHeaderBytes: headMost,
	}
}
