package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// observed is what status tells and nothing else keeps: the parts of the system
// put it there. Safe for concurrent use; the zero value is empty.
type observed struct {
	mu     sync.Mutex
	chains map[string]func() (*tls.Certificate, error)                  // guarded by mu
	guards func(service string) (seen time.Time, current bool, ok bool) // guarded by mu; nil: control does not say
	first  struct {
		number uint64
		oldest time.Time
	} // of the journal: the oldest segment, read once; guarded by mu
}

// watch tells of a certificate in use, by name. A second one of that name takes its place.
func (o *observed) watch(name string, chain func() (*tls.Certificate, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.chains == nil {
		o.chains = make(map[string]func() (*tls.Certificate, error))
	}
	o.chains[name] = chain
}

// forget ends a watch.
func (o *observed) forget(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.chains, name)
}

// watchGuards says who knows when the inner doors of a service asked for their map.
func (o *observed) watchGuards(f func(service string) (seen time.Time, current bool, ok bool)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.guards = f
}

func (o *observed) guard(service string) (seen time.Time, current, ok bool) {
	o.mu.Lock()
	f := o.guards
	o.mu.Unlock()
	if f == nil {
		return time.Time{}, false, false
	}
	return f(service)
}

// certificates tells of the roots, of what is in use, and of what signed that.
func (o *observed) certificates(roots []*x509.Certificate) []CertificateStatus {
	o.mu.Lock()
	chains := maps.Clone(o.chains)
	o.mu.Unlock()
	list := map[string]CertificateStatus{}
	for _, r := range roots {
		list["root"] = CertificateStatus{Name: "root", Until: stamp(r.NotAfter)}
	}
	for name, chain := range chains {
		c, err := chain()
		if err != nil || c == nil || len(c.Certificate) == 0 {
			list[name] = CertificateStatus{Name: name, Error: problem.ReasonOf(cmp.Or(err, errNoCertificate)).Code()}
			continue
		}
		for i, der := range c.Certificate {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				continue // it serves: crypto/tls has read it
			}
			at := name
			if i > 0 {
				at = "issuer " + cert.Subject.CommonName
			}
			if known, ok := list[at]; !ok || known.Until > stamp(cert.NotAfter) { // the first to end counts
				list[at] = CertificateStatus{Name: at, Until: stamp(cert.NotAfter)}
			}
		}
	}
	return slices.SortedFunc(maps.Values(list), func(a, b CertificateStatus) int { return strings.Compare(a.Name, b.Name) })
}

// MemoryLimit is the soft limit in bytes that `serve` sets without GOMEMLIMIT.
const MemoryLimit = memoryLimit

var errNoCertificate error = problem.New(problem.InsideUnavailable, nil)

func mapStatus(z *zone.Zone, r Reloaded) MapStatus {
	return MapStatus{File: z.File, Since: stamp(r.At), Refused: stamp(r.RefusedAt), Refusal: r.Refusal}
}

func (s *system) storeStatus(z *zone.Zone, waiting []string) EngineStatus {
	st := EngineStatus{Engine: "sqlite", State: "ok"}
	if z.Store.Postgres != nil {
		st.Engine = "postgres"
	}
	if slices.Contains(waiting, waitsForStore) {
		st.State = "down"
	}
	return st
}

// kvStatus asks whatever counts limits whether it does so alone.
func (s *system) kvStatus(z *zone.Zone) EngineStatus {
	if z.Store.Valkey == nil {
		return EngineStatus{Engine: "memory", State: "ok"}
	}
	st := EngineStatus{Engine: "valkey", State: "unknown"}
	if shared, ok := s.limits.(interface{ Local() bool }); ok {
		st.State = "ok"
		if shared.Local() {
			st.State = "local"
		}
	}
	return st
}

// revocationsStatus tells whether revocations of other processes are heard of.
func (s *system) revocationsStatus(now time.Time) RevocationsStatus {
	return RevocationsStatus{Heard: s.follower.Heard().UTC().Format(time.RFC3339Nano), Fresh: s.fresh(now)}
}

func (s *system) keysStatus(ctx context.Context) (st KeysStatus) {
	key, err := s.ring.SigningKey(ctx)
	if err != nil {
		st.Error = problem.ReasonOf(err).Code()
	}
	st.Signing = key.ID
	public, _ := s.ring.PublicKeys(ctx) // none, then
	st.Published = len(public)
	return st
}

// exportStatus reads the metrics of the exports, which are all that they tell.
func (s *system) exportStatus(z *zone.Zone) []ExportStatus {
	list := []ExportStatus{}
	if len(z.Export) == 0 {
		return list
	}
	families, err := s.metrics.Registry.Gather()
	if err != nil && len(families) == 0 {
		return list
	}
	return exportsIn(families)
}

func exportsIn(families []*dto.MetricFamily) []ExportStatus {
	found := map[[2]string]*ExportStatus{}
	for _, f := range families {
		metric, ours := strings.CutPrefix(f.GetName(), "sallyport_export_")
		if !ours {
			continue
		}
		for _, m := range f.GetMetric() {
			var at [2]string
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "exporter":
					at[0] = l.GetValue()
				case "signal":
					at[1] = l.GetValue()
				}
			}
			st := found[at]
			if st == nil {
				st = &ExportStatus{Exporter: at[0], Signal: at[1]}
				found[at] = st
			}
			switch metric {
			case "records_total":
				st.Sent += int64(m.GetCounter().GetValue())
			case "failures_total":
				st.Failures += int64(m.GetCounter().GetValue())
			case "dropped_total":
				st.Dropped += int64(m.GetCounter().GetValue())
			case "lag_records":
				st.Waiting += int64(m.GetGauge().GetValue())
			}
		}
	}
	list := make([]ExportStatus, 0, len(found))
	for _, st := range found {
		list = append(list, *st)
	}
	slices.SortFunc(list, func(a, b ExportStatus) int {
		return cmp.Or(strings.Compare(a.Exporter, b.Exporter), strings.Compare(a.Signal, b.Signal))
	})
	return list
}
