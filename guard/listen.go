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

	"sallyport.dev/internal/svid"
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

// bounded is a listener with at most so many open connections. Who has not shown
// a certificate makes way for others.
type bounded struct{ net.Listener }

func bound(inner net.Listener, most int) net.Listener {
	return bounded{svid.NewCrowd(inner, most, most)} // what one workload may have is Guard.place's to say
}

func (b bounded) Accept() (net.Conn, error) {
	c, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &accepted{Conn: c}, nil
}

// accepted is a connection whose peer must take what is written: an answer may
// last as long as the handler wants, a write may not.
type accepted struct {
	net.Conn

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

// NetConn returns the connection below, for who has to look at it.
func (c *accepted) NetConn() net.Conn { return c.Conn }
