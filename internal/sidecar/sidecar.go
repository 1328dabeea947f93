package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"sallyport.dev/zone"
)

// Sidecar is the inner door of one service. It is made by New and run once.
type Sidecar struct {
	cfg     Config
	svc     *zone.Service
	inbound *inbound
	handles *handles

	network, address string // of the outbound listener

	ran  atomic.Bool
	open atomic.Bool // the gateway and the callers are served
}

var errQuit = errors.New("the service said quit")

// New returns the sidecar of a service of the map, or why it cannot have one. It
// opens nothing.
func New(c Config) (*Sidecar, error) {
	svc, err := c.check()
	if err != nil {
		return nil, err
	}
	c = c.withDefaults()
	s := &Sidecar{cfg: c, svc: svc, handles: newHandles(c.Requests)}
	if s.network, s.address, err = c.outboundAddress(svc); err != nil {
		return nil, err
	}
	s.inbound = newInbound(c, svc, s.handles)
	return s, nil
}

// Ready says whether requests are taken: identity and map are there, and the
// door is open. It says nothing of the service behind it.
func (s *Sidecar) Ready() bool { return s.open.Load() && s.cfg.Guard.Ready() }

// Run takes the service's calls from now on, opens the door for the gateway and
// the callers when the guard has identity and map, and serves until ctx ends or
// the service says quit. Then requests under way are finished first, with the
// calls that they need, and calls after them. It returns nil after either end.
func (s *Sidecar) Run(ctx context.Context) error {
	if !s.ran.CompareAndSwap(false, true) {
		return errors.New("sidecar: run twice")
	}
	ctx, end := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer end(nil)
	watch.Go(func() { s.inbound.run(ctx) })
	calls, err := s.takeCalls(ctx, end)
	if err != nil {
		return err
	}
	err = s.takeRequests(ctx)
	end(err) // the calls need not outlive a door that failed
	s.open.Store(false)
	return errors.Join(err, calls.drain(s.cfg.Drain))
}

// takeRequests opens the inner door and serves it until ctx ends. Before identity
// and map are there nobody listens: a connection that is refused is tried
// elsewhere, one that is taken and reset looks like a fault.
func (s *Sidecar) takeRequests(ctx context.Context) error {
	if err := s.cfg.Guard.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("sidecar: %w", err)
	}
	l, err := s.cfg.Listen(ctx, "tcp", s.svc.Sidecar)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("sidecar: listen for the gateway and the callers: %w", err)
	}
	defer func() { _ = l.Close() }() // Serve has closed it, unless it failed
	stop := context.AfterFunc(ctx, func() { s.open.Store(false) })
	defer stop()
	s.open.Store(true)
	s.cfg.Log.Info("sidecar: open", "service", s.svc.Name, "address", s.svc.Sidecar, "outbound", s.network+":"+s.address)
	s.warnLoopback()
	err = s.cfg.Guard.Serve(ctx, l, s.inbound)
	if err == nil || ctx.Err() != nil && (errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed)) {
		return nil
	}
	return fmt.Errorf("sidecar: %w", err)
}

// warnLoopback says what a port of loopback costs, as `check` does.
func (s *Sidecar) warnLoopback() {
	for _, u := range s.svc.Upstreams {
		if u.Network != "unix" {
			s.cfg.Log.Warn("sidecar: any process of this host can speak to the service past its inner door; a unix socket is better", "upstream", u.URL)
		}
	}
	if s.network != "unix" {
		s.cfg.Log.Warn("sidecar: any process of this host can make the service's calls declared as: service; a unix socket is better", "outbound", s.address)
	}
}
