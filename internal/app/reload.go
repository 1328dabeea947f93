package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// reloads is what is known of the map in force and of attempts to replace it.
type reloads struct {
	mu   sync.Mutex
	last Reloaded // guarded by mu

	total   *prometheus.CounterVec
	refused prometheus.Gauge
}

// Reloaded tells of the map in force.
type Reloaded struct {
	At        time.Time // when it came into force
	RefusedAt time.Time // when a map was refused since; zero: none was
	Refusal   string    // why
}

// begin makes the metrics.
func (r *reloads) begin(s *system) {
	r.last.At = s.started
	r.total = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sallyport_reloads_total",
		Help: "Maps that were read again, by what became of them: done or refused.",
	}, []string{"result"})
	r.refused = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sallyport_reload_refused",
		Help: "1 while the map on disk is refused and an older one is in force.",
	})
	for _, result := range []string{"done", "refused"} {
		r.total.WithLabelValues(result)
	}
	s.metrics.Registry.MustRegister(r.total, r.refused)
}

// tell notes what became of a reload.
func (r *reloads) tell(at time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.total.WithLabelValues("refused").Inc()
		r.refused.Set(1)
		r.last.RefusedAt, r.last.Refusal = at, err.Error()
		return
	}
	r.total.WithLabelValues("done").Inc()
	r.refused.Set(0)
	r.last = Reloaded{At: at}
}

func (r *reloads) get() Reloaded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// lookEvery is how often the files of the map are looked at.
const lookEvery = 500 * time.Millisecond

// watchMap reads the map again on a signal, and when a file of it has changed
// and is left alone since: an editor may write in several steps.
func (s *system) watchMap(ctx context.Context, o Options) {
	select {
	case <-s.gateway.Serving():
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	read := fingerprint(s.zone())
	before := read
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.Hangup:
			s.log.Info("reload: told to read the map")
		case <-tick.C:
			now := fingerprint(s.zone())
			settled := now == before
			before = now
			if now == read || !settled {
				continue
			}
		}
		read = fingerprint(s.zone()) // of before it is read: what changes meanwhile is seen later
		s.reload(ctx, o)
	}
}

// fingerprint tells whether a file of a map may have changed.
func fingerprint(z *zone.Zone) string {
	files := append([]string{}, z.Files...)
	for _, pattern := range z.Includes {
		more, _ := filepath.Glob(pattern) // the map was read by it
		files = append(files, more...)
	}
	for _, l := range z.Listeners {
		if l.ClientCA != "" {
			files = append(files, l.ClientCA)
		}
	}
	for _, p := range z.Identity.Providers {
		if p.CA != "" {
			files = append(files, p.CA)
		}
	}
	var b []byte
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			b = fmt.Appendf(b, "%s: none\n", file)
			continue
		}
		b = fmt.Appendf(b, "%s: %d %d %d\n", file, info.Size(), info.ModTime().UnixNano(), inode(info))
	}
	return string(b)
}

// reload reads the map and puts it in force, whole or not at all.
func (s *system) reload(ctx context.Context, o Options) {
	began := time.Now()
	z, err := o.Map()
	if err == nil {
		err = s.replace(ctx, z, o)
	}
	s.reloads.tell(s.clock(), err)
	if err != nil {
		s.log.Error("reload: the map is refused; the one in force stays", "revision", s.zone().Revision[:12], "error", err)
		return
	}
	s.log.Info("reload: done", "revision", z.Revision[:12], "services", len(z.Services), "took_ms", time.Since(began).Milliseconds())
}

// replace puts another map in force. All that can fail comes before anything
// changes, but for a control listener that the zone had not: that one stays.
func (s *system) replace(ctx context.Context, z *zone.Zone, o Options) error {
	if err := errors.Join(servable(z, s.log), needsRestart(s.zone(), z)); err != nil {
		return err
	}
	account, err := s.identity.For(z)
	if err != nil {
		return err
	}
	certificates, err := s.certify(ctx, z, s.certificates)
	if err != nil {
		return err
	}
	issuers, err := s.newIssuers(z)
	if err != nil {
		return err
	}
	if z.Control != "" && s.control == nil {
		// It answers no service that is not in the map in force.
		if s.control, err = s.newInnerSide(ctx, s.zone(), z.Control, o); err != nil {
			return err
		}
	}
	if err := s.gateway.Reload(z, sourcesOf(certificates), localsOf(z, account)); err != nil {
		return err
	}
	before := s.zone()
	s.current.Store(z)
	s.useIssuers(issuers)
	if !reflect.DeepEqual(before.Identity.Providers, z.Identity.Providers) { // what they said is not to be believed any more
		s.forget(store.Revocation{Kind: store.KindAll})
	}
	s.sessions.SetLifetimes(z.Identity.Sessions)
	s.journal.SetRetain(z.Journal.Retain)
	s.startCertificates(certificates)
	for name, c := range s.certificates {
		if certificates[name] != c {
			c.stop()
		}
		if certificates[name] == nil {
			s.observed.forget("listener " + name)
		}
	}
	s.certificates = certificates
	if s.control != nil {
		return s.control.reload(z)
	}
	return nil
}

// needsRestart refuses what this process cannot change while it runs.
func needsRestart(now, next *zone.Zone) error {
	var errs []error
	for _, c := range []struct {
		key     string
		changed bool
	}{
		{"zone", now.Name != next.Name},
		{"store", !reflect.DeepEqual(now.Store, next.Store)},
		{"export", !reflect.DeepEqual(now.Export, next.Export)},
		{"journal.size", now.Journal.Size != next.Journal.Size},
		{"listeners.admin", now.Admin != next.Admin},
		{"listeners.control", now.Control != "" && next.Control != "" && now.Control != next.Control},
	} {
		if c.changed {
			errs = append(errs, fmt.Errorf("%s: it cannot change while the zone runs; take the change back, or restart the zone", c.key))
		}
	}
	return errors.Join(errs...)
}
