package workload

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// door accepts connections, and knows of each the process that opened it. What
// has no place is closed: nothing was said on it.
type door struct {
	*net.UnixListener
	log       *slog.Logger
	all       counts[struct{}]
	ofUser    counts[uint32]
	ofProcess counts[int]
	watchers  sync.WaitGroup // one a connection, until it is closed

	mu   sync.Mutex
	open map[*caller]bool // guarded by mu
}

func newDoor(l *net.UnixListener, limits Limits, log *slog.Logger) *door {
	return &door{
		UnixListener: l, log: log,
		all:       counts[struct{}]{most: limits.Connections},
		ofUser:    counts[uint32]{most: max(1, limits.Connections/2)},
		ofProcess: counts[int]{most: limits.ConnectionsPerProcess},
		open:      make(map[*caller]bool),
	}
}

// Accept returns the next connection of a process that is known and has a place.
func (d *door) Accept() (net.Conn, error) {
	for {
		raw, err := d.AcceptUnix()
		if err != nil {
			return nil, err
		}
		p, err := identify(raw)
		if err != nil {
			d.log.Debug("workload api: connection of nobody", "error", err)
			_ = raw.Close()
			continue
		}
		leave, ok := d.enter(p)
		if !ok {
			d.log.Debug("workload api: no place for a connection", "pid", p.pid, "uid", p.uid)
			p.close()
			_ = raw.Close()
			continue
		}
		c := &caller{UnixConn: raw, process: p}
		c.leave = func() { leave(); d.forget(c) }
		d.mu.Lock()
		d.open[c] = true
		d.mu.Unlock()
		d.watchers.Go(func() {
			p.wait()      // it ended, or the connection was closed
			_ = c.Close() // a child may still hold the other end: the connection was not its
		})
		return c, nil
	}
}

func (d *door) forget(c *caller) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, c)
}

// closeAll closes what is open, also connections on which nothing was said yet,
// for which gRPC would wait.
func (d *door) closeAll() {
	d.mu.Lock()
	all := slices.Collect(maps.Keys(d.open))
	d.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// enter takes the places of a connection.
func (d *door) enter(p *process) (leave func(), ok bool) {
	if !d.all.enter(struct{}{}) {
		return nil, false
	}
	if !d.ofUser.enter(p.uid) {
		d.all.leave(struct{}{})
		return nil, false
	}
	if !d.ofProcess.enter(p.pid) {
		d.all.leave(struct{}{})
		d.ofUser.leave(p.uid)
		return nil, false
	}
	return func() {
		d.all.leave(struct{}{})
		d.ofUser.leave(p.uid)
		d.ofProcess.leave(p.pid)
	}, true
}

// caller is a connection with the process that opened it.
type caller struct {
	*net.UnixConn
	process *process
	once    sync.Once
	leave   func()
}

// Close closes the connection and lets go of the process, once.
func (c *caller) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		c.leave()
		c.process.close()
		err = c.UnixConn.Close()
	})
	return err
}

// kernelCredentials are gRPC transport credentials without any handshake: the
// kernel has said who is there, and the socket leads nowhere else.
type kernelCredentials struct{}

// ServerHandshake hands the caller to the handlers of its requests.
func (kernelCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, ok := raw.(*caller)
	if !ok {
		return nil, nil, errors.New("a connection that did not come through the door")
	}
	return c, authInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, caller: c}, nil
}

// ClientHandshake is never right: these are a server's credentials.
func (kernelCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("credentials of a server")
}

// Info describes the credentials.
func (kernelCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "kernel"}
}

// Clone returns the credentials, which hold nothing.
func (k kernelCredentials) Clone() credentials.TransportCredentials { return k }

// OverrideServerName does nothing; the interface asks for it.
func (kernelCredentials) OverrideServerName(string) error { return nil }

// authInfo carries the caller to the handlers.
type authInfo struct {
	credentials.CommonAuthInfo
	caller *caller
}

// AuthType names the way of authentication.
func (authInfo) AuthType() string { return "kernel" }

// callerOf returns who sent a request.
func callerOf(ctx context.Context) (*caller, error) {
	if p, ok := peer.FromContext(ctx); ok {
		if a, ok := p.AuthInfo.(authInfo); ok {
			return a.caller, nil
		}
	}
	return nil, status.Error(codes.PermissionDenied, "the kernel does not say who asks")
}
