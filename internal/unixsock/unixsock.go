// Package unixsock makes the unix sockets of Sallyport, in folders where nobody
// else can put one.
//
// It promises that a socket has its mode from its first moment where the system
// can do so (Linux), that a socket which a process left behind does not stand in
// the way, and that of two that start at once neither removes the other's. It
// refuses a folder that belongs to, or can be written by, other users: who
// connects would talk to a stranger.
package unixsock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// maxPath is the longest path of a unix socket: sun_path less its NUL.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// Listen makes a socket of the mode. The folder is made with folderMode when it is
// not there. A socket that nobody serves any more is removed; a living one is
// another process's, and is refused. The file path.lock is left behind.
func Listen(ctx context.Context, path string, mode, folderMode fs.FileMode) (*net.UnixListener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path %s has %d bytes, a unix socket takes at most %d: choose a folder with a shorter path", path, len(path), maxPath)
	}
	if err := makeFolder(filepath.Dir(path), folderMode); err != nil {
		return nil, err
	}
	unlock, err := lock(path + ".lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	// On Linux the file takes the mode of the socket over, less the umask; elsewhere,
	// and where the umask takes away too much, the chmod after does what it can.
	early := func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), uint32(mode)) }) // #nosec G115 -- a file descriptor is small
	}
	l, err := (&net.ListenConfig{Control: early}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l.(*net.UnixListener), nil // what the network is called
}

// makeFolder makes the folder, or sees that nobody else can put anything into the
// one that is there.
func makeFolder(dir string, mode fs.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch uid := os.Geteuid(); {
	case !ok:
		return fmt.Errorf("nobody can say whose the folder %s is: choose another", dir)
	case stat.Uid != 0 && int64(stat.Uid) != int64(uid):
		return fmt.Errorf("the folder %s belongs to uid %d, neither to root nor to uid %d, which this process runs as: choose another", dir, stat.Uid, uid)
	case stat.Mode&0o022 != 0:
		return fmt.Errorf("the folder %s can be written by other users (mode %04o), who could put a socket of theirs there: chmod 700, or choose another", dir, stat.Mode&0o7777)
	}
	return nil
}

// lock waits for the file and holds it. It is a file that nobody else can open,
// and not the folder itself: who can read that could lock it for ever. It stays
// behind, since to remove it is to have two of it.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600) // #nosec G304 -- beside the socket that the operator names
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil { // #nosec G115 -- likewise; held for milliseconds
		return nil, errors.Join(os.NewSyscallError("lock "+path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// removeStale removes a socket on which nobody listens. Anything else is an error.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and no socket", path)
	}
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("%s is served by another process", path), c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s may be served by another process: %w", path, err)
	}
	return os.Remove(path)
}
