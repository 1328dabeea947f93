package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Run watches the instances and closes connections that were idle for too long,
// until ctx ends. There is one round at a time.
func (s *Set) Run(ctx context.Context) {
	tick := time.NewTicker(s.cfg.Health)
	defer tick.Stop()
	for {
		s.round(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// round checks each instance once, with a dial and the declared health.
func (s *Set) round(ctx context.Context) {
	var all sync.WaitGroup
	for _, in := range s.instances {
		old := func(since time.Time) bool { return s.cfg.Clock().Sub(since) >= s.cfg.IdleTime }
		in.closeIdle(func(w *wire) bool { return old(w.idleSince) })
		in.calls.closeIdle(old)
		all.Go(func() { in.check(ctx) })
	}
	all.Wait()
}

// check dials the instance and asks its declared health, on a connection of its
// own: one in use tells nothing about the next dial.
func (in *instance) check(ctx context.Context) {
	s := in.set
	conn, err := in.dial(ctx, s.cfg.Dial)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		in.failed(true, fmt.Errorf("health check: %w", err))
		return
	}
	w := newWire(conn)
	defer w.close()
	// What ejected it was a dial that failed, or exchanges that broke; only the
	// former is disproved by this.
	if in.failures.Load() < failuresLimit && in.ejection() != closedBreaker {
		in.readmit("it takes connections")
	}
	if s.service.Health == "" {
		return
	}
	err = w.askHealth(ctx, s.service.Health, s.cfg.HeadTime)
	if ctx.Err() != nil {
		return
	}
	if was := in.unhealthy.Swap(err != nil); was != (err != nil) {
		log := s.cfg.Log.With(slog.String("service", s.service.Name), slog.String("upstream", in.URL))
		if err != nil {
			log.Warn("health check fails", slog.Any("cause", err))
		} else {
			log.Info("health check passes again")
		}
	}
}

// askHealth sends the declared GET and wants a status of 2xx. It carries no
// token and no user: a service answers it to anyone who can reach it.
func (w *wire) askHealth(ctx context.Context, path string, within time.Duration) error {
	stop := context.AfterFunc(ctx, w.close)
	defer stop()
	if err := w.Net.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if !validTarget(path, "") {
		return errors.New("health path is no request target")
	}
	var b strings.Builder
	b.WriteString("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	if _, err := w.Net.Write([]byte(b.String())); err != nil {
		return err
	}
	var a response
	if err := a.read(w, http.MethodGet, nil); err != nil {
		return err
	}
	if a.status < 200 || a.status > 299 {
		return fmt.Errorf("status %d", a.status)
	}
	return nil
}
