package keys

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxRootFile bounds the root file in bytes; a keyset of one key has about 300.
const maxRootFile = 64 << 10

// readRootFile returns the content of a root file that is its owner's alone.
// The checks are made on the open file, so that nothing can be exchanged between
// the check and the reading.
func readRootFile(path string) (_ []byte, err error) {
	// O_NONBLOCK: opening a FIFO put in its place must not wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // #nosec G304 -- the operator names it
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("keys: root key %s is a symbolic link: name the file itself", path)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: root key: %w", err)
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("keys: root key: %w", err)
	}
	if err := private(path, info, os.Geteuid()); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, maxRootFile+1))
	if err != nil {
		return nil, fmt.Errorf("keys: root key: %w", err)
	}
	if len(content) > maxRootFile {
		return nil, fmt.Errorf("keys: root key %s is larger than %d bytes: this is no root key", path, maxRootFile)
	}
	return content, nil
}

// private refuses what others than the uid can read, own or feed.
func private(path string, info fs.FileInfo, uid int) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("keys: root key %s is not a regular file", path)
	case !ok:
		return fmt.Errorf("keys: root key %s: its owner cannot be told on this system", path)
	case int64(stat.Uid) != int64(uid):
		return fmt.Errorf("keys: root key %s belongs to uid %d, this process is uid %d: make the file its own (chown), or run as its owner", path, stat.Uid, uid)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("keys: root key %s is open to other users (mode %04o): if nobody read it, chmod 600; else make a new zone", path, info.Mode().Perm())
	}
	return nil
}

// writeRootFile makes the file with its whole content, durable, or not at all.
// A file that is there already stays and is fs.ErrExist.
func writeRootFile(path string, content []byte) (err error) {
	var random [8]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never fails (Go 1.24)
	draft := path + ".new-" + hex.EncodeToString(random[:])
	f, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600) // #nosec G304 -- beside the file that the operator names
	if err != nil {
		return fmt.Errorf("keys: make root key: %w", err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Link(draft, path) // unlike a rename, it never takes the place of another file
	}
	if rerr := os.Remove(draft); err == nil {
		err = rerr
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("keys: make root key %s: %w", path, err)
	}
	return nil
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	d, err := os.Open(path) // #nosec G304 -- the folder of the root key
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
