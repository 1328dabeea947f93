package export

import (
	"fmt"
	"strconv"
	"time"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"sallyport.dev/internal/journal"
)

// The bounds of a batch: it takes another record below both of them.
const (
	batchItems = 1000
	batchBytes = 1 << 20 // before compression
)

// packer turns records into the items of one signal.
type packer interface {
	add(e *journal.Entry)
	size() (items, bytes int)
	message() proto.Message
	clear()
}

// logPacker makes a log record of each record.
type logPacker struct {
	origin
	list  []*logspb.LogRecord
	bytes int
}

func (p *logPacker) add(e *journal.Entry) {
	number, severity := severityOf(e)
	trace, span := traceOf(e)
	r := &logspb.LogRecord{
		TimeUnixNano:         nanos(e.Time),
		ObservedTimeUnixNano: nanos(e.Time.Add(e.Duration)),
		SeverityNumber:       number,
		SeverityText:         severity,
		EventName:            "sallyport." + e.Kind.String(),
		Body:                 stringValue(summary(e)),
		Attributes:           append(attributes(e), text("log.record.uid", p.journal+"-"+strconv.FormatUint(e.Sequence, 10))),
		TraceId:              trace,
		SpanId:               span,
	}
	p.list = append(p.list, r)
	p.bytes += proto.Size(r)
}

func (p *logPacker) size() (int, int) { return len(p.list), p.bytes }

func (p *logPacker) clear() { p.list, p.bytes = nil, 0 }

// message is an ExportLogsServiceRequest, whose only field is that of LogsData.
func (p *logPacker) message() proto.Message {
	return &logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{
		Resource:  p.resource(),
		ScopeLogs: []*logspb.ScopeLogs{{Scope: p.scope(), LogRecords: p.list}},
	}}}
}

// severityOf: the zone refused something (WARN), or could not serve (ERROR).
func severityOf(e *journal.Entry) (logspb.SeverityNumber, string) {
	switch {
	case e.Status >= 500:
		return logspb.SeverityNumber_SEVERITY_NUMBER_ERROR, "ERROR"
	case e.Kind == journal.KindMark, e.Reason != "" && e.Reason != reasonOK:
		return logspb.SeverityNumber_SEVERITY_NUMBER_WARN, "WARN"
	}
	return logspb.SeverityNumber_SEVERITY_NUMBER_INFO, "INFO"
}

const reasonOK = "ok"

// summary is a record for people: METHOD /path 200 ok.
func summary(e *journal.Entry) string {
	if e.Kind == journal.KindMark {
		return fmt.Sprint(e.Tags)
	}
	return e.Method + " " + routePath(e.Route) + " " + strconv.Itoa(e.Status) + " " + e.Reason
}

// spanPacker makes a span of each record that closes something with a trace. The
// record of a stream's beginning makes none: the one of its end does.
type spanPacker struct {
	origin
	list  []*tracepb.Span
	bytes int
}

func (p *spanPacker) add(e *journal.Entry) {
	trace, span := traceOf(e)
	if trace == nil || !isTransaction(e.Kind) {
		return
	}
	s := &tracepb.Span{
		TraceId:           trace,
		SpanId:            span,
		Flags:             uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK) | 1, // sampled, and the root
		Name:              valid(spanName(e)),
		Kind:              tracepb.Span_SPAN_KIND_SERVER,
		StartTimeUnixNano: nanos(e.Time),
		EndTimeUnixNano:   nanos(e.Time.Add(e.Duration)),
		Attributes:        attributes(e),
		Status:            &tracepb.Status{},
	}
	if e.Status >= 500 { // by the conventions 4xx is no error of a server
		s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: valid(e.Reason)}
	}
	p.list = append(p.list, s)
	p.bytes += proto.Size(s)
}

// spanName is METHOD ROUTE, or METHOD where no route was found.
func spanName(e *journal.Entry) string {
	name := knownMethod(e.Method)
	if name == "" || name == "_OTHER" {
		name = "HTTP"
	}
	if path := routePath(e.Route); path != "" {
		name += " " + path
	}
	return name
}

func (p *spanPacker) size() (int, int) { return len(p.list), p.bytes }

func (p *spanPacker) clear() { p.list, p.bytes = nil, 0 }

// message is an ExportTraceServiceRequest, whose only field is that of TracesData.
func (p *spanPacker) message() proto.Message {
	return &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource:   p.resource(),
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: p.scope(), Spans: p.list}},
	}}}
}

// nanos is a time of OTLP; 0 is unknown.
func nanos(t time.Time) uint64 {
	return uint64(max(t.UnixMicro(), 0)) * 1000 // a record holds microseconds
}
