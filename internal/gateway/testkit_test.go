package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream"
	"sallyport.dev/zone"
)

// service is an upstream that remembers what it received.
type service struct {
	address string
	handle  http.HandlerFunc // default: 200 with a short text
	mu      sync.Mutex
	seen    []received
}

type received struct {
	method, target, host, body string
	header                     http.Header
}

func newService(t testing.TB, handle http.HandlerFunc) *service {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{address: l.Addr().String(), handle: handle}
	srv := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute, DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.handle != nil {
		s.handle(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.seen = append(s.seen, received{r.Method, r.RequestURI, r.Host, string(body), r.Header.Clone()})
	s.mu.Unlock()
	_, _ = io.WriteString(w, "served\n")
}

func (s *service) all() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.seen...)
}

// door is a gateway on loopback with fakes around it. Edit the fakes freely
// before the first request.
type door struct {
	t       testing.TB
	gateway *Gateway
	service *service
	auth    *fakeAuth
	tokens  *fakeTokens
	journal *fakeJournal
	limiter *fakeLimiter
	metrics *obs.Metrics
	log     *syncBuffer
	addrs   map[string]string // by listener
	stop    context.CancelFunc
	stopped chan error
}

// tooLong bounds what would hang: no verdict hangs on it, so it is far longer than
// any machine is slow.
const tooLong = 2 * time.Minute

// The credentials of the tests.
const (
	aliceToken = "sps_alice"
	rootToken  = "sps_root" // role admin
	keyValue   = "spk_key"  // scope things.read
)

func testLimits() zone.Limits {
	return zone.Limits{
		Body: 1 << 20, Header: 32 << 10, HeaderTime: tooLong, Idle: 2 * time.Minute,
		BodyRate: 1 << 10, Connections: 1000, Streams: 100,
	}
}

// testZone has one listener and a service whose routes are added by the test.
func testZone(upstream string, routes ...*zone.Route) *zone.Zone {
	svc := &zone.Service{Name: "shop", Upstreams: []zone.Upstream{{Scheme: "http", Network: "tcp", Address: upstream, URL: "http://" + upstream}}}
	for _, r := range routes {
		r.Service = svc
		if r.Listener == "" {
			r.Listener = "public"
		}
		svc.Routes = append(svc.Routes, r)
	}
	return &zone.Zone{
		Name:      "shop.example",
		Listeners: []*zone.Listener{{Name: "public", Address: "127.0.0.1:0", Hosts: testHosts, Anonymous: true, Limits: testLimits()}},
		Services:  []*zone.Service{svc},
	}
}

// anything is a route that takes everybody everywhere.
func anything(method string) *zone.Route {
	return &zone.Route{Method: method, Path: "/{rest...}", Allow: zone.AllowAnonymous | zone.AllowUser}
}

// testConfig is a whole configuration over a zone, with fakes.
func testConfig(d *door, z *zone.Zone) Config {
	d.auth = &fakeAuth{known: map[string]policy.Principal{
		aliceToken: {Kind: policy.User, Subject: "alice", Level: 1, Method: "session"},
		rootToken:  {Kind: policy.User, Subject: "root", Roles: []string{"admin"}, Level: 1, Method: "session"},
		keyValue:   {Kind: policy.Key, Subject: "key_1", Scopes: []string{"things.read"}, Client: "1", Method: "key"},
	}}
	d.tokens, d.journal = &fakeTokens{life: time.Hour}, &fakeJournal{}
	d.limiter, d.metrics, d.log = &fakeLimiter{taken: map[string]int{}}, obs.NewMetrics(), &syncBuffer{}
	cfg := Config{
		Zone: z, Certificates: map[string]Certificates{},
		Auth: d.auth, Tokens: d.tokens, Journal: d.journal, Limiter: d.limiter, Metrics: d.metrics,
		Log: slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Drain: tooLong,
	}
	for _, l := range z.Listeners {
		cfg.Certificates[l.Name] = theCertificate()
	}
	return cfg
}

// unhurried stretches what a test of the clock of the wall could miss. What these
// times promise is tested in bubbles of fake time, which keep the defaults.
func unhurried(c *Config) {
	c.graces = graces{body: tooLong, reader: 2 * tooLong, vigil: tooLong, tunnel: tooLong}
	c.Upstream = upstream.Config{
		DialTime: tooLong, HeadTime: 2 * tooLong, PieceTime: 2 * tooLong, AnswerTime: 10 * tooLong, EarlyTime: tooLong, Health: time.Hour,
	}
}

// openDoor starts a gateway over z, with a service of its own behind it.
func openDoor(t testing.TB, routes []*zone.Route, edit ...func(*Config)) *door {
	t.Helper()
	s := newService(t, nil)
	d := &door{t: t, service: s, addrs: map[string]string{}, stopped: make(chan error, 1)}
	cfg := testConfig(d, testZone(s.address, routes...))
	unhurried(&cfg)
	for _, e := range edit {
		e(&cfg)
	}
	for _, l := range cfg.Zone.Listeners {
		if cfg.Certificates[l.Name] == nil {
			cfg.Certificates[l.Name] = theCertificate()
		}
	}
	var err error
	if d.gateway, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	open := map[string]net.Listener{}
	for _, l := range cfg.Zone.Listeners {
		if open[l.Name], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		d.addrs[l.Name] = open[l.Name].Addr().String()
	}
	var ctx context.Context
	ctx, d.stop = context.WithCancel(context.Background())
	go func() { d.stopped <- d.gateway.Serve(ctx, open); close(d.stopped) }()
	t.Cleanup(func() {
		d.stop()
		if err := <-d.stopped; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return d
}

// tlsTo is a client's TLS configuration for HTTP/1.
func tlsTo(name string) *tls.Config {
	return &tls.Config{ServerName: name, NextProtos: []string{"http/1.1"}}
}

// dial opens a TLS connection to the public listener; an empty name sends no SNI.
func (d *door) dial(name string, alpn ...string) *tls.Conn {
	d.t.Helper()
	return d.dialWith("public", &tls.Config{ServerName: name, NextProtos: alpn})
}

func (d *door) dialWith(listener string, c *tls.Config) *tls.Conn {
	d.t.Helper()
	c.RootCAs = theCA().pool
	if c.ServerName == "" { // crypto/tls wants a name or no verification
		c.InsecureSkipVerify = true
	}
	nc, err := tls.Dial("tcp", d.addrs[listener], c)
	if err != nil {
		d.t.Fatalf("dial %s: %v", listener, err)
	}
	d.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(tooLong)) // a test that hangs says where
	return nc
}

// result is an answer with its body, and whether the connection ended with it.
type result struct {
	status int
	header http.Header
	body   string
	closed bool
}

// raw sends bytes as they are over HTTP/1 and reads one answer. closed tells
// whether the door then closed the connection.
func (d *door) raw(request string) result {
	d.t.Helper()
	c := d.dial("shop.example", "http/1.1")
	if _, err := io.WriteString(c, request); err != nil {
		d.t.Fatal(err)
	}
	return d.read(c, request)
}

func (d *door) read(c net.Conn, request string) result {
	d.t.Helper()
	br := bufio.NewReader(c)
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		d.t.Fatalf("request %q: no answer: %v", request, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatalf("request %q: answer cut: %v", request, err)
	}
	r := result{status: resp.StatusCode, header: resp.Header, body: string(body), closed: resp.Close}
	if resp.Close { // said so; now it must do so
		if _, err := br.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			d.t.Errorf("request %q: after an answer with Connection: close: %v, want the end", request, err)
		}
	}
	return r
}

// placesUsed is the number of connections that the public listener has.
func (d *door) placesUsed() int64 {
	p := d.gateway.now().listeners[0].places
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// client is an http.Client of the public listener; http2 chooses the protocol.
func (d *door) client(http2 bool) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(!http2)
	p.SetHTTP2(http2)
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: theCA().pool, ServerName: "shop.example"},
		Protocols:       p, DisableCompression: true, MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, d.addrs["public"])
		},
	}
	d.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: tooLong, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// do sends a request with fields given as "Name: value" and returns the answer.
func (d *door) do(c *http.Client, method, target, body string, fields ...string) result {
	d.t.Helper()
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, "https://shop.example"+target, rd)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header[name] = append(req.Header[name], value) // as spelled
	}
	resp, err := c.Do(req)
	// net/http gives a connection over HTTP/2 two seconds to begin.
	for tries := 0; err != nil && strings.Contains(err.Error(), "http2: client conn could not be established") && tries < 10; tries++ {
		if body != "" {
			req.Body, _ = req.GetBody() // of a string: it has no error
		}
		resp, err = c.Do(req)
	}
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatalf("%s %s: answer cut: %v", method, target, err)
	}
	return result{status: resp.StatusCode, header: resp.Header, body: string(got), closed: resp.Close}
}

// last returns the last record kept, and fails when there is none.
func (d *door) last() journal.Record {
	d.t.Helper()
	all := d.journal.all()
	if len(all) == 0 {
		d.t.Fatal("no record was kept")
	}
	return all[len(all)-1]
}

// refused checks that an answer is the problem document of a reason, and that
// the last record says the same.
func (d *door) refused(what string, got result, want problem.Reason) {
	d.t.Helper()
	if got.status != want.Status() || !strings.Contains(got.body, `"urn:sallyport:reason:`+want.Code()+`"`) {
		d.t.Errorf("%s: got %d %s, want %d with %s", what, got.status, got.body, want.Status(), want.Code())
		return
	}
	if rec := d.last(); rec.Reason != want.Code() || rec.Status != want.Status() {
		d.t.Errorf("%s: record says %s %d, want %s %d", what, rec.Reason, rec.Status, want.Code(), want.Status())
	}
}

// metric returns the metrics as Prometheus reads them.
func (d *door) metric(line string) bool {
	d.t.Helper()
	families, err := d.metrics.Registry.Gather()
	if err != nil {
		d.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			var b strings.Builder
			b.WriteString(f.GetName())
			for _, l := range m.Label {
				fmt.Fprintf(&b, " %s=%s", l.GetName(), l.GetValue())
			}
			if m.Counter != nil {
				fmt.Fprintf(&b, " %g", m.Counter.GetValue())
			}
			if b.String() == line {
				return true
			}
		}
	}
	return false
}

// eventually waits for what another goroutine is about to do.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(tooLong); !is(); time.Sleep(5 * time.Millisecond) { // polling a real socket: there is no event to wait for
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// freeAddress is an address that was free a moment ago: somebody else may take it.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// standsStill waits until what was sent to a client that does not read has filled
// all there is between, which nothing tells but that it grows no more.
func standsStill(t testing.TB, sent *atomic.Int64) {
	t.Helper()
	last, same := int64(0), 0
	eventually(t, "the service can send no more", func() bool {
		now := sent.Load()
		if same++; now != last || now == 0 {
			last, same = now, 0
		}
		return same == 20
	})
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.buf.String() }

// addr parses an address of a test.
func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
