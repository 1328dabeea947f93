package export

import (
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
)

func TestPoints(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "c_total", Help: "Counts."}, []string{"service"})
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "g"})
	histogram := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", Buckets: []float64{1, 2, 4}})
	summary := prometheus.NewSummary(prometheus.SummaryOpts{Name: "s", Objectives: map[float64]float64{.5: .1}})
	r.MustRegister(counter, gauge, histogram, summary)
	counter.WithLabelValues("orders").Add(3)
	gauge.Set(-2)
	for _, v := range []float64{.5, 1, 1.5, 3, 9, 10} {
		histogram.Observe(v)
		summary.Observe(v)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	s := sampling{start: 5, now: nanos(start)}
	got := map[string]*metricspb.Metric{}
	for _, m := range s.metrics(families) {
		got[m.GetName()] = m
	}
	c := got["c_total"].GetSum()
	if p := c.GetDataPoints()[0]; !c.GetIsMonotonic() || c.GetAggregationTemporality() != cumulative || p.GetAsDouble() != 3 ||
		attribute(p.GetAttributes(), "service") != "orders" || p.GetTimeUnixNano() != s.now || p.GetStartTimeUnixNano() == 0 || got["c_total"].GetDescription() != "Counts." {
		t.Errorf("counter %v", got["c_total"])
	}
	if v := got["g"].GetGauge().GetDataPoints()[0].GetAsDouble(); v != -2 {
		t.Errorf("gauge %v, want -2", v)
	}
	h := got["h"].GetHistogram().GetDataPoints()[0]
	if !slices.Equal(h.GetExplicitBounds(), []float64{1, 2, 4}) || !slices.Equal(h.GetBucketCounts(), []uint64{2, 1, 1, 2}) || h.GetCount() != 6 || h.GetSum() != 25 {
		t.Errorf("histogram %v", h)
	}
	if q := got["s"].GetSummary().GetDataPoints()[0]; q.GetCount() != 6 || q.GetSum() != 25 || len(q.GetQuantileValues()) != 1 {
		t.Errorf("summary %v", q)
	}
}

// A sample is bounded, and what is beyond the bound is counted.
func TestPointsAreBounded(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "g"}, []string{"n"})
	r.MustRegister(g)
	const over = 123
	for i := range maxPoints + over {
		g.WithLabelValues(correlation(i)).Set(1)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var s sampling
	list := s.metrics(families)
	if s.points != maxPoints || s.over != over {
		t.Errorf("%d points and %d beyond, want %d and %d", s.points, s.over, maxPoints, over)
	}
	for _, m := range list {
		if pointsOf(m) > pointsOfBatch {
			t.Errorf("a metric of %d points, want at most %d", pointsOf(m), pointsOfBatch)
		}
	}
}

// A sample that cannot be sent is lost, and counted; the next one arrives.
func TestLostSample(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, f := openJournal(t, dir, 0), newFake(t)
	b := newBench(t, j, dir, f.otlp())
	b.Gatherer, b.MetricsEvery = b.registry, b.Every
	f.says(status(503))
	stop := b.run(t)
	eventually(t, "a lost sample", func() bool { return b.value(t, "sallyport_export_dropped_total", signalMetrics, lostFailed) > 0 })
	f.says(nil)
	eventually(t, "a sample", func() bool { return b.value(t, "sallyport_export_records_total", signalMetrics) > 0 })
	stop()
	if f.points == 0 {
		t.Error("no point arrived")
	}
}
