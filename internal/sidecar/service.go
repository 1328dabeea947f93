package sidecar

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"sallyport.dev/internal/upstream"
	"sallyport.dev/zone"
)

const (
	idleTime = 4 * time.Second // below the 5 s after which common servers close
	idleMost = 128             // idle connections to an instance of the service
	headMost = 64 << 10        // bytes of the head of a call, and of an answer (upstream's bound)
)

// newService returns the service as the sidecar reaches it: in plain, on this
// host. The table of handles bounds the requests under way. They are all one
// client's to upstream, whose share is no bound while half of the places are free.
func newService(c Config, svc *zone.Service) *upstream.Set {
	dialer := &net.Dialer{Control: hereOnly}
	behind := &zone.Service{Name: svc.Name, Upstreams: svc.Upstreams} // without its doors: of these the sidecar is one
	return upstream.New(behind, upstream.Config{
		Dial: func(ctx context.Context, _ *zone.Service, to zone.Upstream) (net.Conn, error) {
			return dialer.DialContext(ctx, to.Network, to.Address)
		},
		DialTime:    c.DialTime,
		HeadTime:    min(c.HeadTime, c.AnswerTime),
		PieceTime:   c.PieceTime,
		AnswerTime:  c.AnswerTime,
		IdleTime:    idleTime,
		IdleConns:   idleMost,
		Outstanding: 2*c.Requests + 2,
		Log:         c.Log,
	})
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
