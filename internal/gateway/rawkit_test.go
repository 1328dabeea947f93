package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// rawService is a service that speaks bytes: what it does with a connection is
// the test's. It keeps every request as it was on the wire.
type rawService struct {
	network, address string
	requests         chan string // each request, head and body, as received
	conns            atomic.Int32
	serving          sync.WaitGroup
}

// rawConn is one connection to a rawService, counted from 0.
type rawConn struct {
	net.Conn
	br      *bufio.Reader
	n       int
	service *rawService
}

// newRawService listens on network (tcp or unix) and runs serve for each
// connection; the connection is closed when serve returns.
func newRawService(t testing.TB, network string, serve func(*rawConn)) *rawService {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s.sock")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &rawService{network: network, address: l.Addr().String(), requests: make(chan string, 64)}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.take(c, serve)
		}
	}()
	return s
}

// newPipeService is a rawService without a socket, for tests with a clock of
// their own: dial is what upstreamConfig wants.
func newPipeService(serve func(*rawConn)) (s *rawService, dial func(context.Context, string, string) (net.Conn, error)) {
	s = &rawService{network: "tcp", address: "pipe", requests: make(chan string, 64)}
	return s, func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		s.take(theirs, serve)
		return ours, nil
	}
}

func (s *rawService) take(c net.Conn, serve func(*rawConn)) {
	rc := &rawConn{Conn: c, br: bufio.NewReader(c), n: int(s.conns.Add(1)) - 1, service: s}
	s.serving.Go(func() {
		defer c.Close()
		serve(rc)
	})
}

// request reads one whole request and keeps it. It reports false at the end of
// the connection.
func (c *rawConn) request() (raw string, ok bool) {
	head, ok := c.head()
	if !ok {
		return "", false
	}
	raw = head
	lower := strings.ToLower(head)
	if strings.Contains(lower, "\r\ntransfer-encoding: chunked\r\n") {
		for !strings.HasSuffix(raw, "\r\n0\r\n\r\n") {
			line, err := c.br.ReadString('\n')
			if err != nil {
				return raw, false
			}
			raw += line
		}
	} else if _, after, found := strings.Cut(lower, "\r\ncontent-length: "); found {
		digits, _, _ := strings.Cut(after, "\r\n")
		n, _ := strconv.Atoi(digits)
		body := make([]byte, n)
		m, err := io.ReadFull(c.br, body)
		raw += string(body[:m])
		if err != nil {
			return raw, false
		}
	}
	c.service.requests <- raw
	return raw, true
}

// head reads the head of a request and keeps nothing.
func (c *rawConn) head() (string, bool) {
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		line, err := c.br.ReadString('\n')
		head.WriteString(line)
		if err != nil {
			return head.String(), false
		}
	}
	return head.String(), true
}

// say reports false when the gateway has hung up.
func (c *rawConn) say(s string) bool {
	_, err := io.WriteString(c, s)
	return err == nil
}

// stay waits until the gateway hangs up.
func (c *rawConn) stay() { _, _ = io.Copy(io.Discard, c.br) }

// always answers every request of a connection with the same bytes.
func always(answer string) func(*rawConn) {
	return func(c *rawConn) {
		for {
			if _, ok := c.request(); !ok {
				return
			}
			c.say(answer)
		}
	}
}

// sized is a whole answer with a length.
func sized(body string) string {
	return "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// newTestSet is the set of a service with these instances.
func newTestSet(t testing.TB, cfg upstreamConfig, services ...*rawService) *upstreamSet {
	t.Helper()
	svc := &zone.Service{Name: "shop"}
	for _, s := range services {
		svc.Upstreams = append(svc.Upstreams, zone.Upstream{Scheme: "http", Network: s.network, Address: s.address, URL: "http://" + s.address})
	}
	set := newUpstreamSet(svc, cfg)
	t.Cleanup(set.Close)
	return set
}

// dead is an instance to which nothing listens.
func dead(t testing.TB) *rawService {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	return &rawService{network: "tcp", address: address}
}

// outcome is what came of a request to a set.
type outcome struct {
	status int
	body   string
	reason problem.Reason
	err    error
}

// send sends a request and reads its answer to the end.
func (o *outgoing) send(set *upstreamSet) outcome { return o.sendWith(context.Background(), set) }

func (o *outgoing) sendWith(ctx context.Context, set *upstreamSet) outcome {
	x, err := set.send(ctx, o)
	if err != nil {
		return outcome{reason: problem.ReasonOf(err), err: err}
	}
	defer x.abandon()
	body, err := io.ReadAll(&x.response)
	if err != nil {
		tr := &trip{r: testRequest(ctx)}
		return outcome{status: x.status, body: string(body), reason: tr.cutInside(x, err), err: err}
	}
	x.finish()
	return outcome{status: x.status, body: string(body), reason: problem.OK}
}

// withBody gives the request a body of unknown length (chunked) or a known one.
func (o *outgoing) withBody(body inbound, length int64) *outgoing {
	o.body, o.length = body, length
	return o
}

// wantServed fails unless the outcome is a 200 with this body.
func wantServed(t *testing.T, what string, got outcome, body string) {
	t.Helper()
	if got.reason != problem.OK || got.status != 200 || got.body != body {
		t.Errorf("%s: got %d %q, %v (%v), want 200 %q", what, got.status, got.body, got.reason, got.err, body)
	}
}

// wantReason fails unless the outcome is this refusal.
func wantReason(t *testing.T, what string, got outcome, want problem.Reason) {
	t.Helper()
	if got.reason != want {
		t.Errorf("%s: got %d %q, %v (%v), want %v", what, got.status, got.body, got.reason, got.err, want)
	}
}

// wantRequests fails unless the service has received exactly n requests.
func wantRequests(t *testing.T, what string, s *rawService, n int) {
	t.Helper()
	if got := len(s.requests); got != n {
		t.Errorf("%s: the service received %d requests, want %d", what, got, n)
	}
}

var errTest = errors.New("made by the test")

var errDeadline = os.ErrDeadlineExceeded

// testClock is a clock that the test moves.
type testClock struct{ nanos atomic.Int64 }

func (c *testClock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *testClock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// fail makes the authenticator answer with err from now on.
func (f *fakeAuth) fail(err error) { f.mu.Lock(); defer f.mu.Unlock(); f.err = err }
