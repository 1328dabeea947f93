package workload

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// patience is how long a test waits for what must come: much more than it takes.
const patience = 2 * time.Minute

// running is a server on a socket.
type running struct {
	*Server
	path string
	ca   *authority
	log  *logText
	end  context.CancelFunc
	done chan error // of Serve
}

// start runs a server until the test ends, and then looks for what it left.
func start(t *testing.T, ca *authority, limits Limits, entries ...Entry) *running {
	t.Helper()
	r := &running{path: filepath.Join(runFolder(t), "w.sock"), ca: ca, log: &logText{}, done: make(chan error, 1)}
	limits.FirstWords = patience
	var err error
	if r.Server, err = New(Config{Zone: testZone, Entries: entries, Issuer: ca, UID: os.Geteuid(), Log: r.log.logger(), Limits: limits}); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(r.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.end = cancel
	go func() { r.done <- r.Serve(ctx, l) }()
	t.Cleanup(func() {
		r.stop(t)
		if t.Failed() {
			t.Logf("log of the server:\n%s", r.log)
		}
	})
	return r
}

var ownFile = regexp.MustCompile(`internal/workload/(\w+)\.go:`)

// stop ends the server, whose goroutines must be gone with it.
func (r *running) stop(t *testing.T) {
	t.Helper()
	if r.end == nil {
		return
	}
	r.end()
	r.end = nil
	if err := <-r.done; err != nil {
		t.Errorf("serve: %v", err)
	}
	left := goroutines(t)
	for deadline := time.Now().Add(patience); left != "" && time.Now().Before(deadline); left = goroutines(t) {
		time.Sleep(5 * time.Millisecond) // the last instant of one that has said that it is done
	}
	if left != "" {
		t.Errorf("a goroutine is left:\n%s", left)
	}
}

// goroutines returns one that is in the code of this package, tests apart.
func goroutines(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
		t.Fatal(err)
	}
	for g := range strings.SplitSeq(all.String(), "\n\n") {
		for _, m := range ownFile.FindAllStringSubmatch(g, -1) {
			if !strings.HasSuffix(m[1], "_test") {
				return g
			}
		}
	}
	return ""
}

// asked is a context with the header.
func asked(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), header, "true"), patience)
	t.Cleanup(cancel)
	return ctx
}

// connect returns a raw client. Where conn is nil it dials, and counts.
func (r *running) connect(t *testing.T, conn net.Conn) (api workload.SpiffeWorkloadAPIClient, dials *int) {
	t.Helper()
	dials = new(int)
	cc, err := grpc.NewClient("passthrough:///workload", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			*dials++ // read after what the connection brought
			if conn == nil {
				return (&net.Dialer{}).DialContext(ctx, "unix", r.path)
			}
			if *dials > 1 {
				return nil, errLent
			}
			return conn, nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return workload.NewSpiffeWorkloadAPIClient(cc), dials
}

// errLent is of a client whose one connection was closed.
var errLent = errors.New("the connection was lent once")

type svidStream = grpc.ServerStreamingClient[workload.X509SVIDResponse]

// fetch opens a stream on a connection of its own.
func (r *running) fetch(t *testing.T) svidStream {
	t.Helper()
	api, _ := r.connect(t, nil)
	return open(t, api)
}

func open(t *testing.T, api workload.SpiffeWorkloadAPIClient) svidStream {
	t.Helper()
	stream, err := api.FetchX509SVID(asked(t), &workload.X509SVIDRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// receive returns the next message, which must hold these services in this order.
func receive(t *testing.T, stream svidStream, want ...string) *workload.X509SVIDResponse {
	t.Helper()
	m, err := tryReceive(t, stream, want...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// tryReceive is receive where another end may come.
func tryReceive(t *testing.T, stream svidStream, want ...string) (*workload.X509SVIDResponse, error) {
	t.Helper()
	m, err := stream.Recv()
	if err != nil {
		return nil, fmt.Errorf("receive: %w, want %v", err, want)
	}
	var got []string
	for _, s := range m.Svids {
		got = append(got, s.Hint)
		if id := "spiffe://" + testZone + "/" + s.Hint; s.SpiffeId != id || leaf(t, s).URIs[0].String() != id {
			t.Errorf("service %s has the ID %s and the certificate of %s", s.Hint, s.SpiffeId, leaf(t, s).URIs)
		}
	}
	if !slices.Equal(got, want) {
		return nil, fmt.Errorf("services %v, want %v", got, want)
	}
	return m, nil
}

// living repeats an episode with certificates of twice the life until it goes well:
// on a slow machine a short life is over before anybody looks. What the server does
// wrong it does wrong with every life.
func living(t *testing.T, shortest time.Duration, episode func(life time.Duration) error) {
	t.Helper()
	var err error
	for life := shortest; life <= 64*time.Second; life *= 2 {
		if err = episode(life); err == nil {
			return
		}
		t.Logf("with a life of %s: %v", life, err)
	}
	t.Error(err)
}

// refused waits for the end of a stream.
func refused(t *testing.T, stream interface{ RecvMsg(any) error }, want codes.Code) {
	t.Helper()
	if err := stream.RecvMsg(&workload.X509SVIDResponse{}); status.Code(err) != want {
		t.Fatalf("the stream: %v, want %v", err, want)
	}
}

func leaf(t *testing.T, s *workload.X509SVID) *x509.Certificate {
	t.Helper()
	chain, err := x509.ParseCertificates(s.X509Svid)
	if err != nil || len(chain) != 2 {
		t.Fatalf("%d certificates, %v, want leaf and intermediate", len(chain), err)
	}
	return chain[0]
}

func serial(t *testing.T, m *workload.X509SVIDResponse, i int) string {
	t.Helper()
	return leaf(t, m.Svids[i]).SerialNumber.String()
}

func (a *authority) breakDown(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.broken = err
}

func (a *authority) setRoots(roots ...*x509.Certificate) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roots = roots
}

var errBroken = errors.New("the sealed key cannot be read")
