// Package app wires the parts into a process and owns their life cycle: it
// builds the zone of a map, starts what runs, and drains it in order.
//
// It promises that a zone which cannot be served whole is not served at all,
// and that a stop loses nothing that was acknowledged.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/zone"
)

// Options are where a process keeps its state and how it talks.
type Options struct {
	Data    string // the data folder
	RootKey string // the root key; empty: Data + ".root"
	Run     string // the folder of sockets for other programs; empty: RunFolder
	Version string

	LeaveRPID string // a host that the zone's passkeys leave on purpose; empty: none
	Log       *slog.Logger
	Ready     func() // called once when all listeners are open; may be nil

	// Map reads the map again for a reload; nil: the zone keeps the map it began
	// with. It is read when Hangup says so, and when one of its files has changed.
	Map    func() (*zone.Zone, error)
	Hangup <-chan os.Signal

	SVIDLife time.Duration // of workload identities; 0: an hour. For benchmarks
}

// Serve runs the whole zone in this process until ctx ends, then drains it. That
// ctx ends while the zone starts is no error either.
func Serve(ctx context.Context, z *zone.Zone, o Options) error {
	boundMemory()
	quietLibraries()
	if err := servable(z); err != nil {
		return err
	}
	tellNotices(z, o.Log)
	if err := noCoreDumps(); err != nil {
		return err
	}
	started := time.Now()
	s, err := build(ctx, z, o)
	if err != nil && ctx.Err() != nil {
		o.Log.Info("told to stop before it served", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	o.Log.Info("serving", "zone", z.Name, "revision", z.Revision[:12], "services", len(z.Services), "start_ms", time.Since(started).Milliseconds())
	if o.Ready != nil {
		o.Ready()
	}
	return errors.Join(s.run(ctx), s.close())
}

// noCoreDumps keeps keys, which this process has in clear in its memory, from
// the disk (control DT-07).
func noCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("switch off core dumps: %w", err)
	}
	return nil
}

// servable refuses a map that this version cannot serve without breaking what it
// declares.
func servable(z *zone.Zone) error {
	if err := CheckPaths(z); err != nil {
		return err
	}
	var stops []error
	for _, n := range z.Notices {
		if n.Effect == zone.StopsServe {
			stops = append(stops, fmt.Errorf("%s: %s: %s", n.Pos, n.Path, n.Text))
		}
	}
	if len(stops) > 0 {
		return fmt.Errorf("this version cannot serve the map:\n%w", errors.Join(stops...))
	}
	return nil
}

// tellNotices tells what is weak in a map, or declared and not enforced.
func tellNotices(z *zone.Zone, log *slog.Logger) {
	for _, n := range z.Notices {
		switch n.Effect {
		case zone.StopsServe: // see servable
		case zone.Warning:
			log.Warn("map: weak", "place", n.Pos.String(), "path", n.Path, "text", n.Text)
		default:
			log.Warn("map: declared, not enforced yet", "place", n.Pos.String(), "path", n.Path, "effect", n.Effect.String(), "text", n.Text)
		}
	}
}

// run starts everything that runs. The doors stop first: while they drain,
// keys, journal and the admin socket are still there. A part that ends in the
// background, however it ends, ends the doors too.
func (s *system) run(ctx context.Context) error {
	doors, stopDoors := context.WithCancel(ctx)
	defer stopDoors()
	defer context.AfterFunc(doors, func() {
		s.draining.Store(true)
		s.log.Info("draining")
	})()
	inner, stopInner := context.WithCancel(context.WithoutCancel(ctx))
	defer stopInner()

	s.background.run(inner, stopDoors)
	watch, stopWatch := context.WithCancel(doors)
	defer stopWatch()
	var watching sync.WaitGroup
	if s.options.Map != nil {
		watching.Go(func() { s.watchMap(watch, s.options) })
	}
	err := s.gateway.Serve(doors, s.doors)
	stopWatch()
	watching.Wait() // a reload that was under way adds no part to those that end
	if doors.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	stopInner()
	return errors.Join(err, s.background.wait())
}
