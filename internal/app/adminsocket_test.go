package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/problem"
)

// ledger is a journal that keeps its records in memory.
type ledger struct {
	mu      sync.Mutex
	records []journal.Record
	admit   error
	append  error
}

func (l *ledger) Admit(bool) error { return l.admit }

func (l *ledger) AppendSync(r *journal.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.append == nil {
		l.records = append(l.records, *r)
	}
	return l.append
}

func (l *ledger) last() journal.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.records) == 0 {
		return journal.Record{}
	}
	return l.records[len(l.records)-1]
}

var quiet = slog.New(slog.DiscardHandler)

// TestAdminOperations: whatever an operation does, its use is recorded before
// its answer, and what cannot be recorded is not done.
func TestAdminOperations(t *testing.T) {
	down := problem.New(problem.JournalUnavailable, errors.New("the planted cause"))
	for _, c := range []struct {
		name          string
		method, path  string
		op            operation
		admit, append error
		status        int
		body          string
		reason        string // of the record; empty: there is none
		done          bool   // the operation ran
	}{
		{"answers", "GET", "/op", answering(map[string]int{"a": 1}, nil), nil, nil, 200, `{"a":1}`, "ok", true},
		{"answers nothing", "GET", "/op", answering(nil, nil), nil, nil, 204, "", "ok", true},
		{"refuses", "GET", "/op", answering(nil, problem.WithDetail(problem.AdminConflict, "taken")), nil, nil, 409, `"detail":"taken"`, "admin.conflict", true},
		{"fails", "GET", "/op", answering(nil, errors.New("the planted cause")), nil, nil, 500, "internal.error", "internal.error", true},
		{"panics", "GET", "/op", func(context.Context, *http.Request) (any, error) { panic("the planted cause") }, nil, nil, 500, "internal.error", "internal.error", true},
		{"cannot be written as JSON", "GET", "/op", answering(func() {}, nil), nil, nil, 500, "internal.error", "internal.error", true},
		{"is not known", "GET", "/other", answering(nil, nil), nil, nil, 404, "another version", "route.unknown", false},
		{"is not known by this method", "DELETE", "/op", answering(nil, nil), nil, nil, 404, "another version", "route.unknown", false},
		{"no room for its record", "GET", "/op", answering(nil, nil), down, nil, 503, "journal.unavailable", "journal.unavailable", false},
		{"its record fails", "GET", "/op", answering(map[string]int{"planted cause": 1}, nil), nil, down, 503, "journal.unavailable", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &ledger{admit: c.admit, append: c.append}
			a := newAdminSocket(l, quiet)
			done := false
			a.handle("GET /op", func(ctx context.Context, r *http.Request) (any, error) {
				done = true
				return c.op(ctx, r)
			})
			w := httptest.NewRecorder()
			a.mux.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) || strings.Contains(w.Body.String(), "planted cause") {
				t.Errorf("answer %d %q, want %d with %q", w.Code, w.Body, c.status, c.body)
			}
			if done != c.done {
				t.Errorf("the operation ran: %v, want %v", done, c.done)
			}
			r := l.last()
			if r.Reason != c.reason {
				t.Errorf("recorded with the reason %q, want %q", r.Reason, c.reason)
			}
			if c.reason == "" {
				return
			}
			if r.Status != c.status || r.Kind != journal.KindAdmin || r.Service != "admin" || r.Listener != "admin.sock" || r.Method != c.method ||
				r.CorrelationID != w.Header().Get("X-Correlation-Id") || r.Time.IsZero() {
				t.Errorf("record %+v of the answer %d %v", r, w.Code, w.Header())
			}
		})
	}
}

func answering(out any, err error) operation {
	return func(context.Context, *http.Request) (any, error) { return out, err }
}

func TestDecodeBody(t *testing.T) {
	for body, want := range map[string]problem.Reason{
		`{"roles":["a"]}`:                   problem.OK,
		" {\"roles\":[]} \n":                problem.OK,
		``:                                  problem.AdminInvalid,
		`{`:                                 problem.AdminInvalid,
		`{"roles":"a"}`:                     problem.AdminInvalid,
		`{"roles":[],"admin":true}`:         problem.AdminInvalid,
		`{"roles":[]}{}`:                    problem.AdminInvalid,
		`{"roles":[]} x`:                    problem.AdminInvalid,
		`{"roles":["` + long(2<<20) + `"]}`: problem.AdminInvalid,
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Body = http.MaxBytesReader(httptest.NewRecorder(), r.Body, maxAdminBody)
		var in Roles
		if got := problem.ReasonOf(decodeBody(r, &in)); got != want {
			t.Errorf("%.40q: %v, want %v", body, got, want)
		}
	}
}

// long is a text of n bytes.
func long(n int) string { return strings.Repeat("a", n) }

// socketDir is a folder with a path that is short enough for a socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "app")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func overSocket(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
}

// startSocket serves a socket until the returned function is called.
func startSocket(t *testing.T, a *adminSocket, path string) (stop func() error) {
	t.Helper()
	l, err := listenAdmin(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.serve(ctx, l) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

// TestAdminSocketFile: the socket is its owner's alone from whatever umask, takes
// the place of what a crash left, and is gone at the end.
func TestAdminSocketFile(t *testing.T) {
	path := filepath.Join(socketDir(t), "admin.sock")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false) // as kill -9 leaves it
	_ = old.Close()

	l := &ledger{}
	a := newAdminSocket(l, quiet)
	a.handle("GET /op", answering(1, nil))
	stop := startSocket(t, a, path)
	if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket has mode %v (%v), want 0600", info.Mode(), err)
	}
	res, err := overSocket(path).Get("http://admin/op")
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("asked: %v, %v", res, err)
	}
	_ = res.Body.Close()
	if got := l.last().Principal; got != uidText(os.Geteuid()) {
		t.Errorf("recorded as %q, want %q", got, uidText(os.Geteuid()))
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after the end the socket is still there (%v)", err)
	}
}

func TestSocketFits(t *testing.T) {
	exact := filepath.Join(socketDir(t), "s")
	exact += long(maxSocketPath - len(exact))
	if err := socketFits(exact); err != nil {
		t.Errorf("a path of %d bytes: %v", len(exact), err)
	}
	l, err := listenAdmin(t.Context(), exact) // the kernel agrees
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	exact += "x"
	if err := socketFits(exact); err == nil || !strings.Contains(err.Error(), "shorter path") {
		t.Errorf("a path of %d bytes: %v, want an error that says what to do", len(exact), err)
	}
	if l, err := listenAdmin(t.Context(), exact); err == nil {
		_ = l.Close()
		t.Errorf("control: the kernel takes a path of %d bytes", len(exact))
	}
}

func TestAdministers(t *testing.T) {
	for _, c := range []struct {
		peer, own uint32
		want      bool
	}{{0, 1000, true}, {1000, 1000, true}, {0, 0, true}, {1001, 1000, false}, {1000, 0, false}, {nobody, 1000, false}, {nobody, 0, false}} {
		if got := administers(c.peer, c.own); got != c.want {
			t.Errorf("peer %d of a zone of %d: %v, want %v", c.peer, c.own, got, c.want)
		}
	}
}

// TestSlowPeersAreBounded: who opens connections and says nothing takes no place
// for ever, and no more than there are.
func TestSlowPeersAreBounded(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	srv := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }), quiet)
	if srv.ReadHeaderTimeout <= 0 || srv.ReadTimeout <= 0 || srv.WriteTimeout <= 0 || srv.IdleTimeout <= 0 || srv.MaxHeaderBytes <= 0 {
		t.Errorf("a time or size is not bounded: %+v", srv)
	}
	served := make(chan error, 1)
	go func() { served <- serveUntil(ctx, srv, bounded(raw, 2)) }()
	var held []net.Conn
	for range 2 {
		held = append(held, dial(t, raw.Addr()))
	}
	if _, err := dial(t, raw.Addr()).Read(make([]byte, 1)); err == nil {
		t.Error("a third connection was kept")
	}
	_ = held[0].Close()
	for { // its place is free when the server has seen that
		c := dial(t, raw.Addr())
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err == nil {
			if n, _ := c.Read(make([]byte, 15)); n == 15 {
				break
			}
		}
	}
	_ = held[1].Close() // net/http waits five seconds for the first word on a new one
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func dial(t *testing.T, a net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func uidText(uid int) string { return "uid:" + strconv.Itoa(uid) }
