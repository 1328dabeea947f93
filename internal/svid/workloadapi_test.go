package svid

import (
	"bytes"
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
)

// endpoint is a Workload API on gRPC's own server: it says what say returns, the
// next message after each word on more, and ends the stream with an error.
type endpoint struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	path string
	say  func(stream int) (*workload.X509SVIDResponse, error)
	more chan struct{}

	mu      sync.Mutex
	streams int // guarded by mu
}

func (e *endpoint) FetchX509SVID(_ *workload.X509SVIDRequest, out grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	md, _ := metadata.FromIncomingContext(out.Context())
	if got := md.Get("workload.spiffe.io"); len(got) != 1 || got[0] != "true" {
		return grpcstatus.Error(codes.InvalidArgument, "security header missing")
	}
	e.mu.Lock()
	e.streams++
	n := e.streams
	e.mu.Unlock()
	for {
		m, err := e.say(n)
		if err != nil {
			return err
		}
		if err := out.Send(m); err != nil {
			return err
		}
		select {
		case <-e.more:
		case <-out.Context().Done():
			return nil
		}
	}
}

func serveEndpoint(t *testing.T, e *endpoint) {
	t.Helper()
	e.path, e.more = filepath.Join(t.TempDir(), "api.sock"), make(chan struct{})
	l, err := net.Listen("unix", e.path)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(srv, e)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })
}

// carry is an identity as the Workload API sends it.
func (a *authority) carry(name string, life time.Duration) *workload.X509SVID {
	a.t.Helper()
	leaf, key := a.leaf(name, time.Now().Add(-time.Minute), life+time.Minute, nil)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &workload.X509SVID{SpiffeId: "spiffe://" + a.zone + "/" + name, X509Svid: append(leaf.Raw, a.mid.Raw...), X509SvidKey: pkcs8, Bundle: a.root.Raw, Hint: name}
}

// start runs w on a source and returns how it ends.
func start(t *testing.T, w WorkloadAPI) (*Source, func() error) {
	t.Helper()
	s := NewSource(nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, s) }()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return s, stop
}

// until waits for a state of the source, however often it changes.
func until(t *testing.T, s *Source, what string, holds func(*Identity, error) bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		changed := s.Changed()
		i, err := s.Current()
		if holds(i, err) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s: never came true; the source has %v, %v", what, i, err)
		}
	}
}

// TestWorkloadAPI: identities come, are renewed on the same stream, are taken
// back, and come again on a new one.
func TestWorkloadAPI(t *testing.T) {
	zone := newAuthority(t, testZone, time.Now())
	var mu sync.Mutex
	words := []func() (*workload.X509SVIDResponse, error){
		func() (*workload.X509SVIDResponse, error) {
			return &workload.X509SVIDResponse{Svids: []*workload.X509SVID{zone.carry("stock", time.Hour), zone.carry("orders", time.Hour)},
				FederatedBundles: map[string][]byte{"spiffe://bank.example": {1}}, Crl: [][]byte{{1}}}, nil
		},
		func() (*workload.X509SVIDResponse, error) {
			return &workload.X509SVIDResponse{Svids: []*workload.X509SVID{zone.carry("orders", 2*time.Hour)}}, nil
		},
		func() (*workload.X509SVIDResponse, error) {
			return &workload.X509SVIDResponse{Svids: []*workload.X509SVID{zone.carry("stock", time.Hour)}}, nil
		},
		func() (*workload.X509SVIDResponse, error) { return nil, grpcstatus.Error(codes.Unavailable, "restart") },
		func() (*workload.X509SVIDResponse, error) {
			return nil, grpcstatus.Error(codes.Unavailable, "still starting")
		},
		func() (*workload.X509SVIDResponse, error) {
			return &workload.X509SVIDResponse{Svids: []*workload.X509SVID{zone.carry("orders", 3*time.Hour)}}, nil
		},
	}
	e := &endpoint{say: func(int) (*workload.X509SVIDResponse, error) {
		mu.Lock()
		defer mu.Unlock()
		word := words[0]
		words = words[1:]
		return word()
	}}
	serveEndpoint(t, e)
	s, stop := start(t, WorkloadAPI{Socket: "unix://" + e.path, Service: "orders", Log: quietLog()})
	for _, step := range []struct {
		name string
		more bool
		life time.Duration // 0: none
	}{
		{"the one among two that is asked for", false, time.Hour},
		{"renewed", true, 2 * time.Hour},
		{"taken back", true, 0},
		{"again, after a restart", true, 3 * time.Hour},
	} {
		if step.more {
			e.more <- struct{}{}
		}
		until(t, s, step.name, func(i *Identity, err error) bool {
			if step.life == 0 {
				return err != nil
			}
			return err == nil && i.ID == mustID(t, "orders") && time.Until(i.NotAfter).Round(time.Hour) == step.life
		})
	}
	// What came over the wire is good for TLS.
	gateway := zone.source("gateway", time.Now)
	if serverErr, clientErr := shake(t, ServerTLS(s, allowAll), ClientTLS(gateway, mustID(t, "orders"))); serverErr != nil || clientErr != nil {
		t.Errorf("handshake: %v, %v", serverErr, clientErr)
	}
	if err := stop(); err != nil {
		t.Errorf("Run = %v, want nil when its context ends", err)
	}
}

func TestWorkloadAPITakesTheFirst(t *testing.T) {
	zone := newAuthority(t, testZone, time.Now())
	e := &endpoint{say: func(int) (*workload.X509SVIDResponse, error) {
		return &workload.X509SVIDResponse{Svids: []*workload.X509SVID{zone.carry("stock", time.Hour), zone.carry("orders", time.Hour)}}, nil
	}}
	serveEndpoint(t, e)
	s, _ := start(t, WorkloadAPI{Socket: e.path, Log: quietLog()})
	until(t, s, "the first", func(i *Identity, err error) bool { return err == nil && i.ID == mustID(t, "stock") })
}

// TestWorkloadAPIDenied: a server that denies takes the identity back; one that
// is merely away does not.
func TestWorkloadAPIDenied(t *testing.T) {
	zone := newAuthority(t, testZone, time.Now())
	away, denied := make(chan struct{}), make(chan struct{})
	e := &endpoint{}
	var step atomic.Int32
	e.say = func(int) (*workload.X509SVIDResponse, error) { // one stream at a time
		switch step.Add(1) {
		case 1:
			return &workload.X509SVIDResponse{Svids: []*workload.X509SVID{zone.carry("orders", time.Hour)}}, nil
		case 2:
			return nil, grpcstatus.Error(codes.Unavailable, "restart")
		case 3:
			close(away)
			<-denied
		}
		return nil, grpcstatus.Error(codes.PermissionDenied, "no service fits: uid 7")
	}
	serveEndpoint(t, e)
	var log lockedBuffer
	s, stop := start(t, WorkloadAPI{Socket: e.path, Log: newTextLog(&log)})
	until(t, s, "an identity", func(i *Identity, err error) bool { return err == nil })
	e.more <- struct{}{}
	<-away
	if _, err := s.Current(); err != nil {
		t.Errorf("while the server is away: %v, want the identity kept", err)
	}
	close(denied)
	until(t, s, "withdrawn", func(i *Identity, err error) bool { return err != nil })
	if err := stop(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"no identity for this process", "no service fits: uid 7"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), "PRIVATE") {
		t.Error("the log holds a key")
	}
}

func newTextLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestWorkloadAPIBadMessages: what does not hold changes nothing, and the next
// stream is listened to.
func TestWorkloadAPIBadMessages(t *testing.T) {
	zone := newAuthority(t, testZone, time.Now())
	imposter := newAuthority(t, testZone, time.Now())
	good := func() *workload.X509SVID { return zone.carry("orders", time.Hour) }
	for name, spoil := range map[string]func(*workload.X509SVID, *workload.X509SVIDResponse){
		"no key":             func(m *workload.X509SVID, _ *workload.X509SVIDResponse) { m.X509SvidKey = nil },
		"no bundle":          func(m *workload.X509SVID, _ *workload.X509SVIDResponse) { m.Bundle = nil },
		"no certificate":     func(m *workload.X509SVID, _ *workload.X509SVIDResponse) { m.X509Svid = nil },
		"no ID":              func(m *workload.X509SVID, _ *workload.X509SVIDResponse) { m.SpiffeId = "" },
		"another ID":         func(m *workload.X509SVID, _ *workload.X509SVIDResponse) { m.SpiffeId = "spiffe://shop.example/order" },
		"an ID that is none": func(m *workload.X509SVID, _ *workload.X509SVIDResponse) { m.SpiffeId = "orders" },
		"another's key": func(m *workload.X509SVID, _ *workload.X509SVIDResponse) {
			m.X509SvidKey = zone.carry("orders", time.Hour).X509SvidKey
		},
		"a key that is none": func(m *workload.X509SVID, _ *workload.X509SVIDResponse) { m.X509SvidKey = []byte("PRIVATE") },
		"a foreign bundle":   func(m *workload.X509SVID, _ *workload.X509SVIDResponse) { m.Bundle = imposter.root.Raw },
		"a chain cut short":  func(m *workload.X509SVID, _ *workload.X509SVIDResponse) { m.X509Svid = m.X509Svid[:len(m.X509Svid)-1] },
		"larger than allowed": func(_ *workload.X509SVID, all *workload.X509SVIDResponse) {
			all.Crl = [][]byte{make([]byte, maxMessage)}
		},
	} {
		first := make(chan struct{})
		e := &endpoint{say: func(stream int) (*workload.X509SVIDResponse, error) {
			m := good()
			all := &workload.X509SVIDResponse{Svids: []*workload.X509SVID{m}}
			if stream == 1 {
				spoil(m, all)
			} else {
				<-first
			}
			return all, nil
		}}
		serveEndpoint(t, e)
		s, stop := start(t, WorkloadAPI{Socket: e.path, Service: "", Log: quietLog()})
		for { // until the first stream was given up
			e.mu.Lock()
			n := e.streams
			e.mu.Unlock()
			if n > 1 {
				break
			}
			select {
			case <-t.Context().Done():
				t.Fatal("the second stream never came")
			case <-time.After(time.Millisecond):
			}
		}
		if i, err := s.Current(); err == nil {
			t.Errorf("%s: %s is in use", name, i.ID)
		}
		close(first)
		until(t, s, name+", then a good one", func(i *Identity, err error) bool { return err == nil })
		if err := stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWorkloadAPILasting: what waiting does not mend is returned.
func TestWorkloadAPILasting(t *testing.T) {
	for _, code := range []codes.Code{codes.InvalidArgument, codes.Unimplemented} {
		e := &endpoint{say: func(int) (*workload.X509SVIDResponse, error) { return nil, grpcstatus.Error(code, "never: 100%") }}
		serveEndpoint(t, e)
		err := WorkloadAPI{Socket: e.path, Log: quietLog()}.Run(t.Context(), NewSource(nil))
		if err == nil || !strings.Contains(err.Error(), "never: 100%") {
			t.Errorf("%s: Run = %v, want the server's text", code, err)
		}
	}
	for _, address := range []string{"", "api.sock", "unix:api.sock", "unix://host/api.sock", "unix:///a?b", "tcp://127.0.0.1:1", "unix:/%zz", "http:///a"} {
		if err := (WorkloadAPI{Socket: address, Log: quietLog()}).Run(t.Context(), NewSource(nil)); err == nil {
			t.Errorf("the address %q was taken", address)
		}
	}
}

// TestWorkloadAPIOfNobody: a socket that is not there, or not gRPC's, is tried
// again until the context ends, and nothing stays behind.
func TestWorkloadAPIOfNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	var log lockedBuffer
	s, stop := start(t, WorkloadAPI{Socket: path, Log: newTextLog(&log)})
	zone := newAuthority(t, testZone, time.Now())
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept() // the first that is tried
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	_ = c.Close()
	_ = l.Close()
	e := &endpoint{say: func(int) (*workload.X509SVIDResponse, error) {
		return &workload.X509SVIDResponse{Svids: []*workload.X509SVID{zone.carry("orders", time.Hour)}}, nil
	}}
	if l, err = net.Listen("unix", path); err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(srv, e)
	go func() { _ = srv.Serve(l) }()
	defer srv.Stop()
	until(t, s, "an identity at last", func(i *Identity, err error) bool { return err == nil })
	if err := stop(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "does not answer") {
		t.Errorf("the log says nothing:\n%s", log.String())
	}
}
