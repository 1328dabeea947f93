package unixsock

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "us") // a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func TestListen(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o666} {
		dir := filepath.Join(folder(t), "run")
		path := filepath.Join(dir, "s")
		l, err := Listen(t.Context(), path, mode, 0o700)
		if err != nil {
			t.Fatal(err)
		}
		if got := modeOf(t, path); got != fs.ModeSocket|mode {
			t.Errorf("the socket has mode %v, want %v", got, mode)
		}
		if got := modeOf(t, dir); got != fs.ModeDir|0o700 {
			t.Errorf("the folder has mode %v, want 0700", got)
		}
		if _, err := Listen(t.Context(), path, mode, 0o700); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("beside a living socket: %v, want a refusal", err)
		}
		if c, err := net.Dial("unix", path); err != nil {
			t.Errorf("the refused one has broken the living socket: %v", err)
		} else {
			_ = c.Close()
		}
		l.SetUnlinkOnClose(false) // as if it were killed
		_ = l.Close()
		if modeOf(t, path).Type() != fs.ModeSocket {
			t.Fatal("positive control: no socket was left behind")
		}
		if l, err = Listen(t.Context(), path, mode, 0o700); err != nil {
			t.Fatalf("over a stale socket: %v", err)
		}
		_ = l.Close()
	}
}

// TestNobodyHoldsItUp: whoever can read a folder can lock it, and must not keep a
// socket from being made in it by that.
func TestNobodyHoldsItUp(t *testing.T) {
	dir := folder(t)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	made := make(chan error, 1)
	go func() {
		l, err := Listen(t.Context(), filepath.Join(dir, "s"), 0o600, 0o700)
		if err == nil {
			err = l.Close()
		}
		made <- err
	}()
	select {
	case err := <-made:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("somebody's lock on the folder holds it up")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "s.lock" {
		t.Errorf("left are %v, %v; want the lock alone", left, err)
	}
	if got := modeOf(t, filepath.Join(dir, "s.lock")); got != 0o600 {
		t.Errorf("the lock has mode %v, want 0600", got)
	}
}

// TestTwoAtOnce: of any number that start over a stale socket, one serves.
func TestTwoAtOnce(t *testing.T) {
	path := filepath.Join(folder(t), "s")
	for range 20 {
		stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		stale.SetUnlinkOnClose(false)
		_ = stale.Close()
		var all sync.WaitGroup
		made := make([]*net.UnixListener, 4)
		for i := range made {
			all.Go(func() { made[i], _ = Listen(t.Context(), path, 0o600, 0o700) })
		}
		all.Wait()
		made = slices.DeleteFunc(made, func(l *net.UnixListener) bool { return l == nil })
		if len(made) != 1 {
			t.Fatalf("%d serve the socket, want 1", len(made))
		}
		if err := made[0].Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestListenRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(path string) error
		want    string
	}{
		{"a file", func(path string) error { return os.WriteFile(path, nil, 0o600) }, "no socket"},
		{"a link", func(path string) error { return os.Symlink("/nowhere", path) }, "no socket"},
		{"a folder of all", func(path string) error { return os.Chmod(filepath.Dir(path), 0o777) }, "other users"},
		{"a sticky folder", func(path string) error { return os.Chmod(filepath.Dir(path), fs.ModeSticky|0o777) }, "mode 1777"},
		{"a folder of the group", func(path string) error { return os.Chmod(filepath.Dir(path), 0o770) }, "other users"},
	} {
		path := filepath.Join(folder(t), "s")
		if err := c.prepare(path); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(t.Context(), path, 0o600, 0o700); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := Listen(t.Context(), "/tmp/"+strings.Repeat("a", 120), 0o600, 0o700); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a long path: %v, want its length", err)
	}
}
