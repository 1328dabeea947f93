package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// doors are the doorways at work, and why they stopped.
type doors struct {
	mu      sync.Mutex
	all     []*doorway // those that leave, too
	serving sync.WaitGroup
	broken  chan error // the first that broke
}

var errNotServing = errors.New("gateway: it does not serve")

// Run opens the listeners of the zone and serves until ctx ends, then drains.
// It returns nil after a clean drain. A Gateway runs once.
func (g *Gateway) Run(ctx context.Context) error {
	listeners := g.now().listeners
	open := make(map[string]net.Listener, len(listeners))
	var lc net.ListenConfig
	for _, l := range listeners {
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
	g.changing.Lock()
	for _, p := range g.now().pools {
		p.watchHealth()
	}
	g.doors.broken = make(chan error, 1)
	for _, l := range g.now().listeners {
		g.openDoor(newDoorway(g, l, open[l.Name]))
	}
	g.serving = true
	close(g.served)
	g.changing.Unlock()

	var err error
	select {
	case <-ctx.Done(): // told to stop
	case err = <-g.doors.broken: // one door down is all doors down
	}
	g.shutdown(context.WithoutCancel(ctx))
	g.doors.serving.Wait()
	return err
}

// Serving is closed when the gateway serves: from then on its map can be replaced.
func (g *Gateway) Serving() <-chan struct{} { return g.served }

// openDoor serves a doorway until its socket is closed.
func (g *Gateway) openDoor(d *doorway) {
	g.doors.mu.Lock()
	g.doors.all = append(g.doors.all, d)
	g.doors.mu.Unlock()
	g.doors.serving.Go(func() {
		if err := d.serve(); err != nil {
			select {
			case g.doors.broken <- err:
			default: // another broke first
			}
		}
	})
}

func (g *Gateway) forgetDoor(d *doorway) {
	g.doors.mu.Lock()
	defer g.doors.mu.Unlock()
	g.doors.all = slices.DeleteFunc(slices.Clone(g.doors.all), func(o *doorway) bool { return o == d })
}

func (g *Gateway) allDoors() []*doorway {
	g.doors.mu.Lock()
	defer g.doors.mu.Unlock()
	return g.doors.all // replaced, never changed, but for its end
}

func (g *Gateway) fits(open map[string]net.Listener) error {
	listeners := g.now().listeners
	for _, l := range listeners {
		if open[l.Name] == nil {
			return fmt.Errorf("gateway: listener %s was not opened", l.Name)
		}
	}
	if len(open) != len(listeners) {
		return errors.New("gateway: more listeners were opened than the zone has")
	}
	return nil
}

// doorMoves is what a reload does to the doorways.
type doorMoves struct {
	stay  map[*doorway]*listener // they go on, by new rules
	enter []*doorway             // they are new
	leave map[*doorway]*listener // another takes their place; what they have left is judged by new rules
	gone  []*doorway             // their listener is gone
}

// prepareDoors finds a socket for each listener of the next rules: its own, one
// of the same address, or a new one. On an error nothing is open that was not.
func (g *Gateway) prepareDoors(next *rules) (_ doorMoves, err error) {
	m := doorMoves{stay: map[*doorway]*listener{}, leave: map[*doorway]*listener{}}
	defer func() {
		if err != nil {
			for _, d := range m.enter {
				_ = d.Listener.Close() // nothing was accepted on it
			}
		}
	}()
	all := g.allDoors()
	for _, l := range next.listeners {
		own, same := doorsOf(all, l)
		if own != nil && own == same && own.bounds == boundsOf(l) {
			m.stay[own] = l
			continue
		}
		var socket net.Listener
		if same != nil {
			socket, err = same.again()
		} else {
			socket, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", l.Address)
		}
		if err != nil {
			return m, fmt.Errorf("gateway: open listener %s: %w%s", l.Name, err, heldBy(all, l.Address, err))
		}
		m.enter = append(m.enter, newDoorway(g, l, socket))
	}
	for _, d := range all {
		if _, stays := m.stay[d]; stays || d.removed.Load() {
			continue
		}
		if l := next.listener(d.current.Load().Name); l != nil {
			m.leave[d] = l
		} else {
			m.gone = append(m.gone, d)
		}
	}
	return m, nil
}

// heldBy says which doorway of this process has the port of an address that is in
// use, and what to do; empty when none has.
func heldBy(all []*doorway, address string, err error) string {
	_, port, bad := net.SplitHostPort(address)
	if bad != nil || !errors.Is(err, syscall.EADDRINUSE) {
		return ""
	}
	for _, d := range all {
		if _, own, err := net.SplitHostPort(d.Addr().String()); err == nil && own == port && !d.leaving.Load() {
			return fmt.Sprintf(": listener %s of this process has the port at %s; restart the zone, or take another port", d.current.Load().Name, d.Addr())
		}
	}
	return ""
}

// doorsOf finds the doorway of a listener's name, and that of its address.
func doorsOf(all []*doorway, l *listener) (own, same *doorway) {
	anyPort := strings.HasSuffix(l.Address, ":0") // another one each time it is opened
	for _, d := range all {
		if d.leaving.Load() {
			continue
		}
		if d.current.Load().Name == l.Name {
			own = d
		} else if d.address == l.Address && !anyPort {
			same = d
		}
	}
	if own != nil && own.address == l.Address {
		same = own
	}
	return own, same
}

// move carries out what was prepared. Nothing in it can fail.
func (g *Gateway) move(m doorMoves, next *rules) {
	for _, l := range next.listeners {
		l.places.resize(int64(l.Limits.Connections))
	}
	for d, l := range m.stay {
		d.current.Store(l)
	}
	for _, d := range m.enter {
		g.openDoor(d)
	}
	for d, l := range m.leave {
		d.current.Store(l)
		if !d.leaving.Load() {
			d.leave()
		}
	}
	for _, d := range m.gone {
		// Its rules may be let go: what still comes is refused before it needs them.
		d.removed.Store(true)
		d.leave()
		g.doors.serving.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), g.drain)
			defer cancel()
			d.remove(ctx)
		})
	}
}

// shutdown stops accepting, closes idle connections, answers zone.draining to
// what still arrives on live ones, and waits a bounded time for requests under
// way. What is left then, long streams above all, is cut.
func (g *Gateway) shutdown(ctx context.Context) {
	g.changing.Lock()
	defer g.changing.Unlock()
	g.serving = false
	g.draining.Store(true)
	ctx, cancel := context.WithTimeout(ctx, g.drain)
	defer cancel()
	var all sync.WaitGroup
	for _, d := range g.allDoors() {
		all.Go(func() {
			if err := d.server.Shutdown(ctx); err != nil {
				g.log.Warn("requests cut at the end of the drain", "listener", d.current.Load().Name, "error", err)
				g.cutting.Store(true)
				_ = d.server.Close() // the listener is closed already; this cuts the rest
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
