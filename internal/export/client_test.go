package export

import (
	"crypto/x509"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/zone"
)

// Plain http to other hosts and urls with more than a place are refused.
func TestTargets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openJournal(t, dir, 0)
	for _, c := range []struct {
		url  string
		fine bool
	}{
		{"https://otlp.example", true}, {"https://otlp.example:4318/in", true}, {"http://127.0.0.1:4318", true},
		{"http://[::1]:4318", true}, {"http://localhost:4318", true},
		{"http://otlp.example", false}, {"http://10.0.0.1:4318", false}, {"http://localhost.example", false}, {"http://127.0.0.1.example", false},
		{"https://key:word@otlp.example", false}, {"https://otlp.example/?key=word", false}, {"grpc://otlp.example", false}, {"otlp.example", false}, {"", false},
	} {
		b := newBench(t, j, dir, zone.Export{Kind: zone.ExportOTLP, Target: c.url})
		x, err := New(b.Config)
		if (err == nil) != c.fine {
			t.Errorf("%q: %v, want it taken: %v", c.url, err, c.fine)
		}
		if err == nil {
			_ = x.Close()
		} else if strings.Contains(err.Error(), "word") {
			t.Errorf("%q: the error shows it: %v", c.url, err)
		}
	}
	b := newBench(t, j, dir, zone.Export{Kind: zone.ExportSyslog, Target: "udp://log.example:514"})
	x, err := New(b.Config)
	if err != nil || len(x.feeds) != 0 {
		t.Errorf("syslog: %v, want it passed over", err)
	}
	if _, err := New(Config{Registerer: prometheus.NewRegistry()}); err == nil {
		t.Error("a config without a journal was taken")
	}
}

// The receiver's certificate is verified.
func TestReceiverOverTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openJournal(t, dir, 0)
	f := &fake{got: map[string]int{}, spans: map[string]int{}}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ErrorLog = nil
	f.StartTLS()
	t.Cleanup(f.Close)
	write(t, j, 0, 5)
	b := newBench(t, j, dir, f.otlp())
	stop := b.run(t)
	eventually(t, "a failure", func() bool { return b.value(t, "sallyport_export_failures_total") > 2 })
	stop()
	if f.requests() != 0 || !strings.Contains(b.log.String(), "x509") {
		t.Errorf("%d requests reached a receiver of an unknown authority:\n%s", f.requests(), b.log)
	}
	b.Roots = x509.NewCertPool()
	b.Roots.AddCert(f.Certificate())
	stop = b.run(t)
	eventually(t, "five records", func() bool { return f.count() == 5 })
	stop()
}
