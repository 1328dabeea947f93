package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/internal/apikey"
	"sallyport.dev/internal/identity"
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

// tell notes what became of a reload, and reports whether that is news: a map that
// is tried again and refused for the same reason is none.
func (r *reloads) tell(at time.Time, err error, again bool) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if again && r.last.Refusal == err.Error() {
			return false
		}
		r.total.WithLabelValues("refused").Inc()
		r.refused.Set(1)
		r.last.RefusedAt, r.last.Refusal = at, err.Error()
		return true
	}
	r.total.WithLabelValues("done").Inc()
	r.refused.Set(0)
	r.last = Reloaded{At: at}
	return true
}

func (r *reloads) get() Reloaded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

const (
	// lookEvery is how often the files of the map are looked at.
	lookEvery = 500 * time.Millisecond
	// tryAgain is after how many looks a map that was refused is tried again: what
	// was wrong may be mended in a file that only the new map names, or be no file at
	// all, such as a port that was taken.
	tryAgain = 10
)

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
	files := looking{read: s.mapFiles}
	for {
		again := false
		select {
		case <-ctx.Done():
			return
		case <-o.Hangup:
			s.log.Info("reload: told to read the map")
		case <-tick.C:
			var due bool
			if due, again = files.look(fingerprint(s.zone()), s.reloads.get().Refusal != ""); !due {
				continue
			}
		}
		files.read, files.looks = fingerprint(s.zone()), 0 // of before it is read: what changes meanwhile is seen later
		s.reload(ctx, o, again)
	}
}

// looking decides when files have changed.
type looking struct {
	read   string // what they were when they were read last
	before string // what they were at the last look
	looks  int    // since they were read
}

// look says whether to read them, by what they are now; and whether that is once
// more, because the map was refused.
func (l *looking) look(now string, refused bool) (due, again bool) {
	settled := now == l.before
	l.before = now
	l.looks++
	again = now == l.read
	return settled && (!again || refused && l.looks >= tryAgain), again
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

// reload reads the map and puts it in force, whole or not at all. again says that
// it is the one that was refused.
func (s *system) reload(ctx context.Context, o Options, again bool) {
	began := time.Now()
	z, err := o.Map()
	if err == nil {
		err = s.replace(ctx, z, o)
	}
	if err != nil && ctx.Err() != nil { // told to stop meanwhile, which is no fault of the map
		return
	}
	if news := s.reloads.tell(s.clock(), err, again); err != nil {
		if !news {
			return
		}
		s.log.Error("reload: the map is refused; the one in force stays", "revision", s.zone().Revision[:12], "error", err)
		return
	}
	tellNotices(z, s.log)
	s.log.Info("reload: done", "revision", z.Revision[:12], "services", len(z.Services), "took_ms", time.Since(began).Milliseconds())
}

// replace puts another map in force. All that can fail comes before anything
// changes, but for a control listener that the zone had not: that one stays.
func (s *system) replace(ctx context.Context, z *zone.Zone, o Options) error {
	if err := errors.Join(servable(z), needsRestart(s.zone(), z, s.control)); err != nil {
		return err
	}
	factors, others, err := s.accountsOf(ctx, z)
	if err != nil {
		return err
	}
	account, err := s.identity.For(z, func(c *identity.Config) { c.Factors, c.Broker, c.Base = factors, others, z.Identity.URL })
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
	if err := s.openID.Reload(z); err != nil {
		return err
	}
	if err := s.gateway.Reload(z, sourcesOf(certificates), append(localsOf(z, account), openIDLocals(z, s.openID)...)); err != nil {
		return errors.Join(err, s.openID.Reload(s.zone())) // a defect: the map was checked
	}
	s.useIssuers(issuers)
	s.accounts.factors, s.accounts.broker = factors, others
	s.accounts.current.Store(account)
	if !reflect.DeepEqual(s.zone().Identity.Providers, z.Identity.Providers) { // what they said is not to be believed any more
		s.forget(store.Revocation{Kind: store.KindAll})
	}
	s.sessions.SetLifetimes(z.Identity.Sessions)
	s.journal.SetRetain(z.Journal.Retain)
	s.roller.SetRetain(z.Journal.Retain)
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
		if err := s.control.reload(z); err != nil { // a defect: the map was checked
			s.log.Error("reload: the Workload API keeps the entries that it had", "error", err)
		}
	}
	before := s.zone()
	s.current.Store(z) // last: what status tells is in force
	if changesRights(before, z) {
		s.forget(store.Revocation{Kind: store.KindAll})
	}
	return nil
}

// changesRights says whether another map changes what is remembered of principals:
// what keys and tokens may, and whether a session of one factor is enough.
func changesRights(before, z *zone.Zone) bool {
	return before.Identity.MFARequired != z.Identity.MFARequired || !slices.Equal(apikey.UserScopes(before), apikey.UserScopes(z)) ||
		!reflect.DeepEqual(before.Identity.Clients, z.Identity.Clients)
}

// needsRestart refuses what this process cannot change while it runs. open is its
// control listener, which stays when a map needs none; nil: it has none.
func needsRestart(now, next *zone.Zone, open *innerSide) error {
	var errs []error
	for _, c := range []struct {
		key     string
		changed bool
	}{
		{"zone", now.Name != next.Name},
		{"store", !reflect.DeepEqual(now.Store, next.Store)},
		{"export", !reflect.DeepEqual(now.Export, next.Export)},
		{"journal.size", now.Journal.Size != next.Journal.Size},
		{"identity.url", now.Identity.URL != next.Identity.URL},
		{"the first listener with client_ca", mtlsBase(now) != mtlsBase(next)},
		{"identity.mail", !reflect.DeepEqual(now.Identity.Mail, next.Identity.Mail)},
		{"listeners.admin", now.Admin != next.Admin},
		{"listeners.control", open != nil && next.Control != "" && open.address != next.Control},
	} {
		if c.changed {
			errs = append(errs, fmt.Errorf("%s: it cannot change while the zone runs; take the change back, or restart the zone", c.key))
		}
	}
	return errors.Join(errs...)
}
