package export

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// The signals of OpenTelemetry; also the label "signal".
const (
	signalLogs    = "logs"
	signalTraces  = "traces"
	signalMetrics = "metrics"
)

// Why something did not arrive: the label "reason".
const (
	lostRetention = "retention" // the journal freed it before it was sent
	lostDamaged   = "damaged"   // the journal cannot read it
	lostRefused   = "refused"   // the receiver refused the batch for good
	lostRejected  = "rejected"  // the receiver took the batch without it (partial success)
	lostFailed    = "failed"    // metrics: the attempt failed, and a sample is not kept
	lostBound     = "bound"     // metrics: more points than leave at once
)

// counters are the metrics of all exports. Their labels are from the map, so
// their number is fixed.
type counters struct {
	records, failures, dropped *prometheus.CounterVec
	lag                        *prometheus.GaugeVec
}

// newCounters registers them, or finds those of an export before this one.
func newCounters(r prometheus.Registerer) (*counters, error) {
	labels := []string{"exporter", "signal"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	c := &counters{
		records:  counter("sallyport_export_records_total", "Records, spans or data points that a receiver took, by exporter and signal.", labels...),
		failures: counter("sallyport_export_failures_total", "Attempts to send that failed, by exporter and signal.", labels...),
		dropped:  counter("sallyport_export_dropped_total", "Records, spans or data points that will not arrive, by exporter, signal and reason.", append(labels, "reason")...),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sallyport_export_lag_records", Help: "Synced records that an export has still to pass, by exporter and signal.",
		}, labels),
	}
	var err error
	if c.records, err = register(r, c.records); err != nil {
		return nil, err
	}
	if c.failures, err = register(r, c.failures); err != nil {
		return nil, err
	}
	if c.dropped, err = register(r, c.dropped); err != nil {
		return nil, err
	}
	if c.lag, err = register(r, c.lag); err != nil {
		return nil, err
	}
	return c, nil
}

func register[C prometheus.Collector](r prometheus.Registerer, c C) (C, error) {
	err := r.Register(c)
	if known, is := errors.AsType[prometheus.AlreadyRegisteredError](err); is {
		if same, ok := known.ExistingCollector.(C); ok {
			return same, nil
		}
	}
	if err != nil {
		return c, fmt.Errorf("export: register metrics: %w", err)
	}
	return c, nil
}

// tally is the counters of one exporter and signal.
type tally struct {
	records, failures prometheus.Counter
	lag               prometheus.Gauge // nil for metrics
	dropped           func(reason string) prometheus.Counter
}

func (c *counters) of(exporter, signal string) tally {
	t := tally{
		records:  c.records.WithLabelValues(exporter, signal),
		failures: c.failures.WithLabelValues(exporter, signal),
		dropped:  func(reason string) prometheus.Counter { return c.dropped.WithLabelValues(exporter, signal, reason) },
	}
	if signal != signalMetrics { // they have no queue
		t.lag = c.lag.WithLabelValues(exporter, signal)
	}
	return t
}
