package sidecar

import (
	"io"
	"log/slog"
	"net/http"
	"testing"
)

// discarding is the writer in front of the sidecar.
type discarding struct{ header http.Header }

func (d *discarding) Header() http.Header         { return d.header }
func (d *discarding) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarding) WriteHeader(int)             {}

// BenchmarkForward is a request behind the guard, to a service on a unix socket
// and back; the service's half is in it.
func BenchmarkForward(b *testing.B) {
	service := serviceOn(b, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	bed := prepare(b, service, func(c *Config, _ *door) { c.Log = slog.New(slog.DiscardHandler) })
	request := bed.guard.Request("GET", "/open?a=1", bed.guard.Token("anonymous"))
	for name, value := range map[string]string{"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "curl/8.5.0", "Accept-Language": "en"} {
		request.Header.Set(name, value)
	}
	door := bed.guard.Protect(bed.sidecar.inbound)
	b.ReportAllocs()
	for b.Loop() {
		door.ServeHTTP(&discarding{make(http.Header)}, request)
	}
}
