package export

import (
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// sampling turns Prometheus metrics into OTLP ones (OpenTelemetry specification,
// Prometheus and OpenMetrics compatibility). Names stay as they are; counters
// become cumulative monotonic sums. Native histograms are not made by this
// process, and have no counterpart here: of them sum and count leave.
type sampling struct {
	start, now uint64 // nanoseconds since 1970
	points     int
	over       int // points beyond the bound
}

// metrics returns metrics of at most pointsOfBatch points each.
func (s *sampling) metrics(families []*dto.MetricFamily) (list []*metricspb.Metric) {
	for _, f := range families {
		for part := range slices.Chunk(f.GetMetric(), pointsOfBatch) {
			room := maxPoints - s.points
			if len(part) > room {
				s.over += len(part) - room
				part = part[:room]
			}
			if len(part) == 0 {
				continue
			}
			s.points += len(part)
			m := &metricspb.Metric{Name: valid(f.GetName()), Description: valid(f.GetHelp()), Unit: f.GetUnit()}
			s.fill(m, f.GetType(), part)
			list = append(list, m)
		}
	}
	return list
}

func (s *sampling) fill(m *metricspb.Metric, kind dto.MetricType, part []*dto.Metric) {
	switch kind {
	case dto.MetricType_COUNTER:
		sum := &metricspb.Sum{AggregationTemporality: cumulative, IsMonotonic: true}
		for _, p := range part {
			sum.DataPoints = append(sum.DataPoints, s.number(p, p.GetCounter().GetValue(), s.since(p.GetCounter().GetCreatedTimestamp())))
		}
		m.Data = &metricspb.Metric_Sum{Sum: sum}
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		h := &metricspb.Histogram{AggregationTemporality: cumulative}
		for _, p := range part {
			h.DataPoints = append(h.DataPoints, s.histogram(p))
		}
		m.Data = &metricspb.Metric_Histogram{Histogram: h}
	case dto.MetricType_SUMMARY:
		sum := &metricspb.Summary{}
		for _, p := range part {
			sum.DataPoints = append(sum.DataPoints, s.summary(p))
		}
		m.Data = &metricspb.Metric_Summary{Summary: sum}
	default: // gauge, untyped
		g := &metricspb.Gauge{}
		for _, p := range part {
			v := p.GetGauge().GetValue()
			if p.GetUntyped() != nil {
				v = p.GetUntyped().GetValue()
			}
			g.DataPoints = append(g.DataPoints, s.number(p, v, 0))
		}
		m.Data = &metricspb.Metric_Gauge{Gauge: g}
	}
}

const cumulative = metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE

// since is when a sum began: as the metric says, else with this process.
func (s *sampling) since(created *timestamppb.Timestamp) uint64 {
	if created == nil {
		return s.start
	}
	return min(nanos(created.AsTime()), s.now)
}

func (s *sampling) number(p *dto.Metric, v float64, since uint64) *metricspb.NumberDataPoint {
	return &metricspb.NumberDataPoint{
		Attributes: labels(p), StartTimeUnixNano: since, TimeUnixNano: s.now,
		Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: v},
	}
}

// histogram turns cumulative buckets, each with its upper bound, into counts
// between bounds: one more than there are bounds.
func (s *sampling) histogram(p *dto.Metric) *metricspb.HistogramDataPoint {
	h := p.GetHistogram()
	sum := h.GetSampleSum()
	d := &metricspb.HistogramDataPoint{
		Attributes: labels(p), StartTimeUnixNano: s.since(h.GetCreatedTimestamp()), TimeUnixNano: s.now,
		Count: h.GetSampleCount(), Sum: &sum,
	}
	var before uint64
	for _, b := range h.GetBucket() {
		if math.IsInf(b.GetUpperBound(), 1) {
			continue // the count tells it
		}
		upTo := max(b.GetCumulativeCount(), before)
		d.ExplicitBounds = append(d.ExplicitBounds, b.GetUpperBound())
		d.BucketCounts = append(d.BucketCounts, upTo-before)
		before = upTo
	}
	if len(d.ExplicitBounds) > 0 {
		d.Count = max(d.Count, before)
		d.BucketCounts = append(d.BucketCounts, d.Count-before)
	}
	return d
}

func (s *sampling) summary(p *dto.Metric) *metricspb.SummaryDataPoint {
	d := &metricspb.SummaryDataPoint{
		Attributes: labels(p), StartTimeUnixNano: s.since(p.GetSummary().GetCreatedTimestamp()), TimeUnixNano: s.now,
		Count: p.GetSummary().GetSampleCount(), Sum: p.GetSummary().GetSampleSum(),
	}
	for _, q := range p.GetSummary().GetQuantile() {
		d.QuantileValues = append(d.QuantileValues, &metricspb.SummaryDataPoint_ValueAtQuantile{Quantile: q.GetQuantile(), Value: q.GetValue()})
	}
	return d
}

func labels(p *dto.Metric) []*commonpb.KeyValue {
	list := make([]*commonpb.KeyValue, 0, len(p.GetLabel()))
	for _, l := range p.GetLabel() {
		list = append(list, text(l.GetName(), l.GetValue()))
	}
	return list
}

// pointsOf is the number of data points of a metric.
func pointsOf(m *metricspb.Metric) int {
	return len(m.GetSum().GetDataPoints()) + len(m.GetGauge().GetDataPoints()) +
		len(m.GetHistogram().GetDataPoints()) + len(m.GetSummary().GetDataPoints())
}
