package upstream

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

// newTestSet is the set of a service with these instances.
func newTestSet(t testing.TB, cfg Config, services ...*upstreamtest.Service) *Set {
	t.Helper()
	svc := &zone.Service{Name: "shop"}
	for _, s := range services {
		svc.Upstreams = append(svc.Upstreams, s.Upstream())
	}
	set := New(svc, unhurried(cfg))
	t.Cleanup(set.Close)
	return set
}

// unhurried stretches what a test of the clock of the wall could miss. In bubbles of
// fake time, which begin with the year 2000, the defaults are what is tested.
func unhurried(c Config) Config {
	if time.Now().Year() > 2020 {
		c.DialTime, c.EarlyTime = cmp.Or(c.DialTime, 2*time.Minute), cmp.Or(c.EarlyTime, 2*time.Minute)
		c.HeadTime, c.PieceTime = cmp.Or(c.HeadTime, 4*time.Minute), cmp.Or(c.PieceTime, 4*time.Minute)
		c.AnswerTime = cmp.Or(c.AnswerTime, 20*time.Minute)
	}
	return c
}

// lines are header fields as a test wants them.
type lines string

func (l lines) AppendFields(dst []byte) ([]byte, error) { return append(dst, l...), nil }

// someRequest is a request that is in order.
func someRequest(method, path string) *Request {
	return &Request{
		Method: method, Path: path, Host: "shop.example", Client: netip.MustParseAddr("203.0.113.7"),
		Fields: lines("X-Custom: value\r\n"),
	}
}

// with gives the request a body of unknown length (chunked) or a known one.
func (r *Request) with(body Body, length int64) *Request {
	r.Body, r.Length = body, length
	return r
}

// testBody is a client's body in tests.
type testBody struct {
	strings.Reader
	retired chan struct{} // closed by Retire when not nil
}

func (b *testBody) Retire() {
	if b.retired != nil {
		close(b.retired)
	}
}

func newTestBody(s string) *testBody { return &testBody{Reader: *strings.NewReader(s)} }

// outcome is what came of a request to a set.
type outcome struct {
	status int
	body   string
	reason problem.Reason
	err    error
}

// send sends a request and reads its answer to the end.
func send(set *Set, r *Request) outcome { return sendWith(context.Background(), set, r) }

func sendWith(ctx context.Context, set *Set, r *Request) outcome {
	x, err := set.Send(ctx, r)
	if err != nil {
		return outcome{reason: problem.ReasonOf(err), err: err}
	}
	defer x.Close()
	body, err := io.ReadAll(x)
	if err != nil {
		return outcome{status: x.Status, body: string(body), reason: problem.ReasonOf(err), err: err}
	}
	return outcome{status: x.Status, body: string(body), reason: problem.OK}
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
func wantRequests(t *testing.T, what string, s *upstreamtest.Service, n int) {
	t.Helper()
	if got := len(s.Requests); got != n {
		t.Errorf("%s: the service received %d requests, want %d", what, got, n)
	}
}

var errTest = errors.New("made by the test")

// testClock is a clock that the test moves.
type testClock struct{ nanos atomic.Int64 }

func (c *testClock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *testClock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

func bufioReader(s string) *bufio.Reader { return bufio.NewReader(strings.NewReader(s)) }
