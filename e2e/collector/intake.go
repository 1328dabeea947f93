package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// item is a line of the output.
type item struct {
	Signal     string         `json:"signal"`
	Resource   map[string]any `json:"resource"`
	Attributes map[string]any `json:"attributes"`
	TraceID    string         `json:"trace_id,omitempty"`
	SpanID     string         `json:"span_id,omitempty"`
	ParentID   string         `json:"parent_id,omitempty"`
	Name       string         `json:"name,omitempty"` // of an event, span or metric
	Kind       string         `json:"kind,omitempty"` // of a span or metric
	Severity   string         `json:"severity,omitempty"`
	Body       string         `json:"body,omitempty"`
	Status     string         `json:"status,omitempty"`
	Start      int64          `json:"start,omitempty"` // nanoseconds since 1970
	End        int64          `json:"end,omitempty"`
	Value      float64        `json:"value"`
	Count      uint64         `json:"count,omitempty"`
	Bounds     []float64      `json:"bounds,omitempty"`
	Buckets    []uint64       `json:"buckets,omitempty"`
	Cumulative bool           `json:"cumulative,omitempty"`
	Monotonic  bool           `json:"monotonic,omitempty"`
}

// intake takes what the receiver has decoded, or refuses it.
type intake struct {
	mu   sync.Mutex
	mode string
	slow time.Duration
	out  *bufio.Writer
}

// obey reads commands until the end of the input.
func obey(in io.Reader, to *intake) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		verb, rest, _ := strings.Cut(lines.Text(), " ")
		to.mu.Lock()
		if verb == "slow" {
			to.slow, _ = time.ParseDuration(rest)
		} else {
			to.mode = verb
		}
		to.mu.Unlock()
		fmt.Fprintln(os.Stderr, "done")
	}
}

// take prints the items of one request, unless it is told to refuse them.
func (in *intake) take(ctx context.Context, items []item) error {
	in.mu.Lock()
	mode, slow := in.mode, in.slow
	in.mu.Unlock()
	if slow > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(slow):
		}
	}
	switch mode {
	case "busy":
		return status.Error(codes.ResourceExhausted, "busy")
	case "down":
		return status.Error(codes.Unavailable, "down")
	case "refuse":
		return consumererror.NewPermanent(errors.New("refused"))
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	lines := json.NewEncoder(in.out)
	for _, i := range items {
		if err := lines.Encode(i); err != nil {
			return err
		}
	}
	return in.out.Flush()
}

func nanos(t pcommon.Timestamp) int64 { return int64(t) }

func (in *intake) logs(ctx context.Context, all plog.Logs) error {
	var items []item
	for _, r := range all.ResourceLogs().All() {
		for _, s := range r.ScopeLogs().All() {
			for _, l := range s.LogRecords().All() {
				items = append(items, item{
					Signal: "logs", Resource: r.Resource().Attributes().AsRaw(), Attributes: l.Attributes().AsRaw(),
					TraceID: l.TraceID().String(), SpanID: l.SpanID().String(), Name: l.EventName(),
					Severity: l.SeverityText(), Body: l.Body().AsString(), Start: nanos(l.Timestamp()), End: nanos(l.ObservedTimestamp()),
				})
			}
		}
	}
	return in.take(ctx, items)
}

func (in *intake) traces(ctx context.Context, all ptrace.Traces) error {
	var items []item
	for _, r := range all.ResourceSpans().All() {
		for _, s := range r.ScopeSpans().All() {
			for _, p := range s.Spans().All() {
				items = append(items, item{
					Signal: "traces", Resource: r.Resource().Attributes().AsRaw(), Attributes: p.Attributes().AsRaw(),
					TraceID: p.TraceID().String(), SpanID: p.SpanID().String(), ParentID: p.ParentSpanID().String(), Name: p.Name(),
					Kind: p.Kind().String(), Status: p.Status().Code().String(), Start: nanos(p.StartTimestamp()), End: nanos(p.EndTimestamp()),
				})
			}
		}
	}
	return in.take(ctx, items)
}

func (in *intake) metrics(ctx context.Context, all pmetric.Metrics) error {
	var items []item
	for _, r := range all.ResourceMetrics().All() {
		for _, s := range r.ScopeMetrics().All() {
			for _, m := range s.Metrics().All() {
				for _, i := range points(m) {
					i.Signal, i.Resource, i.Name, i.Kind = "metrics", r.Resource().Attributes().AsRaw(), m.Name(), m.Type().String()
					items = append(items, i)
				}
			}
		}
	}
	return in.take(ctx, items)
}

// points are the data points of one metric.
func points(m pmetric.Metric) (items []item) {
	numbers := func(list pmetric.NumberDataPointSlice, cumulative, monotonic bool) {
		for _, p := range list.All() {
			items = append(items, item{Attributes: p.Attributes().AsRaw(), Start: nanos(p.StartTimestamp()), End: nanos(p.Timestamp()),
				Value: p.DoubleValue(), Cumulative: cumulative, Monotonic: monotonic})
		}
	}
	switch m.Type() {
	case pmetric.MetricTypeSum:
		numbers(m.Sum().DataPoints(), m.Sum().AggregationTemporality() == pmetric.AggregationTemporalityCumulative, m.Sum().IsMonotonic())
	case pmetric.MetricTypeGauge:
		numbers(m.Gauge().DataPoints(), false, false)
	case pmetric.MetricTypeHistogram:
		for _, p := range m.Histogram().DataPoints().All() {
			items = append(items, item{Attributes: p.Attributes().AsRaw(), Start: nanos(p.StartTimestamp()), End: nanos(p.Timestamp()),
				Value: p.Sum(), Count: p.Count(), Bounds: p.ExplicitBounds().AsRaw(), Buckets: p.BucketCounts().AsRaw(),
				Cumulative: m.Histogram().AggregationTemporality() == pmetric.AggregationTemporalityCumulative})
		}
	case pmetric.MetricTypeSummary:
		for _, p := range m.Summary().DataPoints().All() {
			items = append(items, item{Attributes: p.Attributes().AsRaw(), Start: nanos(p.StartTimestamp()), End: nanos(p.Timestamp()),
				Value: p.Sum(), Count: p.Count()})
		}
	}
	return items
}
