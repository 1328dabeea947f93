//go:build unix

package zone

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestLoadDoesNotWait: to open a pipe waits for its writer, and nobody writes.
func TestLoadDoesNotWait(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[1]*") // a folder is no pattern
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := write("zone.yaml", "zone: shop.example\ninclude: t*.yaml\n")
	write("team.yaml", "services: {a: {upstream: unix:/run/a.sock}}\n")
	if z, err := Load(path); err != nil || len(z.Services) != 1 {
		t.Fatalf("a map that includes a file: %v, %v, want one service", z, err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "tube.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "tube.yaml cannot be read: not a regular file") {
		t.Errorf("a map that includes a pipe: %v, want it refused", err)
	}
	if _, err := Load(filepath.Join(dir, "tube.yaml")); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a pipe as map: %v, want it refused", err)
	}
}
