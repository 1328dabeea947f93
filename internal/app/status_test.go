package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/internal/kv"
	"sallyport.dev/zone"
)

// TestStatus asks a zone that is served for every part.
func TestStatus(t *testing.T) {
	data := filepath.Join(socketDir(t), "data")
	before := time.Now().Add(-time.Second)
	r := serveZone(t, parsed(t), data)
	code, body := r.ask("GET", "/v1/status", nil)
	var s Status
	if err := json.Unmarshal([]byte(body), &s); err != nil || code != 200 {
		t.Fatalf("%d %s: %v", code, body, err)
	}
	for what, good := range map[string]bool{
		"ready":       s.Ready && len(s.NotReady) == 0,
		"zone":        s.Zone == "shop.example" && s.Version == "test" && len(s.Revision) == 64,
		"pid":         s.PID == os.Getpid(),
		"uptime":      s.Uptime >= 0 && s.Uptime < 600,
		"map":         s.Map.File == "zone.yaml" && s.Map.Since >= stamp(before) && s.Map.Refused == "" && s.Map.Refusal == "",
		"store":       s.Store == EngineStatus{"sqlite", "ok"},
		"kv":          s.KV == EngineStatus{"memory", "ok"},
		"revocations": s.Revocations.Fresh && s.Revocations.Heard >= stamp(before),
		"journal": s.Journal.State == "ok" && s.Journal.Size > 0 && s.Journal.Limit == 64<<20 && s.Journal.Segments == 1 &&
			s.Journal.Oldest >= stamp(before) && s.Journal.Retain == 30*24*60*60 && s.Journal.Reach == 0,
		"keys":     s.Keys.Signing != "" && s.Keys.Published > 0 && s.Keys.Error == "",
		"root":     len(s.Certificates) > 0 && s.Certificates[0].Error == "",
		"services": len(s.Services) == 1 && s.Services[0].Name == "catalog" && s.Services[0].Instances == 1 && s.Services[0].Door == "embedded",
		"address":  len(s.Listeners) == 1 && s.Listeners[0].Name == "public" && s.Listeners[0].Address != "127.0.0.1:0",
		"exports":  s.Exports != nil && len(s.Exports) == 0,
	} {
		if !good {
			t.Errorf("%s: %s", what, body)
		}
	}
	f, err := LookAtJournal(data)
	if err != nil || f.Segments != 1 || f.Size == 0 || f.Oldest.Before(before) || f.Newest.Before(f.Oldest) {
		t.Errorf("the folder beside its writer: %+v, %v", f, err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if f, err = LookAtJournal(data); err != nil || f.Newest.Before(before) {
		t.Errorf("the folder afterwards: %+v, %v", f, err)
	}
	if f, err = LookAtJournal(filepath.Join(data, "none")); err != nil || f != (JournalFolder{}) {
		t.Errorf("no folder: %+v, %v", f, err)
	}
}

// TestCertificatesInUse: of each name the first to end, and what signed it.
func TestCertificatesInUse(t *testing.T) {
	s, err := build(t.Context(), parsed(t), Options{Data: filepath.Join(socketDir(t), "data"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() })
	var o observed
	source, err := s.newIdentity(t.Context(), "gateway")
	if err != nil {
		t.Fatal(err)
	}
	own, err := source.Current()
	if err != nil {
		t.Fatal(err)
	}
	o.watch("identity of gateway", func() (*tls.Certificate, error) { return &own.Certificate, nil })
	o.watch("broken", func() (*tls.Certificate, error) { return nil, errors.New("planted cause") })
	o.watch("gone", func() (*tls.Certificate, error) { return nil, nil })
	o.forget("gone")
	got := map[string]CertificateStatus{}
	for _, c := range o.certificates(s.ca.Roots()) {
		got[c.Name] = c
	}
	if len(got) != 4 {
		t.Errorf("got %v, want root, a CA, an identity and the broken one", got)
	}
	if c := got["identity of gateway"]; c.Until != stamp(own.NotAfter) || c.Error != "" {
		t.Errorf("identity: %+v, want until %s", c, own.NotAfter)
	}
	if c := got["broken"]; c.Until != "" || c.Error == "" || c.Error == "planted cause" {
		t.Errorf("broken: %+v, want a reason and no cause", c)
	}
	if got["root"].Until == "" {
		t.Errorf("root: %+v", got["root"])
	}
}

func TestReach(t *testing.T) {
	for _, c := range []struct {
		size, limit int64
		age, want   time.Duration
	}{
		{1 << 20, 10 << 20, 24 * time.Hour, 240 * time.Hour}, // a MiB a day
		{10 << 20, 10 << 20, 24 * time.Hour, 24 * time.Hour}, // it is full
		{1, 10 << 40, 24 * time.Hour, farthest},              // more than a Duration holds
		{1 << 20, 10 << 20, time.Minute, 0},                  // too young
		{0, 10 << 20, 24 * time.Hour, 0}, {1, 1, -time.Hour, 0},
	} {
		if got := reach(c.size, c.limit, c.age); got != c.want {
			t.Errorf("%d of %d bytes in %s: got %s, want %s", c.size, c.limit, c.age, got, c.want)
		}
	}
}

// TestExportStatus reads the metrics of the exports and no others.
func TestExportStatus(t *testing.T) {
	r := prometheus.NewRegistry()
	labels := []string{"exporter", "signal"}
	records := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_export_records_total"}, labels)
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_export_dropped_total"}, append(labels, "reason"))
	lag := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sallyport_export_lag_records"}, labels)
	other := prometheus.NewCounter(prometheus.CounterOpts{Name: "sallyport_requests_total"})
	r.MustRegister(records, dropped, lag, other)
	records.WithLabelValues("otlp-1", "logs").Add(7)
	dropped.WithLabelValues("otlp-1", "logs", "retention").Add(2)
	dropped.WithLabelValues("otlp-1", "logs", "refused").Add(3)
	lag.WithLabelValues("a-file", "logs").Set(11)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := []ExportStatus{{Exporter: "a-file", Signal: "logs", Waiting: 11}, {Exporter: "otlp-1", Signal: "logs", Sent: 7, Dropped: 5}}
	if got := exportsIn(families); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// counts is an engine of limits that may be away.
type counts struct {
	kv.Counters
	away bool
}

func (c counts) Local() bool { return c.away }

// TestEngines: what is not known of an engine is not ok.
func TestEngines(t *testing.T) {
	z := parsed(t)
	z.Store.Valkey = &zone.Secret{}
	for want, engine := range map[string]kv.Counters{"ok": counts{}, "local": counts{away: true}, "unknown": kv.NewMemory(time.Now, 10)} {
		s := &system{}
		s.limits = engine
		if got := s.kvStatus(z); got != (EngineStatus{"valkey", want}) {
			t.Errorf("got %+v, want valkey %s", got, want)
		}
	}
	z.Store.Postgres = &zone.Secret{}
	if got := (&system{}).storeStatus(z, []string{waitsForStore}); got != (EngineStatus{"postgres", "down"}) {
		t.Errorf("got %+v, want postgres down", got)
	}
}

// TestGuards: what control says is told, and nothing where it says nothing.
func TestGuards(t *testing.T) {
	var o observed
	if _, _, ok := o.guard("catalog"); ok {
		t.Error("something is known although nobody says it")
	}
	at := time.Now()
	o.watchGuards(func(service string) (time.Time, bool, bool) { return at, true, service == "catalog" })
	if seen, current, ok := o.guard("catalog"); !ok || !current || !seen.Equal(at) {
		t.Errorf("got %s, %t, %t", seen, current, ok)
	}
	if _, _, ok := o.guard("orders"); ok {
		t.Error("orders has not asked, and is told")
	}
}

// TestStatusWhileMuchHappens is for the race detector.
func TestStatusWhileMuchHappens(t *testing.T) {
	s, err := build(t.Context(), parsed(t), Options{Data: filepath.Join(socketDir(t), "data"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			s.observed.watch("one", func() (*tls.Certificate, error) { return nil, nil })
			s.observed.forget("one")
			s.observed.watchGuards(func(string) (time.Time, bool, bool) { return time.Time{}, false, false })
		}
	}()
	for range 20 {
		if _, err := s.status(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
	cancel()
	<-done
}
