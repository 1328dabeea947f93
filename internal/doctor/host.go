package doctor

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Host is what the checks ask of the machine. ThisHost is the one in use; tests
// put facts in its place. A nil function, like an error, makes what depends on it
// unknown.
type Host struct {
	UID      int
	Now      func() time.Time
	Getenv   func(name string) string
	ReadFile func(path string) ([]byte, error) // of /proc and /sys, a MiB at most
	ReadDir  func(path string) ([]string, error)
	Readlink func(path string) (string, error)

	Kernel    func() (string, error)          // release
	Pidfd     func() error                    // whether the kernel has pidfd
	OpenFiles func() (uint64, error)          // limit of this process
	Clock     func() (KernelClock, error)     // adjtimex(2)
	Disk      func(path string) (Disk, error) // statfs(2)
	Locked    func(path string) (bool, error) // whether another process holds flock(2) of a file
	CPUs      func() int

	DialTime time.Duration // bounds each connection that is tried; 0: 1 s

	Listen  func(ctx context.Context, address string) (io.Closer, error)
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Resolve func(ctx context.Context, name string) ([]netip.Addr, error)
}

// KernelClock is what the kernel knows of its clock.
type KernelClock struct {
	Synchronized bool
	MaxError     time.Duration // the kernel's bound of the error; it grows without a source
}

// Disk is a file system as statfs(2) shows it.
type Disk struct {
	Device   uint64 // of the path: two of one device are one file system
	Type     int64  // magic number
	ReadOnly bool
	Size     uint64 // bytes
	Free     uint64 // bytes, for this user
	Inodes   uint64 // 0: the file system does not count them
	Unused   uint64 // inodes
}

// dialTime is DialTime or its default.
func (h Host) dialTime() time.Duration { return cmp.Or(h.DialTime, time.Second) }

// maxProc bounds a file of /proc or /sys.
const maxProc = 1 << 20

// ThisHost is the machine that this process runs on.
func ThisHost() Host {
	h := Host{
		UID: os.Geteuid(), Now: time.Now, Getenv: os.Getenv, CPUs: runtime.NumCPU, Readlink: os.Readlink,
		ReadFile: readBounded,
		ReadDir: func(path string) ([]string, error) {
			f, err := os.Open(path) // #nosec G304 -- folders of /proc
			if err != nil {
				return nil, err
			}
			defer func() { _ = f.Close() }() // only read
			return f.Readdirnames(1 << 16)
		},
		Listen: func(ctx context.Context, address string) (io.Closer, error) {
			return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		},
		Dial: (&net.Dialer{}).DialContext,
		Resolve: func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		},
	}
	h.system()
	return h
}

func readBounded(path string) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, maxProc))
}

// openRegular opens a file to be read. A FIFO or a device in its place must not
// hold us: not in open(2), nor in a read that nobody ends.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // #nosec G304 -- what is examined
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("no regular file")}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readHead reads the first n bytes of a file that has as many.
func readHead(path string, n int) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	b := make([]byte, n)
	_, err = io.ReadFull(f, b)
	return b, err
}

// nearest is the deepest folder of a path that is there.
func nearest(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return "."
	}
	for {
		_, err := os.Stat(path)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}
