//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package journal

import (
	"errors"
	"os"
)

// lockFolder refuses: without a lock two writers could share a folder.
func lockFolder(string) (*os.File, error) {
	return nil, errors.New("journal: this system has no flock(2), so no single writer can be promised")
}

func hasWriter(string) bool { return false }
