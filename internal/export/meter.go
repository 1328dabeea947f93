package export

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
)

// The bounds of a sample of all metrics.
const (
	maxPoints     = 20_000 // in a sample; what is beyond them is lost, and counted
	pointsOfBatch = 2000
)

// meter sends the metrics of this process to one receiver, now and then. It is
// for one goroutine.
type meter struct {
	c        Config
	client   *client
	counters tally
	log      *slog.Logger
	started  time.Time
	failing  bool
}

func newMeter(c Config, to *client, t tally) *meter {
	return &meter{c: c, client: to, counters: t, started: c.Clock(), log: c.Log.With("export", to.base, "signal", signalMetrics)}
}

// run sends until ctx ends, and once more then.
func (m *meter) run(ctx context.Context) {
	for pause(ctx, m.c.MetricsEvery) {
		m.sample(ctx)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.c.pace.farewell)
	defer cancel()
	m.sample(last)
}

// sample sends the metrics as they stand.
func (m *meter) sample(ctx context.Context) {
	families, err := m.c.Gatherer.Gather()
	if err != nil { // what could be gathered is there all the same
		m.log.Warn("export: some metrics cannot be gathered", "error", err)
	}
	from := origin{journal: m.c.Source.ID(), version: m.c.Version}
	s := sampling{start: nanos(m.started), now: nanos(m.c.Clock())}
	list := s.metrics(families)
	m.counters.dropped(lostBound).Add(float64(s.over))
	for len(list) > 0 {
		n, points := 0, 0
		for n < len(list) && (n == 0 || points+pointsOf(list[n]) <= pointsOfBatch) {
			points += pointsOf(list[n])
			n++
		}
		m.send(ctx, &metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{{
			Resource:     from.resource(),
			ScopeMetrics: []*metricspb.ScopeMetrics{{Scope: from.scope(), Metrics: list[:n]}},
		}}}, int64(points))
		list = list[n:]
	}
}

// send sends one message, an ExportMetricsServiceRequest, once.
func (m *meter) send(ctx context.Context, message proto.Message, points int64) {
	ctx, cancel := graceful(ctx, m.c.pace)
	defer cancel()
	body, err := pack(message)
	o := outcome{verdict: refused, err: err}
	if err == nil {
		o = m.client.post(ctx, signalMetrics, body)
	}
	reason := lostRejected
	switch o.verdict {
	case taken:
		lost := min(max(o.rejected, 0), points)
		m.counters.records.Add(float64(points - lost))
		points = lost
	case refused:
		reason = lostRefused
	default:
		reason = lostFailed
		m.counters.failures.Inc()
	}
	m.counters.dropped(reason).Add(float64(points))
	if failing := o.verdict != taken || points > 0; failing != m.failing {
		m.failing = failing
		if failing {
			m.log.Warn("export: metrics were not taken; the sample is lost, the next one holds the same sums", "points", points, "reason", reason, "error", o.err, "answer", o.said)
		} else {
			m.log.Info("export: metrics are taken again")
		}
	}
}
