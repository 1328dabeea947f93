package svid

import (
	"context"
	"encoding/binary"
	"io"
	"log"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/protobuf/proto"
)

// openPlain serves HTTP/2 without TLS in a bubble and returns a WorkloadAPI that
// reaches it.
func openPlain(t *testing.T, h http.HandlerFunc) WorkloadAPI {
	t.Helper()
	m := newMemory()
	srv := &http.Server{Handler: h, Protocols: new(http.Protocols), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	srv.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(m) }()
	t.Cleanup(func() { _ = srv.Close(); _ = m.Close(); <-done })
	return WorkloadAPI{Socket: "/api.sock", Log: quietLog(), dial: m.dial}
}

// framed is a message as gRPC frames it.
func framed(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...)
}

// TestSilentStream: a stream that hangs is opened anew before the identity ends,
// one that never says anything after half a minute.
func TestSilentStream(t *testing.T) {
	for _, c := range []struct {
		name        string
		says        bool
		after       time.Duration
		least, most int32 // streams by then
	}{
		{"an identity of an hour, after 40 minutes", true, 40 * time.Minute, 1, 1},
		{"an identity of an hour, after 46 minutes", true, 46 * time.Minute, 2, 2},
		{"nothing, after 29 seconds", false, 29 * time.Second, 1, 1},
		{"nothing, after 10 minutes", false, 10 * time.Minute, 10, 20},
	} {
		synctest.Test(t, func(t *testing.T) {
			zone := newAuthority(t, testZone, time.Now())
			var streams atomic.Int32
			w := openPlain(t, func(w http.ResponseWriter, r *http.Request) {
				streams.Add(1)
				if c.says {
					w.Header().Set("Content-Type", "application/grpc")
					_, _ = w.Write(framed(t, &workload.X509SVIDResponse{Svids: []*workload.X509SVID{zone.carry("orders", time.Hour)}}))
					_ = http.NewResponseController(w).Flush()
				}
				<-r.Context().Done()
			})
			s := NewSource(nil)
			ctx, cancel := context.WithTimeout(t.Context(), c.after)
			defer cancel()
			if err := w.Run(ctx, s); err != nil {
				t.Errorf("%s: Run = %v", c.name, err)
			}
			if n := streams.Load(); n < c.least || n > c.most {
				t.Errorf("%s: %d streams, want %d to %d", c.name, n, c.least, c.most)
			}
			if _, err := s.Current(); (err == nil) != c.says {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}
}

// TestStreamForms: answers that are not gRPC's change nothing and are named in
// the log.
func TestStreamForms(t *testing.T) {
	zone := newAuthority(t, testZone, time.Now())
	good := framed(t, &workload.X509SVIDResponse{Svids: []*workload.X509SVID{zone.carry("orders", 365*24*time.Hour)}})
	for _, c := range []struct {
		name, kind string
		status     int
		body       string
		want       string
	}{
		{"another status", "application/grpc", 404, "", "no gRPC server"},
		{"a redirect", "application/grpc", 302, "", "does not redirect"},
		{"HTML", "text/html", 200, string(good), "no gRPC server"},
		{"compressed", "application/grpc", 200, "\x01" + string(good[1:]), "compressed"},
		{"too large", "application/grpc", 200, "\x00\xff\xff\xff\xff", "at most"},
		{"cut in the frame", "application/grpc", 200, "\x00\x00", "unexpected EOF"},
		{"cut in the message", "application/grpc", 200, string(good[:100]), "unexpected EOF"},
		{"no status", "application/grpc+proto", 200, "", "without a status"},
		{"empty message", "application/grpc", 200, "\x00\x00\x00\x00\x00", "no identity for this service"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out lockedBuffer
			w := openPlain(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.kind)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			w.Log = newTextLog(&out)
			s := NewSource(nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := w.Run(ctx, s); err != nil {
				t.Errorf("%s: Run = %v", c.name, err)
			}
			if _, err := s.Current(); err == nil || !strings.Contains(out.String(), c.want) {
				t.Errorf("%s: source %v, log %s; want no identity and %q", c.name, err, out.String(), c.want)
			}
		})
	}
}
