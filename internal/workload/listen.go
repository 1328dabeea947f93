package workload

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is the longest path of a unix socket: sun_path less its NUL.
const maxSocketPath = len(unix.RawSockaddrUnix{}.Path) - 1

// Listen makes the socket, with mode 0666: any process may ask, the kernel says
// which it is. The folder is made if it is not there: 0755 for root, so that
// other users reach the socket, else 0700. A folder in which others could put
// a socket of theirs is refused, or the zone's processes would take their
// identities, and their roots, from a stranger. A socket that nobody serves any
// more is removed; a living one is another zone's, and is refused.
func Listen(path string) (*net.UnixListener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("workload api: the path %s has %d bytes, a unix socket takes at most %d: choose a run folder with a shorter path", path, len(path), maxSocketPath)
	}
	unlock, err := lockFolder(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("workload api: %w", err)
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("workload api: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("workload api: %w", err)
	}
	err = os.Chmod(path, 0o666) // #nosec G302 -- see above
	if err != nil {
		return nil, errors.Join(fmt.Errorf("workload api: %w", err), l.Close())
	}
	return l, nil
}

// lockFolder makes the folder and holds it, so that of two that start at once
// neither removes the other's socket.
func lockFolder(dir string) (unlock func(), err error) {
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o755
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return nil, err
	}
	f, err := os.Open(dir) // #nosec G304 -- the operator's run folder
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil { // #nosec G115 -- a file descriptor is small
		return nil, errors.Join(os.NewSyscallError("stat run folder", err), f.Close())
	}
	if st.Uid != 0 && st.Uid != uint32(os.Geteuid()) { // #nosec G115 -- uids fit
		return nil, errors.Join(fmt.Errorf("the run folder %s belongs to uid %d, who could put another socket in its place", dir, st.Uid), f.Close())
	}
	if st.Mode&0o022 != 0 {
		return nil, errors.Join(fmt.Errorf("the run folder %s has mode %04o: others could put another socket in its place; take their right to write away", dir, st.Mode&0o7777), f.Close())
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil { // #nosec G115 -- likewise; it is held for milliseconds
		return nil, errors.Join(os.NewSyscallError("lock run folder", err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// removeStale removes a socket on which nobody listens. Anything else is an error.
func removeStale(path string) error {
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
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return errors.Join(fmt.Errorf("%s is served by another process", path), c.Close())
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%s may be served by another process: %w", path, err)
	}
	return os.Remove(path)
}
