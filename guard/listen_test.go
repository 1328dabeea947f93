package guard

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/httpsig"
)

func TestListenAndServe(t *testing.T) {
	w := newWorld(t, innerShop, time.Now)
	path := filepath.Join(t.TempDir(), "orders.sock")
	left, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false) // as a process leaves it that was killed
	_ = left.Close()
	g := w.guard("orders", nil)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- g.ListenAndServe(ctx, "unix:"+path, http.HandlerFunc(told)) }()
	var raw net.Conn
	for raw == nil { // until it listens
		if raw, err = (&net.Dialer{}).DialContext(t.Context(), "unix", path); err != nil {
			raw = nil
			select {
			case err := <-served:
				t.Fatal(err)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	l := w.over(raw, w.ca.Source(t, "gateway", time.Now))
	if got := l.send(bytesOf(t, l.prove(message(t, "GET", "/mac", w.token("u1"), ""), httpsig.MAC))); got != "200" {
		t.Errorf("over a unix socket: %s", got)
	}
	if err := w.guard("orders", nil).ListenAndServe(t.Context(), "unix:"+path, http.NotFoundHandler()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a socket that somebody listens on: %v", err)
	}
	stop()
	if err := <-served; err != nil {
		t.Errorf("ListenAndServe = %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"unix:orders.sock", "unix:" + file, "127.0.0.1:99999", "nowhere"} {
		if err := g.ListenAndServe(t.Context(), bad, http.NotFoundHandler()); err == nil {
			t.Errorf("listens on %q", bad)
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("a file that is no socket: %v", err)
	}
}

// TestWriteStall: a peer that takes nothing is given up, a handler that takes its
// time is not.
func TestWriteStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		c := &accepted{Conn: ours}
		time.Sleep(10 * writeStall)
		go func() { _, _ = io.ReadFull(theirs, make([]byte, 1)) }()
		if _, err := c.Write([]byte("a")); err != nil {
			t.Errorf("a write after a long time: %v", err)
		}
		start := time.Now()
		if _, err := c.Write([]byte("b")); err == nil || time.Since(start) != writeStall {
			t.Errorf("a write that nobody takes: %v after %s", err, time.Since(start))
		}
		if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		start = time.Now()
		if _, err := c.Write([]byte("c")); err == nil || time.Since(start) != time.Second {
			t.Errorf("with a deadline of a second: %v after %s", err, time.Since(start))
		}
		_ = theirs.Close()
	})
}
