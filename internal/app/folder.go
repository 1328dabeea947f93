package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// folder is the data folder of a zone: 0700, locked against a second process.
type folder struct {
	dir  string
	lock *os.File
}

// openFolder makes the folder when it is missing, refuses one that others own
// or can read, or that has no room for the admin socket's path, and locks it
// until Close.
func openFolder(dir string) (*folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := socketFits(filepath.Join(dir, adminListener)); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := ownFolder(dir, info, os.Geteuid()); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600) // #nosec G304 -- the operator names the data folder
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { // #nosec G115 -- a file descriptor is small
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data folder %s is in use by another process", dir)
		}
		return nil, fmt.Errorf("data folder: lock: %w", err)
	}
	return &folder{dir: dir, lock: lock}, nil
}

// ownFolder refuses a folder that others than the uid own, or can look into.
func ownFolder(dir string, info fs.FileInfo, uid int) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return fmt.Errorf("data folder %s: its owner cannot be told on this system", dir)
	case int64(stat.Uid) != int64(uid):
		return fmt.Errorf("data folder %s belongs to uid %d, this process is uid %d: run as its owner, or make it your own (chown)", dir, stat.Uid, uid)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("data folder %s is open to others (mode %04o): chmod 700 it, or name one of its own with --data", dir, info.Mode().Perm())
	}
	return nil
}

// path returns the path of a file in the folder.
func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

// Close gives the lock back.
func (f *folder) Close() error { return f.lock.Close() }
