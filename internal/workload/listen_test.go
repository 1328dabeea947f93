package workload

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runFolder returns a folder that other users can reach and not write.
func runFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
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
	dir := filepath.Join(runFolder(t), "run")
	path := filepath.Join(dir, "w.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := modeOf(t, path); got != fs.ModeSocket|0o666 {
		t.Errorf("the socket has mode %v, want 0666", got)
	}
	want := fs.ModeDir | 0o700
	if os.Geteuid() == 0 {
		want = fs.ModeDir | 0o755
	}
	if got := modeOf(t, dir); got != want {
		t.Errorf("the folder has mode %v, want %v", got, want)
	}

	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "served by another") {
		t.Errorf("beside a living socket: %v, want a refusal", err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the refused one has broken the living socket: %v", err)
	} else {
		_ = c.Close()
	}

	l.SetUnlinkOnClose(false) // as if it were killed
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := modeOf(t, path).Type(); got != fs.ModeSocket {
		t.Fatalf("positive control: no stale socket but %v", got)
	}
	l, err = Listen(path)
	if err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after the end the socket is there: %v", err)
	}
}

func TestListenRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, path string)
		want    string
	}{
		{"a file", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "no socket"},
		{"a link", func(t *testing.T, path string) {
			if err := os.Symlink("/nowhere", path); err != nil {
				t.Fatal(err)
			}
		}, "no socket"},
		{"a folder for all", func(t *testing.T, path string) {
			if err := os.Chmod(filepath.Dir(path), fs.ModeSticky|0o777); err != nil {
				t.Fatal(err)
			}
		}, "mode 1777"},
		{"a folder for the group", func(t *testing.T, path string) {
			if err := os.Chmod(filepath.Dir(path), 0o770); err != nil {
				t.Fatal(err)
			}
		}, "mode 0770"},
		{"a folder of another", func(t *testing.T, path string) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a folder away")
			}
			if err := os.Chown(filepath.Dir(path), 65534, -1); err != nil {
				t.Fatal(err)
			}
		}, "belongs to uid 65534"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(runFolder(t), "w.sock")
			c.prepare(t, path)
			l, err := Listen(path)
			if err == nil {
				_ = l.Close()
			}
			if !strings.Contains(errText(err), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if _, err := Listen("/tmp/" + strings.Repeat("a", 120)); !strings.Contains(errText(err), "takes at most") {
		t.Errorf("a long path: %v, want its length", err)
	}
}
