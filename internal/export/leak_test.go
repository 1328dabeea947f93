package export

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
)

// What leaves is what a record holds: nothing of the environment, no header but
// those of the protocol, and no attribute that the documentation does not list.
func TestNothingElseLeaves(t *testing.T) {
	const planted = "planted-Wort-7731"
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME", "SALLYPORT_JOIN_TOKEN", "AUTHORIZATION"} {
		t.Setenv(name, "authorization="+planted)
	}
	proxy := newFake(t)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, strings.Replace(proxy.URL, "http://", "http://user:"+planted+"@", 1))
	}
	dir := t.TempDir()
	j, f := openJournal(t, dir, 0), newFake(t)
	b := newBench(t, j, dir, f.otlp(), jsonl(filepath.Join(t.TempDir(), planted+".jsonl")))
	requests := prometheus.NewCounter(prometheus.CounterOpts{Name: "sallyport_requests_total"})
	own := prometheus.NewRegistry()
	own.MustRegister(requests)
	b.Gatherer = own
	write(t, j, 0, 20)
	stop := b.run(t)
	eventually(t, "records", func() bool { return f.count() == 20 })
	stop()
	all := f.raw.String()
	if strings.Contains(all, planted) {
		t.Error("a planted word left")
	}
	for _, control := range []string{correlation(7), "orders", "192.0.2.7", "sallyport_requests_total", "sallyport/1.2.3"} {
		if !strings.Contains(all, control) {
			t.Errorf("positive control: %q did not leave", control)
		}
	}
	if n := proxy.requests(); n > 0 {
		t.Errorf("%d requests went to a proxy of the environment", n)
	}
	names := map[string]bool{}
	for line := range strings.Lines(all) {
		if name, _, found := strings.Cut(strings.TrimSpace(line), ": "); found && !strings.ContainsAny(name, " \x00\n") && len(name) < 30 {
			names[name] = true
		}
	}
	for _, banned := range []string{"Authorization", "Cookie", "Referer", "Traceparent", "X-Correlation-Id"} {
		if names[banned] {
			t.Errorf("a header %s left", banned)
		}
	}
	if !names["User-Agent"] {
		t.Errorf("positive control: headers %v", names)
	}
}

// documented are the attributes of docs/guide/export.md.
func documented() []string {
	return []string{
		"client.address", "error.type", "http.request.body.size", "http.request.method", "http.request.method_original",
		"http.response.body.size", "http.response.status_code", "http.route", "sallyport.correlation_id", "sallyport.duration_us",
		"sallyport.kind", "sallyport.listener", "sallyport.reason", "sallyport.sequence", "sallyport.service",
		"sallyport.stage.forward", "sallyport.stage.identify", "sallyport.tags", "sallyport.zone", "user.id",
	}
}

func TestAttributesAreThoseThatAreDocumented(t *testing.T) {
	t.Parallel()
	e := entry(1)
	e.Method, e.Status = "MADE-UP", 503
	got := slices.Sorted(maps.Keys(byName(attributes(e))))
	if !slices.Equal(got, documented()) {
		t.Errorf("attributes\n%v\nwant\n%v", got, documented())
	}
	e.Principal, e.Client, e.Route, e.Tags = anonymous, entry(0).Client, "", nil
	for _, absent := range []string{"user.id", "http.route", "sallyport.tags"} {
		if _, there := byName(attributes(e))[absent]; there {
			t.Errorf("%s of a record that has none", absent)
		}
	}
}

func byName(list []*commonpb.KeyValue) map[string]*commonpb.AnyValue {
	m := make(map[string]*commonpb.AnyValue, len(list))
	for _, kv := range list {
		m[kv.GetKey()] = kv.GetValue()
	}
	return m
}
