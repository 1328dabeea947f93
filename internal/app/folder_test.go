package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFolderModes(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(dir string) error
		want string // in the error; empty: none
	}{
		{"not there", func(string) error { return nil }, ""},
		{"0700", func(dir string) error { return os.Mkdir(dir, 0o700) }, ""},
		{"readable by the group", func(dir string) error { return mkdir(dir, 0o740) }, "chmod 700"},
		{"searchable by all", func(dir string) error { return mkdir(dir, 0o701) }, "chmod 700"},
		{"a file", func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "not a directory"},
		{"a link to a folder", func(dir string) error {
			if err := os.Mkdir(dir+".real", 0o700); err != nil {
				return err
			}
			return os.Symlink(dir+".real", dir)
		}, ""},
		{"a link to an open folder", func(dir string) error {
			if err := mkdir(dir+".real", 0o755); err != nil {
				return err
			}
			return os.Symlink(dir+".real", dir)
		}, "chmod 700"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := c.make(dir); err != nil {
				t.Fatal(err)
			}
			f, err := openFolder(dir)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
					t.Errorf("error %v, want %q and the folder", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for path, want := range map[string]os.FileMode{dir: 0o700, f.path("lock"): 0o600} {
				if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
					t.Errorf("%s: mode %v (%v), want %v", path, info.Mode().Perm(), err, want)
				}
			}
		})
	}
}

// mkdir makes a folder of a mode, whatever the umask.
func mkdir(dir string, mode os.FileMode) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, mode)
}

// TestFolderOfAnother: who owns the folder owns what is in it.
func TestFolderOfAnother(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := ownFolder(dir, info, os.Geteuid()); err != nil {
		t.Errorf("my own: %v", err)
	}
	if err := ownFolder(dir, info, os.Geteuid()+1); err == nil || !strings.Contains(err.Error(), "chown") {
		t.Errorf("another's: %v, want an error that says chown", err)
	}
}

func TestFolderIsLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openFolder(dir); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second opening: %v, want that it is in use", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := openFolder(dir)
	if err != nil {
		t.Fatalf("after the first has closed it: %v", err)
	}
	_ = again.Close()
}
