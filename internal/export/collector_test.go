package export

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/obs"
	"sallyport.dev/zone"
)

// collectorFolder is the module of the OpenTelemetry Collector's own receiver.
const collectorFolder = "../../e2e/collector"

// built is what became of building it, once for all tests.
var built = sync.OnceValue(func() (b struct {
	file, missing string
	err           error
}) {
	dir, err := os.MkdirTemp("", "sallyport-collector-")
	if err != nil {
		b.err = err
		return b
	}
	b.file = filepath.Join(dir, "collector")
	run := func(args ...string) ([]byte, error) {
		cmd := exec.Command("go", args...)
		cmd.Dir = collectorFolder
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		return cmd.CombinedOutput()
	}
	if out, err := run("list", "-deps", "."); err != nil {
		b.missing = fmt.Sprintf("the collector's modules cannot be had: %v\n%s", err, out)
		return b
	}
	if out, err := run("build", "-o", b.file, "."); err != nil {
		b.err = fmt.Errorf("build the collector: %w\n%s", err, out)
	}
	return b
})

var wasBuilt sync.Once

func removeCollector() {
	unused := false
	wasBuilt.Do(func() { unused = true })
	if !unused {
		_ = os.RemoveAll(filepath.Dir(built().file))
	}
}

// received is a line of the collector: see e2e/collector.
type received struct {
	Signal, Name, Kind, Severity, Body, Status string
	Resource, Attributes                       map[string]any
	TraceID                                    string `json:"trace_id"`
	SpanID                                     string `json:"span_id"`
	ParentID                                   string `json:"parent_id"`
	Start, End                                 int64
	Value                                      float64
	Count                                      uint64
	Bounds                                     []float64
	Buckets                                    []uint64
	Cumulative, Monotonic                      bool
}

func (r received) text(name string) string { s, _ := r.Attributes[name].(string); return s }

// collector is a running receiver.
type collector struct {
	address string
	stdin   io.Writer
	said    chan string // lines of its standard error
	mu      sync.Mutex
	lines   []received
}

// ports counts the ports that this process has asked for.
var ports atomic.Uint32

// nextPort is one that no other call has got, here or, most likely, in a process beside.
func nextPort() int { return int(20_000 + (uint32(os.Getpid())*97+ports.Add(1))%12_000) } // #nosec G115 -- small

// free is a loopback address that nothing listens on.
// It lies below the ports that systems give to connections and for port 0, so that
// nobody else is given it meanwhile.
func free(t *testing.T) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(nextPort())))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

func startCollector(t *testing.T, address string) *collector {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the OpenTelemetry Collector's receiver")
	}
	wasBuilt.Do(func() {})
	b := built()
	if b.missing != "" {
		t.Skip(b.missing)
	}
	if b.err != nil {
		t.Fatal(b.err)
	}
	cmd := exec.CommandContext(t.Context(), b.file, "-listen", address) // #nosec G204 -- built above
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	told, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &collector{address: address, stdin: stdin, said: make(chan string, 100)}
	var readers sync.WaitGroup
	readers.Go(func() {
		for lines := bufio.NewScanner(told); lines.Scan(); {
			c.said <- lines.Text()
		}
		close(c.said)
	})
	readers.Go(func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var r received
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Errorf("collector: %q: %v", lines.Text(), err)
			}
			c.mu.Lock()
			c.lines = append(c.lines, r)
			c.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		readers.Wait()
		_ = cmd.Wait() // killed
	})
	c.hears(t, "ready")
	return c
}

func (c *collector) hears(t *testing.T, want string) {
	t.Helper()
	for line := range c.said {
		if line == want {
			return
		}
		t.Log("collector:", line)
	}
	t.Fatalf("the collector never said %q", want)
}

// does gives it a command.
func (c *collector) does(t *testing.T, command string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.stdin, command); err != nil {
		t.Fatal(err)
	}
	c.hears(t, "done")
}

// of returns what was received of a signal, by correlation id or name.
func (c *collector) of(signal string) map[string][]received {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := map[string][]received{}
	for _, r := range c.lines {
		if r.Signal != signal {
			continue
		}
		key := r.text("sallyport.correlation_id")
		if signal == signalMetrics {
			key = r.Name
		}
		m[key] = append(m[key], r)
	}
	return m
}

func at(address string) zone.Export {
	return zone.Export{Kind: zone.ExportOTLP, Target: "http://" + address}
}

// Each record arrives in the collector's own receiver with all of its fields, as
// a log record and as a span; metrics arrive too.
func TestCollector(t *testing.T) {
	t.Parallel()
	c := startCollector(t, free(t))
	dir := t.TempDir()
	j := openJournal(t, dir, 0)
	b := newBench(t, j, dir, at(c.address))
	m := obs.NewMetrics()
	m.Requests.WithLabelValues("orders", "GET /orders/{id}", "ok").Add(3)
	m.Duration.WithLabelValues("orders").Observe(.002)
	b.Gatherer, b.MetricsEvery = m.Registry, 50*time.Millisecond
	write(t, j, 0, 1200)
	odd := []*journal.Record{
		{Kind: journal.KindRequest, Time: start, CorrelationID: correlation(2000), TraceID: strings.Repeat("ab", 16), Listener: "public",
			Method: "BREW\xff", Principal: anonymous, Reason: "route.unknown", Status: 404, Tags: []string{"odd\xc3"}},
		{Kind: journal.KindOpen, Time: start, CorrelationID: correlation(2001), TraceID: strings.Repeat("cd", 16), Method: "GET", Route: "GET /live", Reason: "ok", Status: 200},
		{Kind: journal.KindEnd, Time: start, CorrelationID: correlation(2001), TraceID: strings.Repeat("cd", 16), Method: "GET", Route: "GET /live", Reason: "upstream.failed", Status: 502, Duration: time.Second},
	}
	for _, r := range odd {
		if err := j.AppendSync(r); err != nil {
			t.Fatal(err)
		}
	}
	stop := b.run(t)
	eventually(t, "all signals", func() bool {
		return len(c.of(signalLogs)) == 1202 && len(c.of(signalTraces)) == 1202 && len(c.of(signalMetrics)["sallyport_requests_total"]) > 1
	})
	stop()
	logs, spans, metrics := c.of(signalLogs), c.of(signalTraces), c.of(signalMetrics)
	for i := range 1200 {
		checkRecord(t, i, j.ID(), logs[correlation(i)], spans[correlation(i)])
		if t.Failed() {
			return
		}
	}
	if l := logs[correlation(2000)][0]; l.Severity != "WARN" || l.text("http.request.method") != "_OTHER" || l.text("http.request.method_original") != "BREW�" || l.text("user.id") != "" {
		t.Errorf("a refused request of a made-up method: %+v", l)
	}
	if s := spans[correlation(2000)][0]; s.Name != "HTTP" || s.Status != "Unset" {
		t.Errorf("its span: %+v", s)
	}
	if l, s := logs[correlation(2001)], spans[correlation(2001)]; len(l) != 2 || len(s) != 1 || l[1].Severity != "ERROR" ||
		s[0].Status != "Error" || s[0].End-s[0].Start != int64(time.Second) || s[0].text("error.type") != "upstream.failed" {
		t.Errorf("a stream that broke off: %+v, %+v, want two log records and one span", l, s)
	}
	if p := metrics["sallyport_requests_total"][0]; p.Kind != "Sum" || !p.Monotonic || !p.Cumulative || p.Value != 3 || p.text("route") != "GET /orders/{id}" || p.Start == 0 {
		t.Errorf("a counter: %+v", p)
	}
	if p := metrics["sallyport_request_duration_seconds"][0]; p.Kind != "Histogram" || p.Count != 1 || len(p.Buckets) != len(p.Bounds)+1 || p.Value != .002 {
		t.Errorf("a histogram: %+v", p)
	}
	if p := metrics["go_goroutines"][0]; p.Kind != "Gauge" || p.Value < 1 {
		t.Errorf("a gauge: %+v", p)
	}
	if lost := b.value(t, "sallyport_export_dropped_total"); lost != 0 {
		t.Errorf("%v dropped", lost)
	}
}

func checkRecord(t *testing.T, i int, id string, logs, spans []received) {
	t.Helper()
	if len(logs) != 1 || len(spans) != 1 {
		t.Fatalf("record %d: %d log records and %d spans, want 1 of each", i, len(logs), len(spans))
	}
	l, s, r := logs[0], spans[0], record(i)
	want := map[string]any{
		"http.request.method": "GET", "http.route": "/orders/{id}", "http.response.status_code": 200., "http.request.body.size": float64(i),
		"http.response.body.size": 2048., "client.address": "192.0.2.7", "user.id": r.Principal,
		"sallyport.zone": "shop.example", "sallyport.listener": "public", "sallyport.service": "orders", "sallyport.reason": "ok",
		"sallyport.correlation_id": correlation(i), "sallyport.kind": "request", "sallyport.sequence": float64(i), "sallyport.duration_us": 1500.,
		"sallyport.stage.identify": 100., "sallyport.stage.forward": 1300., "sallyport.tags": []any{"retried"},
	}
	if got := fmt.Sprint(s.Attributes); got != fmt.Sprint(want) {
		t.Errorf("span %d: attributes\n%v\nwant\n%v", i, got, want)
	}
	want["log.record.uid"] = fmt.Sprintf("%s-%d", id, i)
	if got := fmt.Sprint(l.Attributes); got != fmt.Sprint(want) {
		t.Errorf("log record %d: attributes\n%v\nwant\n%v", i, got, want)
	}
	resource := map[string]any{"service.name": "sallyport", "service.version": "1.2.3", "service.instance.id": id}
	for _, x := range []received{l, s} {
		if fmt.Sprint(x.Resource) != fmt.Sprint(resource) || x.TraceID != r.TraceID || x.SpanID != r.TraceID[16:] || x.ParentID != "" || x.Start != r.Time.UnixNano() {
			t.Errorf("record %d: %+v", i, x)
		}
	}
	if l.Severity != "INFO" || l.Name != "sallyport.request" || l.Body != "GET /orders/{id} 200 ok" {
		t.Errorf("log record %d: %+v", i, l)
	}
	if s.Kind != "Server" || s.Name != "GET /orders/{id}" || s.Status != "Unset" || s.End-s.Start != int64(r.Duration) {
		t.Errorf("span %d: %+v", i, s)
	}
}

// A collector that is absent, then there, busy, slow and gone for a while: no
// record is left out.
func TestCollectorComesAndGoes(t *testing.T) {
	t.Parallel()
	address := free(t)
	dir := t.TempDir()
	j := openJournal(t, dir, 0)
	b := newBench(t, j, dir, at(address))
	write(t, j, 0, 500)
	stop := b.run(t)
	failures := func() float64 { return b.value(t, "sallyport_export_failures_total", signalLogs) }
	failsMore := func() {
		t.Helper()
		before := failures()
		eventually(t, "more failures", func() bool { return failures() > before+2 })
	}
	failsMore()
	c := startCollector(t, address)
	eventually(t, "what was written before it was there", func() bool { return len(c.of(signalLogs)) == 500 && len(c.of(signalTraces)) == 500 })
	for i, command := range []string{"busy", "down"} {
		c.does(t, command)
		write(t, j, 500+100*i, 600+100*i)
		failsMore()
		c.does(t, "accept")
		eventually(t, "what was written while it was "+command, func() bool { return len(c.of(signalLogs)) == 600+100*i })
	}
	c.does(t, "slow 100ms")
	write(t, j, 700, 800)
	eventually(t, "what a slow one takes", func() bool { return len(c.of(signalLogs)) == 800 && len(c.of(signalTraces)) == 800 })
	c.does(t, "slow 0s")
	c.does(t, "refuse")
	write(t, j, 800, 810)
	eventually(t, "a drop", func() bool { return b.value(t, "sallyport_export_dropped_total", signalLogs, lostRefused) == 10 })
	c.does(t, "accept")
	write(t, j, 810, 820)
	eventually(t, "the rest", func() bool { return len(c.of(signalLogs)) == 810 })
	stop()
	if lost := b.value(t, "sallyport_export_dropped_total", signalLogs); lost != 10 {
		t.Errorf("%v dropped, want the 10 that were refused", lost)
	}
}
