package export

import (
	"encoding/hex"
	"strings"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"

	"sallyport.dev/internal/journal"
)

// origin is what everything that leaves has in common.
type origin struct {
	journal string // id: tells this gateway from others of the zone
	version string
}

// scopeName names who made the telemetry (instrumentation scope).
const scopeName = "sallyport.dev/internal/export"

func (o origin) resource() *resourcepb.Resource {
	return &resourcepb.Resource{Attributes: []*commonpb.KeyValue{
		text("service.name", "sallyport"),
		text("service.version", o.version),
		text("service.instance.id", o.journal),
	}}
}

func (o origin) scope() *commonpb.InstrumentationScope {
	return &commonpb.InstrumentationScope{Name: scopeName, Version: valid(o.version)}
}

// attributes are those of a record, by the names of the semantic conventions
// where there is one. Empty texts are left out.
//
//	http.request.method, http.request.method_original, http.route,
//	http.response.status_code, http.request.body.size, http.response.body.size,
//	client.address, user.id, error.type
//	sallyport.zone, .listener, .service, .reason, .correlation_id, .kind,
//	.sequence, .duration_us, .stage.NAME (microseconds), .tags
func attributes(e *journal.Entry) []*commonpb.KeyValue {
	list := make([]*commonpb.KeyValue, 0, 16+len(e.Stages))
	add := func(name, value string) {
		if value != "" {
			list = append(list, text(name, value))
		}
	}
	method := knownMethod(e.Method)
	add("http.request.method", method)
	if method != e.Method {
		add("http.request.method_original", e.Method)
	}
	add("http.route", routePath(e.Route))
	if e.Status > 0 {
		list = append(list, number("http.response.status_code", int64(e.Status)))
	}
	if isTransaction(e.Kind) {
		list = append(list, number("http.request.body.size", e.BytesIn), number("http.response.body.size", e.BytesOut))
	}
	if e.Client.IsValid() {
		add("client.address", e.Client.String())
	}
	if e.Principal != anonymous {
		add("user.id", e.Principal)
	}
	if e.Status >= 500 {
		add("error.type", e.Reason)
	}
	add("sallyport.zone", e.Header.Zone)
	add("sallyport.listener", e.Listener)
	add("sallyport.service", e.Service)
	add("sallyport.reason", e.Reason)
	add("sallyport.correlation_id", e.CorrelationID)
	add("sallyport.kind", e.Kind.String())
	list = append(list, number("sallyport.sequence", int64(e.Sequence)), number("sallyport.duration_us", e.Duration.Microseconds()))
	for i, us := range e.Stages {
		list = append(list, number("sallyport.stage."+e.Header.StageName(i), int64(us)))
	}
	if len(e.Tags) > 0 {
		tags := make([]*commonpb.AnyValue, len(e.Tags))
		for i, tag := range e.Tags {
			tags[i] = stringValue(tag)
		}
		list = append(list, &commonpb.KeyValue{Key: "sallyport.tags", Value: &commonpb.AnyValue{
			Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: tags}}}})
	}
	return list
}

// anonymous is the principal of a request without a credential: no user.
const anonymous = "anonymous"

// isTransaction says whether the sizes and the duration of a record are known.
func isTransaction(k journal.Kind) bool {
	return k == journal.KindRequest || k == journal.KindEnd || k == journal.KindAdmin
}

// knownMethod is a method as the semantic conventions want it: one of a closed
// list, _OTHER for what clients make up, nothing for what is no request.
func knownMethod(m string) string {
	switch m {
	case "", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY":
		return m
	}
	return "_OTHER"
}

// routePath is the path of a route's pattern, METHOD /path.
func routePath(pattern string) string {
	if _, path, found := strings.Cut(pattern, " "); found {
		return path
	}
	return pattern
}

// traceOf returns the trace of a record and its root span, nil when there is none.
// A record does not hold the span: the gateway begins each trace, and its root
// span has the last eight bytes of the trace id as its id.
func traceOf(e *journal.Entry) (trace, span []byte) {
	trace, err := hex.DecodeString(e.TraceID)
	if err != nil || len(trace) != 16 || strings.Trim(e.TraceID[16:], "0") == "" {
		return nil, nil
	}
	return trace, trace[8:]
}

// valid makes a text fit for protobuf, which refuses a whole message for one
// byte that is not UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func text(name, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: valid(name), Value: stringValue(value)}
}

func stringValue(s string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: valid(s)}}
}

func number(name string, value int64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: valid(name), Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: value}}}
}
