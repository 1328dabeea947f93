package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sallyport.dev/guard"
	"sallyport.dev/internal/problem"
)

// TestDoorOpensWithTheIdentity: before, connections are refused, not taken and
// reset; the service can ask all the time.
func TestDoorOpensWithTheIdentity(t *testing.T) {
	identity, listened := make(chan struct{}), make(chan struct{})
	b := prepare(t, serviceOn(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }),
		func(c *Config, d *door) {
			d.wait = func(ctx context.Context) error {
				select {
				case <-identity:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			listen := c.Listen
			c.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
				select {
				case <-identity:
				default:
					t.Error("listened before the identity was there")
				}
				if network != "tcp" || address != "127.0.0.1:9502" {
					t.Errorf("listened on %s %s, want the map's sidecar", network, address)
				}
				close(listened)
				return listen(ctx, network, address)
			}
		})
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- b.sidecar.Run(ctx) }()
	b.awaitSocket()
	res := b.call("GET", "http://sidecar/ready", nil, nil)
	wantReason(t, res, problem.InsideUnavailable)
	if b.sidecar.Ready() {
		t.Error("ready before the door is open")
	}
	close(identity)
	<-listened
	eventually(t, "ready", b.sidecar.Ready)
	if got := read(t, b.call("GET", "http://sidecar/ready", nil, nil)); got != "ready\n" {
		t.Errorf("ready answered %q", got)
	}
	if got := read(t, b.ask("GET", "/open", b.guard.Token("anonymous"), nil)); got != "hello" {
		t.Errorf("got %q through the open door", got)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Errorf("run ended with %v, want nil", err)
	}
	if b.sidecar.Ready() {
		t.Error("ready after the end")
	}
	if _, err := os.Lstat(b.socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestReadyFollowsTheGuard(t *testing.T) {
	b := newBed(t, serviceOn(t, http.NotFound), func(_ *Config, d *door) { d.ready = func() bool { return false } })
	if b.sidecar.Ready() {
		t.Error("ready without the guard")
	}
}

func TestTheServiceEndsItsSidecar(t *testing.T) {
	b := newBed(t, serviceOn(t, http.NotFound))
	for _, c := range []struct {
		method, path string
		want         problem.Reason
	}{
		{"GET", "/quit", problem.RouteMethod},
		{"POST", "/ready", problem.RouteMethod},
		{"POST", "/quit/", problem.RouteUnknown},
		{"GET", "/", problem.RouteUnknown},
	} {
		wantReason(t, b.call(c.method, "http://sidecar"+c.path, nil, nil), c.want)
	}
	select {
	case <-b.ended:
		t.Fatal("ended without a quit")
	default:
	}
	if res := b.call("POST", "http://sidecar/quit", nil, nil); res.StatusCode != 202 {
		t.Errorf("quit got %d, want 202", res.StatusCode)
	}
	<-b.ended
	if b.err != nil {
		t.Errorf("run ended with %v, want nil", b.err)
	}
}

func TestQuitEndsTheWaitForAnIdentity(t *testing.T) {
	b := prepare(t, serviceOn(t, http.NotFound), func(_ *Config, d *door) {
		d.wait = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	})
	ran := make(chan error, 1)
	go func() { ran <- b.sidecar.Run(t.Context()) }()
	b.awaitSocket()
	read(t, b.call("POST", "http://sidecar/quit", nil, nil))
	if err := <-ran; err != nil {
		t.Errorf("run ended with %v, want nil", err)
	}
}

// TestDrainLetsRequestsCall: at the end the open request is served, and the call
// that it needs is made.
func TestDrainLetsRequestsCall(t *testing.T) {
	service, to := newHolding(), newCallees()
	b := newBed(t, serviceOn(t, service.ServeHTTP), to.option)
	open, done := b.open(service, "/mine", b.guard.Token("usr_1"))
	b.end()
	eventually(t, "the door is closed", func() bool { return !b.sidecar.open.Load() })
	if got := read(t, b.call("GET", "http://accounts/accounts/1", http.Header{headerHandle: {open}}, nil)); got != "from accounts" {
		t.Errorf("the call of an open request got %q while draining", got)
	}
	eventually(t, "the listener is closed", func() bool { // by another goroutine than what closes the door
		c, err := net.Dial("tcp", strings.TrimPrefix(b.inner, "http://"))
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	if _, err := b.tryAsk("GET", "/open", b.guard.Token("anonymous"), nil, nil); err == nil {
		t.Error("a new request was taken while draining")
	}
	close(service.release)
	if got := <-done; got != "done<nil>" {
		t.Errorf("the open request got %q", got)
	}
	if err := b.stop(); err != nil {
		t.Errorf("run ended with %v, want nil", err)
	}
}

func TestRunFails(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		set  option
	}{
		{"no identity", func(_ *Config, d *door) { d.wait = func(context.Context) error { return boom } }},
		{"no listener", func(c *Config, _ *door) {
			c.Listen = func(context.Context, string, string) (net.Listener, error) { return nil, boom }
		}},
		{"no service", func(_ *Config, d *door) { d.serve = func(context.Context, net.Listener) error { return boom } }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := prepare(t, serviceOn(t, http.NotFound), c.set)
			if err := b.sidecar.Run(t.Context()); !errors.Is(err, boom) {
				t.Errorf("got %v, want boom", err)
			}
			if _, err := os.Lstat(b.socket); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is still there: %v", err)
			}
			if err := b.sidecar.Run(t.Context()); err == nil {
				t.Error("ran twice")
			}
		})
	}
}

// TestManyAtOnce sends requests of many users, each of which calls while it is
// open, and finds every fact where it belongs and nothing left over.
func TestManyAtOnce(t *testing.T) {
	to := newCallees()
	to.answer = func(r *http.Request) (*http.Response, error) {
		return response(r, 200, nil, strings.NewReader(guard.PrincipalFrom(r.Context()).Subject)), nil
	}
	var calls *http.Client
	b := prepare(t, serviceOn(t, func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), "GET", "http://accounts/accounts/1", nil)
		if err != nil {
			return
		}
		req.Header.Set(headerHandle, r.Header.Get(headerHandle))
		res, err := calls.Do(req)
		if err != nil {
			_, _ = io.WriteString(w, err.Error())
			return
		}
		defer func() { _ = res.Body.Close() }()
		as, _ := io.ReadAll(res.Body)
		_, _ = fmt.Fprintf(w, "%s called as %s", r.Header.Get(headerUser), as)
	}), to.option)
	calls = b.outbound()
	b.start()
	var all sync.WaitGroup
	for i := range 16 {
		user := fmt.Sprintf("usr_%d", i)
		token := b.guard.Token(user)
		all.Go(func() {
			for range 8 {
				res, err := b.tryAsk("GET", "/mine", token, nil, nil)
				if err != nil {
					t.Error(err)
					return
				}
				body, _ := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if want := user + " called as " + user; string(body) != want {
					t.Errorf("got %q, want %q", body, want)
				}
			}
		})
	}
	all.Wait()
	eventually(t, "all handles are withdrawn", func() bool { return b.sidecar.handles.len() == 0 })
	calls.CloseIdleConnections()
	if err := b.stop(); err != nil {
		t.Errorf("run ended with %v", err)
	}
}

// stacks are the goroutines of the process.
func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// TestNothingIsLeftOver: the service hangs for ever and the client goes away. The
// exchange ends all the same, and with the run all that it started.
func TestNothingIsLeftOver(t *testing.T) {
	entered, stall := make(chan struct{}), make(chan struct{})
	b := newBed(t, serviceOn(t, func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-stall
	}))
	defer close(stall)
	client, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(client, "GET", b.inner+"/open", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Txn-Token", b.guard.Token("anonymous"))
	go func() {
		<-entered
		leave()
	}()
	if _, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req); err == nil {
		t.Error("the client left and got an answer")
	}
	eventually(t, "the handle is withdrawn", func() bool { return b.sidecar.handles.len() == 0 })
	if err := b.stop(); err != nil {
		t.Errorf("run ended with %v", err)
	}
	eventually(t, "no goroutine is left", func() bool {
		s := stacks()
		return !strings.Contains(s, "sidecar.(*Sidecar)") && !strings.Contains(s, "sidecar.(*inbound)") &&
			!strings.Contains(s, "sidecar.(*calls)") && !strings.Contains(s, "net/http.(*persistConn)")
	})
}

func TestOutboundSocket(t *testing.T) {
	folder := func(mode os.FileMode) string {
		dir := filepath.Join(shortDir(t), "d")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	stale := filepath.Join(folder(0o700), "s")
	if l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"}); err != nil {
		t.Fatal(err)
	} else {
		l.SetUnlinkOnClose(false)
		_ = l.Close()
	}
	living := filepath.Join(folder(0o700), "s")
	l, err := net.Listen("unix", living)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	file := filepath.Join(folder(0o700), "s")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(folder(0o700), "s")
	if err := os.Symlink(stale, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path, want string // want: in the error; empty: it listens
	}{
		{"new", filepath.Join(folder(0o755), "s"), ""},
		{"new folder", filepath.Join(folder(0o700), "x", "s"), ""},
		{"left over", stale, ""},
		{"living", living, "another process"},
		{"a file", file, "no socket"},
		{"a link", link, "no socket"},
		{"others can write", filepath.Join(folder(0o777), "s"), "other users"},
		{"others can write, sticky", filepath.Join(folder(0o777|os.ModeSticky), "s"), "other users"},
		{"too long", filepath.Join(folder(0o700), strings.Repeat("x", 108)), "shorter path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := listenOutbound(t.Context(), "unix", c.path, 1)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			if info, err := os.Lstat(c.path); err != nil || info.Mode() != os.ModeSocket|0o600 {
				t.Errorf("got %v, %v, want a socket of mode 0600", info, err)
			}
		})
	}
}

func TestConnectionsOfCallsAreBounded(t *testing.T) {
	l, err := listenOutbound(t.Context(), "unix", filepath.Join(shortDir(t), "s"), 1)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn)
	ended := make(chan error)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- c
		}
	}()
	for range 2 {
		c, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	first := <-accepted
	select {
	case <-accepted:
		t.Error("a second connection was taken beside the first")
	default:
	}
	if got := len(l.(*bounded).places); got != 1 {
		t.Errorf("%d places are taken, want 1", got)
	}
	_ = first.Close()
	_ = first.Close() // gives its place back once
	second := <-accepted
	_ = l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept ended with %v", err)
	}
	_ = second.Close()
}

// TestOutboundOverTCP: whoever asks there is unknown, so the sidecar itself is
// not there.
func TestOutboundOverTCP(t *testing.T) {
	to := newCallees()
	to.answer = func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == ownHost {
			return nil, &guard.CallError{Err: guard.ErrUndeclared}
		}
		return response(r, 200, nil, strings.NewReader("from "+r.URL.Host)), nil
	}
	var b *bed
	var address string
	for tries := 0; ; tries++ {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address = free.Addr().String()
		_ = free.Close()
		b = prepare(t, serviceOn(t, http.NotFound), to.option, func(c *Config, _ *door) { c.Socket = address })
		err = b.tryStart()
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EADDRINUSE) || tries == 20 { // else another process was given the port meanwhile
			t.Fatalf("run ended: %v", err)
		}
	}
	call := func(method, host, path string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	wantReason(t, call("POST", "sidecar", "/quit"), problem.InsideCall)
	wantReason(t, call("GET", address, "/"), problem.RequestHost)
	if got := read(t, call("POST", "ledger", "/entries")); got != "from ledger" {
		t.Errorf("positive control: got %q", got)
	}
	select {
	case <-b.ended:
		t.Error("a stranger ended the sidecar")
	default:
	}
}
