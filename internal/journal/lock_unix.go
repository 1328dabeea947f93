//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockFolder makes this process the only writer of a folder until the returned
// file is closed: flock(2), so the lock ends with the process, however it ends.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600) // #nosec G304 -- a name of ours in the operator's folder
	if err != nil {
		return nil, fmt.Errorf("journal: lock: %w", err)
	}
	// A reader that asks hasWriter holds the lock for an instant: try a few times.
	for range 10 {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		_ = f.Close() // nothing was written
		return nil, fmt.Errorf("journal: %s has another writer", dir)
	case err != nil:
		_ = f.Close() // likewise
		return nil, fmt.Errorf("journal: lock %s: %w", dir, err)
	}
	return f, nil
}

// hasWriter says whether a process holds the lock of a folder.
func hasWriter(dir string) bool {
	f, err := readOnly(dir, lockFile)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // read only; ends the probe's lock too
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
