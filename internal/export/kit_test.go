package export

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/logs"
	"sallyport.dev/zone"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return start }

// openJournal opens a real journal; size 0 is one that frees nothing in a test.
func openJournal(t testing.TB, dir string, size int64) *journal.Journal {
	t.Helper()
	o := journal.Options{Zone: "shop.example", Stages: []string{"identify", "forward"}, Size: size, SegmentSize: size / 16, Clock: clock}
	j, err := journal.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

// record is the i-th record of a test; its correlation id tells which.
func record(i int) *journal.Record {
	return &journal.Record{
		Kind: journal.KindRequest, Time: start.Add(time.Duration(i) * time.Millisecond),
		CorrelationID: correlation(i), TraceID: fmt.Sprintf("%032x", i+1),
		Listener: "public", Service: "orders", Route: "GET /orders/{id}", Method: "GET", Client: netip.MustParseAddr("192.0.2.7"),
		Principal: "6f2d4a1e-8c1b-4a77-9d3e-0b5a1c2d3e4f", Reason: "ok", Status: 200, BytesIn: int64(i), BytesOut: 2048,
		Duration: 1500 * time.Microsecond, Stages: []uint32{100, 1300}, Tags: []string{"retried"},
	}
}

func correlation(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }

// large is a record that no compression makes small, so that few of them fill a journal.
func large(i int) *journal.Record {
	r := record(i)
	var noise [750]byte
	_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(noise[:])
	r.Principal = base64.StdEncoding.EncodeToString(noise[:])
	return r
}

// write appends records and syncs them.
func write(t testing.TB, j *journal.Journal, from, to int) { writeEach(t, j, record, from, to) }

func writeEach(t testing.TB, j *journal.Journal, record func(int) *journal.Record, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		put := j.Append
		if i == to-1 {
			put = j.AppendSync
		}
		if err := put(record(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// quick is a pace for tests: they wait for what happens, not for the clock. An
// attempt that is cut comes twice, so the bounds leave room for a slow machine.
func quick() pace {
	return pace{
		first: time.Millisecond, most: 5 * time.Millisecond, told: 20 * time.Millisecond,
		attempt: time.Minute, grace: time.Minute, farewell: 2 * time.Minute, settled: time.Minute,
	}
}

// bench is an exporter under test with what stands around it.
type bench struct {
	Config
	registry *prometheus.Registry
	log      *syncBuffer
}

func newBench(t testing.TB, j *journal.Journal, dir string, exports ...zone.Export) *bench {
	t.Helper()
	b := &bench{registry: prometheus.NewRegistry(), log: &syncBuffer{}}
	b.Config = Config{
		Exports: exports, Source: j, Reader: journal.NewReader(dir), Dir: t.TempDir(), JSON: logs.AppendJSON,
		Registerer: b.registry, Every: 2 * time.Millisecond, Version: "1.2.3", Clock: clock, pace: quick(),
		Log: slog.New(slog.NewTextHandler(b.log, nil)),
	}
	return b
}

// run starts the exports; the function that it returns ends them.
func (b *bench) run(t testing.TB) (stop func()) {
	t.Helper()
	x, err := New(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// value sums the series of a metric whose labels hold all of the words.
func (b *bench) value(t testing.TB, name string, words ...string) float64 {
	t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && has(m.GetLabel(), words) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func has(labels []*dto.LabelPair, words []string) bool {
	for _, w := range words {
		found := false
		for _, l := range labels {
			found = found || l.GetValue() == w
		}
		if !found {
			return false
		}
	}
	return true
}

// eventually waits until something holds, for as long as a slow machine may take.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for !holds() {
		if !pause(deadline, 10*time.Millisecond) {
			t.Fatalf("never: %s", what)
		}
	}
}

// fake is an OTLP receiver that answers as a test says. The collector's own
// receiver is in collector_test.go.
type fake struct {
	*httptest.Server
	mu      sync.Mutex
	answer  func(w http.ResponseWriter, signal string) // nil: takes all
	got     map[string]int                             // by log.record.uid, what was taken
	order   []string
	spans   map[string]int // by span id
	points  int
	asked   int // requests
	raw     bytes.Buffer
	largest int // bytes of a message
}

func newFake(t testing.TB) *fake {
	f := &fake{got: map[string]int{}, spans: map[string]int{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) says(answer func(w http.ResponseWriter, signal string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// status is an answer without a body.
func status(code int) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, _ string) { w.WriteHeader(code) }
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	_ = r.Header.Write(&f.raw)
	unpacked, err := gzip.NewReader(r.Body)
	if err != nil || r.Header.Get("Content-Type") != mediaProtobuf || r.Header.Get("Content-Encoding") != "gzip" {
		http.Error(w, "not gzip", http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(unpacked)
	if err != nil {
		http.Error(w, "not gzip", http.StatusBadRequest)
		return
	}
	f.raw.Write(body)
	f.largest = max(f.largest, len(body))
	signal := strings.TrimPrefix(r.URL.Path, "/v1/")
	if f.answer != nil {
		told := &recorded{ResponseWriter: w}
		f.answer(told, signal)
		if told.status >= 300 {
			return
		}
	}
	f.take(signal, body)
}

type recorded struct {
	http.ResponseWriter
	status int
}

func (r *recorded) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (f *fake) take(signal string, body []byte) {
	var l logspb.LogsData
	var s tracepb.TracesData
	var m metricspb.MetricsData
	switch signal {
	case signalLogs:
		if proto.Unmarshal(body, &l) == nil {
			for _, r := range l.GetResourceLogs()[0].GetScopeLogs()[0].GetLogRecords() {
				uid := attribute(r.GetAttributes(), "log.record.uid")
				f.got[uid]++
				f.order = append(f.order, uid)
			}
		}
	case signalTraces:
		if proto.Unmarshal(body, &s) == nil {
			for _, p := range s.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans() {
				f.spans[string(p.GetSpanId())]++
			}
		}
	case signalMetrics:
		if proto.Unmarshal(body, &m) == nil {
			for _, m := range m.GetResourceMetrics()[0].GetScopeMetrics()[0].GetMetrics() {
				f.points += pointsOf(m)
			}
		}
	}
}

func attribute(list []*commonpb.KeyValue, name string) string {
	for _, kv := range list {
		if kv.GetKey() == name {
			return kv.GetValue().GetStringValue()
		}
	}
	return ""
}

// count is the number of different records that were taken.
func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.got)
}

func (f *fake) requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (f *fake) otlp() zone.Export { return zone.Export{Kind: zone.ExportOTLP, Target: f.URL} }

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		exportUntilKilled(job)
	}
	code := m.Run()
	removeCollector()
	os.Exit(code)
}
