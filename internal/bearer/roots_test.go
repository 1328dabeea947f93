package bearer

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A reload does not wait for whoever may write into a pipe.
func TestRootsOfAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readRoots(path); err == nil || !strings.Contains(err.Error(), "read ca") {
		t.Errorf("roots of a pipe: %v, want an error", err)
	}
}
