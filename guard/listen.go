package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// listen opens host:port or unix:/path.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	path, unix := strings.CutPrefix(addr, "unix:")
	if !unix {
		return (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	}
	path = strings.TrimPrefix(path, "//")
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("listen on %q: want unix: and an absolute path", addr)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	// A process that was killed leaves its socket behind.
	if info, stat := os.Lstat(path); stat != nil || info.Mode().Type() != os.ModeSocket {
		return nil, err
	}
	conn, dial := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", path)
	if dial == nil {
		_ = conn.Close()
	}
	if !errors.Is(dial, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return (&net.ListenConfig{}).Listen(ctx, "unix", path)
}

// bounded is a listener with at most so many open connections; more wait in the
// kernel's queue.
type bounded struct {
	net.Listener
	room   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func bound(inner net.Listener, most int) net.Listener {
	return &bounded{Listener: inner, room: make(chan struct{}, most), closed: make(chan struct{})}
}

func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.room <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.room
		return nil, err
	}
	return &accepted{Conn: c, leave: sync.OnceFunc(func() { <-b.room })}, nil
}

func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// accepted is a connection whose peer must take what is written: an answer may
// last as long as the handler wants, a write may not.
type accepted struct {
	net.Conn
	leave func()

	mu    sync.Mutex
	until time.Time // guarded by mu; the deadline that was set from above
}

func (c *accepted) Write(p []byte) (int, error) {
	c.mu.Lock()
	at := time.Now().Add(writeStall)
	if !c.until.IsZero() && c.until.Before(at) {
		at = c.until
	}
	err := c.Conn.SetWriteDeadline(at)
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *accepted) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = t
	return c.Conn.SetWriteDeadline(t)
}

func (c *accepted) SetDeadline(t time.Time) error {
	if err := c.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.SetReadDeadline(t)
}

func (c *accepted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
