package sidecar

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/guard/guardtest"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// shop is the map of the tests; UPSTREAM and OUTBOUND are filled in.
const shop = `
zone: shop.example
services:
  orders:
    upstream: UPSTREAM
    sidecar: 127.0.0.1:9502
    OUTBOUND
    routes:
      GET /open: anonymous
      GET /open/{rest...}: anonymous
      POST /open: anonymous
      GET /mine: user
      GET /orders/{id}: {allow: user, owner: "response:/customer"}
      PUT /orders/{id}: {allow: user, owner: "read:/customer"}
      GET /live: {allow: anonymous, stream: sse}
      GET /chat: {allow: anonymous, stream: websocket}
      POST /rpc: {allow: anonymous, stream: grpc}
      GET /scoped: {allow: key, scopes: [orders.read]}
    calls:
      accounts: [GET /accounts/{id}, POST /accounts]
      ledger: [{call: POST /entries, as: service}]
  accounts:
    upstream: http://127.0.0.1:9
    routes:
      GET /accounts/{id}: {allow: [anonymous, user, service]}
      POST /accounts: {allow: [anonymous, user, service]}
      GET /secrets: user
  ledger:
    upstream: http://127.0.0.1:9
    routes:
      POST /entries: {allow: service}
`

// bed is a running sidecar with real sockets on both sides. The guard is
// guardtest's, behind a plain listener: mutual TLS is the guard's own to test.
type bed struct {
	t       testing.TB
	guard   *door
	sidecar *Sidecar
	inner   string // URL of the inner door
	socket  string // path of the outbound socket
	ended   chan struct{}
	err     error // of Run, when ended is closed
	end     context.CancelFunc
}

// door is a Guard for tests.
type door struct {
	*guardtest.Guard
	t      testing.TB
	client *http.Client                              // nil: the guard's
	wait   func(ctx context.Context) error           // nil: the guard's
	serve  func(context.Context, net.Listener) error // nil: serves
	ready  func() bool                               // nil: the guard's
}

func (d *door) Client() *http.Client {
	if d.client != nil {
		return d.client
	}
	return d.Guard.Client()
}

func (d *door) Wait(ctx context.Context) error {
	if d.wait != nil {
		return d.wait(ctx)
	}
	return d.Guard.Wait(ctx)
}

func (d *door) Ready() bool {
	if d.ready != nil {
		return d.ready()
	}
	return d.Guard.Ready()
}

// Serve serves h behind the guard as if each request came from the gateway, and
// drains when ctx ends.
func (d *door) Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	if d.serve != nil {
		return d.serve(ctx, l)
	}
	protected := d.Protect(h)
	srv := &http.Server{
		Protocols:         bothVersions(),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			in := d.Request(r.Method, "/", "")
			out := r.WithContext(joined{r.Context(), in.Context()})
			protected.ServeHTTP(w, out)
		}),
	}
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { done <- srv.Shutdown(context.Background()) })
	err := srv.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return <-done
	}
	stop()
	return err
}

// joined has the life of one context and the values of both.
type joined struct {
	context.Context
	values context.Context
}

func (j joined) Value(key any) any {
	if v := j.Context.Value(key); v != nil {
		return v
	}
	return j.values.Value(key)
}

// option changes what newBed makes.
type option func(*Config, *door)

// newBed runs the sidecar of orders in front of the service at upstream, until
// the test ends.
func newBed(t testing.TB, upstream string, options ...option) *bed {
	t.Helper()
	b := prepare(t, upstream, options...)
	b.start()
	return b
}

// prepare is newBed without Run.
func prepare(t testing.TB, upstream string, options ...option) *bed {
	t.Helper()
	b := &bed{t: t, socket: filepath.Join(shortDir(t), "out.sock"), ended: make(chan struct{})}
	z := parse(t, strings.NewReplacer("UPSTREAM", upstream, "    OUTBOUND\n", "").Replace(shop))
	b.guard = &door{Guard: newGuard(t, z), t: t}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	b.inner = "http://" + listener.Addr().String()
	c := Config{
		Zone: z, Service: "orders", Guard: b.guard, Socket: b.socket,
		Listen: func(context.Context, string, string) (net.Listener, error) { return listener, nil },
		Log:    slog.New(slog.NewTextHandler(t.Output(), nil)),
		// What a test does not ask for must not end it, however slow its machine is.
		DialTime: patience, CallHead: patience, HeadTime: patience, PieceTime: patience, TunnelRest: patience, Drain: patience,
	}
	for _, o := range options {
		o(&c, b.guard)
	}
	if b.sidecar, err = New(c); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bed) start() {
	b.t.Helper()
	if err := b.tryStart(); err != nil {
		b.t.Fatalf("run ended: %v", err)
	}
}

// tryStart returns when the door is open, or why Run ended before.
func (b *bed) tryStart() error {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	b.end = cancel
	go func() {
		defer close(b.ended)
		b.err = b.sidecar.Run(ctx)
	}()
	b.t.Cleanup(func() {
		cancel()
		<-b.ended
	})
	over := false
	eventually(b.t, "the door is open", func() bool {
		select {
		case <-b.ended:
			over = true
		default:
		}
		return over || b.sidecar.open.Load()
	})
	if over && b.err == nil {
		return errors.New("without an error")
	}
	if over {
		return b.err
	}
	return nil
}

// awaitSocket waits until the outbound socket takes connections.
func (b *bed) awaitSocket() {
	b.t.Helper()
	eventually(b.t, "the outbound socket is there", func() bool {
		c, err := net.Dial("unix", b.socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// stop ends the run and returns what it returned.
func (b *bed) stop() error {
	b.end()
	<-b.ended
	return b.err
}

// newGuard returns the guard of orders.
func newGuard(t testing.TB, z *zone.Zone) *guardtest.Guard {
	t.Helper()
	s, ok := z.Slice("orders")
	if !ok {
		t.Fatal("no service orders")
	}
	for i := range s.Routes {
		s.Routes[i].NotEnforced = nil
	}
	return guardtest.FromSlice(t, s)
}

func parse(t testing.TB, text string) *zone.Zone {
	t.Helper()
	z, err := zone.Parse("zone.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// shortDir is a private folder whose path leaves room for a socket's name.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// serviceOn serves h on a unix socket and returns the map's word for it.
func serviceOn(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	path := filepath.Join(shortDir(t), "s.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, Protocols: bothVersions(), ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return "unix:" + path
}

// bothVersions are HTTP/1.1, and HTTP/2 without TLS.
func bothVersions() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// rawService answers each connection's first request with bytes, then closes it.
func rawService(t testing.TB, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				if readHead(c) == nil {
					_, _ = io.WriteString(c, answer)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func readHead(c net.Conn) error {
	var head []byte
	buf := make([]byte, 1)
	for !strings.HasSuffix(string(head), "\r\n\r\n") {
		if _, err := c.Read(buf); err != nil {
			return err
		}
		head = append(head, buf[0])
	}
	return nil
}

// deadAddress is an address of loopback on which nobody listens.
func deadAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return "http://" + l.Addr().String()
}

// ask sends a request to the inner door. Header names go as they are spelled.
func (b *bed) ask(method, path, token string, header http.Header) *http.Response {
	b.t.Helper()
	res, err := b.tryAsk(method, path, token, header, nil)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res
}

func (b *bed) tryAsk(method, path, token string, header http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.inner+path, body)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if token != "" {
		req.Header.Set("Txn-Token", token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return client.Do(req)
}

// outbound returns a client of the service's outbound socket: the host of a URL
// becomes Host.
func (b *bed) outbound() *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", b.socket)
	}}
	b.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// call makes a call as the service does.
func (b *bed) call(method, url string, header http.Header, body io.Reader) *http.Response {
	b.t.Helper()
	res, err := b.tryCall(method, url, header, body)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, url, err)
	}
	return res
}

func (b *bed) tryCall(method, url string, header http.Header, body io.Reader) (*http.Response, error) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, url, body)
	if err != nil {
		b.t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	return b.outbound().Do(req)
}

// read returns the body and ends the answer.
func read(t testing.TB, res *http.Response) string {
	t.Helper()
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("body: %v", err)
	}
	return string(b)
}

// wantReason checks a refusal of the sidecar or its guard.
func wantReason(t testing.TB, res *http.Response, want problem.Reason) {
	t.Helper()
	body := read(t, res)
	if got := res.Header.Get(problem.ReasonHeader); got != want.Code() || res.StatusCode != want.Status() {
		t.Errorf("got %d %q %s, want %d %q", res.StatusCode, got, body, want.Status(), want.Code())
	}
}

// patience is against hanging alone: no verdict hangs on it.
const patience = 2 * time.Minute

// doubling repeats an episode with twice its bound until it says that it got
// through what has to come before the bound. So a slow machine takes longer and
// nothing else.
func doubling(t testing.TB, episode func(bound time.Duration) (through bool)) {
	t.Helper()
	for bound := 50 * time.Millisecond; bound < patience; bound *= 2 {
		if episode(bound) {
			return
		}
	}
	t.Fatal("nothing came before its bound, however long that was")
}

// eventually waits for what another goroutine does next.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
