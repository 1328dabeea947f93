package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// maxSocketPath is the longest path of a unix socket: sun_path less its NUL.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// listenOutbound opens the listener for the service's calls, of at most so many
// connections. A socket is this uid's alone from its first moment.
func listenOutbound(ctx context.Context, network, address string, most int) (net.Listener, error) {
	if network != "unix" {
		l, err := (&net.ListenConfig{}).Listen(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return newBounded(l, most), nil
	}
	if len(address) > maxSocketPath {
		return nil, fmt.Errorf("the path %s has %d bytes, a unix socket takes at most %d: choose a folder with a shorter path", address, len(address), maxSocketPath)
	}
	unlock, err := lockFolder(filepath.Dir(address))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(address); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{Control: private}).Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(address, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return newBounded(l, most), nil
}

// private gives the socket its mode before it has a name (net.ListenConfig): on
// Linux the file takes it over, elsewhere the chmod after does what it can.
func private(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) }) // #nosec G115 -- a file descriptor is small
}

// lockFolder makes the folder and holds it, so that of two that start at once
// neither removes the other's socket. A folder in which others can put a socket
// of theirs is refused: the service would send its handles to a stranger.
func lockFolder(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Open(dir) // #nosec G304 -- the folder that the operator names
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	uid := os.Geteuid()
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || stat.Uid != 0 && int64(stat.Uid) != int64(uid):
		err = fmt.Errorf("the folder %s belongs neither to root nor to uid %d, which this process runs as: choose another", dir, uid)
	case info.Mode().Perm()&0o022 != 0:
		err = fmt.Errorf("the folder %s can be written by other users (mode %04o), who could put a socket of theirs there: chmod 700, or choose another", dir, info.Mode().Perm())
	default:
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX) // #nosec G115 -- likewise; held for milliseconds
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
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
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s may be served by another process: %w", path, err)
	}
	return os.Remove(path)
}

// bounded is a listener with so many connections at a time; the next ones wait in
// the kernel's queue.
type bounded struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	close  sync.Once
}

func newBounded(l net.Listener, most int) net.Listener {
	return &bounded{Listener: l, places: make(chan struct{}, most), closed: make(chan struct{})}
}

func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.places <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.places
		return nil, err
	}
	return &placed{Conn: c, leave: sync.OnceFunc(func() { <-b.places })}, nil
}

func (b *bounded) Close() error {
	b.close.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// placed is a connection with a place.
type placed struct {
	net.Conn
	leave func()
}

func (p *placed) Close() error {
	err := p.Conn.Close()
	p.leave()
	return err
}
