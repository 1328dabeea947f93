package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Run opens the listeners of the zone and serves until ctx ends, then drains.
// It returns nil after a clean drain. A Gateway runs once.
func (g *Gateway) Run(ctx context.Context) error {
	open := make(map[string]net.Listener, len(g.listeners))
	var lc net.ListenConfig
	for _, l := range g.listeners {
		nl, err := lc.Listen(ctx, "tcp", l.Address)
		if err != nil {
			for _, o := range open {
				_ = o.Close() // nothing was accepted on it
			}
			g.Close()
			return fmt.Errorf("gateway: open listener %s: %w", l.Name, err)
		}
		open[l.Name] = nl
	}
	return g.Serve(ctx, open)
}

// Serve is Run on listeners that are already open, by name: one for each of the
// zone's. It closes them.
func (g *Gateway) Serve(ctx context.Context, open map[string]net.Listener) error {
	defer g.Close()
	if err := g.fits(open); err != nil {
		for _, nl := range open {
			_ = nl.Close() // refused whole: nothing is served
		}
		return err
	}
	health, stopHealth := context.WithCancel(context.WithoutCancel(ctx))
	var checks sync.WaitGroup
	for _, s := range g.services {
		checks.Go(func() { s.Run(health) })
	}
	defer checks.Wait()
	defer stopHealth()

	servers, failed := errgroup.WithContext(ctx)
	for _, l := range g.listeners {
		door := &doorway{Listener: open[l.Name], listener: l}
		servers.Go(func() error {
			err := l.server.Serve(newFront(door, l.server.TLSConfig, g.log))
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			return fmt.Errorf("gateway: listener %s: %w", l.Name, err)
		})
	}
	<-failed.Done() // told to stop, or a listener broke: one door down is all doors down
	g.shutdown(context.WithoutCancel(ctx))
	return servers.Wait()
}

func (g *Gateway) fits(open map[string]net.Listener) error {
	for _, l := range g.listeners {
		if open[l.Name] == nil {
			return fmt.Errorf("gateway: listener %s was not opened", l.Name)
		}
	}
	if len(open) != len(g.listeners) {
		return errors.New("gateway: more listeners were opened than the zone has")
	}
	return nil
}

// shutdown stops accepting, closes idle connections, answers zone.draining to
// what still arrives on live ones, and waits a bounded time for requests under
// way. What is left then, long streams above all, is cut.
func (g *Gateway) shutdown(ctx context.Context) {
	g.draining.Store(true)
	ctx, cancel := context.WithTimeout(ctx, g.drain)
	defer cancel()
	var all sync.WaitGroup
	for _, l := range g.listeners {
		all.Go(func() {
			if err := l.server.Shutdown(ctx); err != nil {
				g.log.Warn("requests cut at the end of the drain", "listener", l.Name, "error", err)
				g.cutting.Store(true)
				_ = l.server.Close() // the listener is closed already; this cuts the rest
			}
		})
	}
	all.Wait()
	g.awaitRecords()
}

// cutGrace is how long a stop waits for the records of what it has cut.
const cutGrace = 2 * time.Second

// awaitRecords waits for the handlers whose connections have ended: they still
// have a record to keep, and the journal may be closed once Serve has returned.
func (g *Gateway) awaitRecords() {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(cutGrace); g.underWay.Load() > 0 && time.Now().Before(end); {
		<-look.C
	}
}
