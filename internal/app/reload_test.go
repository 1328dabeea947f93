package app

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/internal/workload"
	"sallyport.dev/zone"
)

// begun is a zone that runs until the test ends, with its insides.
func begun(t *testing.T, z *zone.Zone, o Options) *system {
	t.Helper()
	o.Data = filepath.Join(socketDir(t), "data")
	if o.Log == nil {
		o.Log = quiet
	}
	s, err := build(t.Context(), z, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := s.run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		ended.Wait()
		if err := s.close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	<-s.gateway.Serving()
	return s
}

// withoutInner is a map of which no service has an inner door.
func withoutInner(t *testing.T) *zone.Zone {
	t.Helper()
	z := parsed(t)
	z.Control, z.Services = "", nil
	return z
}

// ports counts the ports that this process has asked for.
var ports atomic.Uint32

// nextPort is one that no other call has got, here or, most likely, in a process beside.
func nextPort() int { return int(20_000 + (uint32(os.Getpid())*97+ports.Add(1))%12_000) } // #nosec G115 -- small

// free is an address of this host that nobody has.
// It lies below the ports that systems give to connections and for port 0, so that
// nobody else is given it meanwhile.
func free(t *testing.T) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(nextPort())))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// TestReloadControl: control is opened by the first map that needs it, stays where
// it is, and no map is taken that has it elsewhere, whatever lies between.
func TestReloadControl(t *testing.T) {
	s := begun(t, withoutInner(t), Options{Run: socketDir(t)})
	here, elsewhere := free(t), free(t)
	for _, step := range []struct {
		name string
		z    *zone.Zone
		says string // in the refusal; empty: it is taken
	}{
		{"the first inner door", parsed(t, "", "", here), ""},
		{"the same", parsed(t, "", "", here), ""},
		{"control elsewhere", parsed(t, "", "", elsewhere), "listeners.control"},
		{"no inner door", withoutInner(t), ""},
		{"one again, with control elsewhere", parsed(t, "", "", elsewhere), "listeners.control"},
		{"one again", parsed(t, "", "", here), ""},
	} {
		before := s.zone()
		err := s.replace(t.Context(), step.z, s.options)
		switch {
		case step.says == "" && (err != nil || s.zone() != step.z):
			t.Fatalf("%s: %v", step.name, err)
		case step.says != "" && (err == nil || !strings.Contains(err.Error(), step.says) || s.zone() != before):
			t.Errorf("%s: %v, want a refusal that says %q", step.name, err, step.says)
		}
	}
	c, err := net.Dial("tcp", here)
	if err != nil {
		t.Fatalf("control: %v", err)
	}
	_ = c.Close()
}

// TestReloadControlTriedAgain: what kept the inner side from opening leaves
// nothing behind, so that the next attempt can succeed.
func TestReloadControlTriedAgain(t *testing.T) {
	run := socketDir(t)
	taken, err := workload.Listen(filepath.Join(run, workloadSocket))
	if err != nil {
		t.Fatal(err)
	}
	s := begun(t, withoutInner(t), Options{Run: run})
	z := parsed(t, "", "", free(t))
	owned := len(s.closers)
	for range 3 {
		if err := s.replace(t.Context(), z, s.options); err == nil || !strings.Contains(err.Error(), "workload") {
			t.Fatalf("the socket is taken: %v", err)
		}
	}
	if len(s.closers) != owned || s.control != nil {
		t.Errorf("attempts that failed left %d things open", len(s.closers)-owned)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.replace(t.Context(), z, s.options); err != nil {
		t.Errorf("the socket is free: %v", err)
	}
}

// TestChangedWhileStarting: a map that changes after it was read, and before
// anybody looks at its files, is read again.
func TestChangedWhileStarting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func() (*zone.Zone, error) {
		z, err := zone.Load(path)
		if err == nil {
			z.Listeners[0].Address, z.Admin, z.Control = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		}
		return z, err
	}
	write(testMap)
	z, err := load()
	if err != nil {
		t.Fatal(err)
	}
	// Options.Ready comes between the two.
	ctx, stop := context.WithCancel(context.Background())
	ready, served := make(chan struct{}), make(chan error, 1)
	data := filepath.Join(socketDir(t), "data")
	go func() {
		served <- Serve(ctx, z, Options{Data: data, Run: filepath.Dir(data), Log: quiet, Map: load, Ready: func() {
			write(strings.Replace(testMap, "GET /products:", "GET /wares:", 1))
			close(ready)
		}})
	}()
	r := &running{t: t, admin: overSocket(filepath.Join(data, "admin.sock"))}
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	}()
	<-ready
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) { // for another process's file there is no event
		if _, body := r.ask("GET", "/v1/status", nil); !strings.Contains(body, z.Revision) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the map from before the change is still in force")
		}
	}
}

// TestLooking: files are read when they have changed and are left alone, and from
// time to time while the map is refused.
func TestLooking(t *testing.T) {
	l := looking{read: "a"}
	for i, c := range []struct {
		now        string
		refused    bool
		due, again bool
	}{
		{"a", false, false, true},
		{"a", false, false, true},
		{"b", false, false, false}, // it may change on
		{"c", false, false, false},
		{"c", false, true, false},
		{"a", true, false, true}, // back, and not yet settled
		{"a", true, false, true}, // what was read before is what is there
	} {
		if due, again := l.look(c.now, c.refused); due != c.due || again != c.again {
			t.Errorf("look %d: due %v, again %v; want %v, %v", i, due, again, c.due, c.again)
		}
	}
	l = looking{read: "bad"}
	for i := 1; i <= tryAgain; i++ {
		if due, again := l.look("bad", true); due != (i == tryAgain) || !again {
			t.Errorf("look %d at a map that was refused: due %v, again %v", i, due, again)
		}
	}
	l = looking{read: "good"}
	for range 3 * tryAgain {
		if due, _ := l.look("good", false); due {
			t.Fatal("a map in force is read again for nothing")
		}
	}
}
