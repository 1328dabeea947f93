package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"sallyport.dev/zone"
)

// Guard is what the sidecar needs of *guard.Guard. The handler that Serve is
// given must run under guard.Protect, whose context the handler reads.
type Guard interface {
	Wait(ctx context.Context) error // until there are an identity and a map
	Ready() bool
	Serve(ctx context.Context, l net.Listener, h http.Handler) error // until ctx ends, then drains
	Client() *http.Client
}

// Config says whose inner door it is. The bounds have defaults, which are written
// beside them.
type Config struct {
	Zone    *zone.Zone
	Service string // its name in the map, where it has a sidecar
	Guard   Guard

	// Socket is where the service's calls are taken when the map does not say
	// (`outbound`): the path of a unix socket, in a folder that nobody else can
	// write to.
	Socket string

	// Listen opens the listener for the gateway and the callers, on the map's
	// `sidecar`. Default: net.ListenConfig.
	Listen func(ctx context.Context, network, address string) (net.Listener, error)

	Requests int   // 1024 requests under way, and as many handles
	Calls    int   // 512 connections of the service to the outbound listener
	CallBody int64 // 64 MiB of a call's body

	DialTime   time.Duration // 2 s to connect to one instance of the service
	HeadTime   time.Duration // 30 s from the sent request to the head of the answer
	PieceTime  time.Duration // 30 s between two pieces of an answer
	AnswerTime time.Duration // 5 min for the whole answer, and for the whole request where it has a body; a declared stream only until its head
	StreamIdle time.Duration // 2 min that a declared stream is silent
	CallHead   time.Duration // 5 s for the head of a call
	TunnelRest time.Duration // 10 s that one direction of a tunnel may be silent once the other has ended: WebSocket ends in both at once (RFC 6455 section 7.1.1)
	Drain      time.Duration // 10 s for calls that are under way at the end

	Log *slog.Logger // default discards
}

func (c Config) withDefaults() Config {
	number := func(d *int, v int) {
		if *d == 0 {
			*d = v
		}
	}
	span := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	number(&c.Requests, 1024)
	number(&c.Calls, 512)
	span(&c.DialTime, 2*time.Second)
	span(&c.HeadTime, 30*time.Second)
	span(&c.PieceTime, 30*time.Second)
	span(&c.AnswerTime, 5*time.Minute)
	span(&c.StreamIdle, 2*time.Minute)
	span(&c.CallHead, 5*time.Second)
	span(&c.TunnelRest, 10*time.Second)
	span(&c.Drain, 10*time.Second)
	if c.CallBody == 0 {
		c.CallBody = 64 << 20
	}
	if c.Listen == nil {
		c.Listen = (&net.ListenConfig{}).Listen
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// check returns the service, or why it cannot have a sidecar.
func (c Config) check() (*zone.Service, error) {
	if c.Zone == nil || c.Guard == nil {
		return nil, errors.New("sidecar: no zone or no guard")
	}
	if c.Requests < 0 || c.Calls < 0 || c.CallBody < 0 {
		return nil, errors.New("sidecar: a bound is negative")
	}
	svc := c.Zone.Service(c.Service)
	if svc == nil {
		return nil, fmt.Errorf("sidecar: the zone %s has no service %q", c.Zone.Name, c.Service)
	}
	if svc.Sidecar == "" {
		return nil, fmt.Errorf("sidecar: the map gives %s no sidecar: write `sidecar: HOST:PORT`", svc.Name)
	}
	if len(svc.Upstreams) == 0 {
		return nil, fmt.Errorf("sidecar: the map does not say where %s listens", svc.Name)
	}
	for _, u := range svc.Upstreams {
		if u.Scheme != "http" || !u.Local() {
			return nil, fmt.Errorf("sidecar: %s listens on %s: only http on loopback or a unix socket stays behind its sidecar", svc.Name, u.URL)
		}
	}
	if c.Zone.Service(ownHost) != nil {
		return nil, fmt.Errorf("sidecar: the zone has a service of the name %q, which is the sidecar's own on its outbound socket", ownHost)
	}
	return svc, nil
}

// outboundAddress returns where the service's calls are taken: the map's word,
// else Config.Socket.
func (c Config) outboundAddress(svc *zone.Service) (network, address string, err error) {
	address = svc.Outbound
	if address == "" {
		address = c.Socket
	}
	if path := strings.TrimPrefix(address, "unix:"); path != address || filepath.IsAbs(address) {
		if !filepath.IsAbs(path) {
			return "", "", fmt.Errorf("sidecar: the outbound socket %q is not an absolute path", path)
		}
		return "unix", path, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("sidecar: outbound %q is neither unix:PATH nor an address of loopback", address)
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.Unmap().IsLoopback() {
		return "", "", fmt.Errorf("sidecar: outbound %q is not an address of loopback: others would make the service's calls", address)
	}
	return "tcp", address, nil
}
