package svid

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"sallyport.dev/internal/problem"
)

// acceptTimeout bounds the handshake of a connection that others open.
const acceptTimeout = 5 * time.Second

// listener makes the handshakes, each in a goroutine of its own, and hands out
// connections whose handshake is over. TLS judges a certificate before the proof
// of its key: who a connection is of, and with it whose places it takes, is known
// after the handshake and no sooner. One that failed is handed out too: its server
// says so where it says such things, and closes it.
type listener struct {
	net.Listener
	conns *Conns
	cfg   *tls.Config

	begin  sync.Once
	ready  chan net.Conn
	failed chan error         // what the listener below says, each once
	life   context.Context    //nolint:containedctx // the listener's own, ended by Close
	end    context.CancelFunc // of life
}

func newListener(inner net.Listener, conns *Conns, cfg *tls.Config) *listener {
	l := &listener{Listener: inner, conns: conns, cfg: cfg, ready: make(chan net.Conn), failed: make(chan error)}
	l.life, l.end = context.WithCancel(context.Background())
	return l
}

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	l.begin.Do(func() { go l.run() })
	select {
	case c := <-l.ready:
		return c, nil
	case err := <-l.failed:
		return nil, err
	case <-l.life.Done():
		return nil, net.ErrClosed
	}
}

// Close ends the listener and the handshakes under way.
func (l *listener) Close() error {
	l.end()
	return l.Listener.Close()
}

// run takes connections until the listener is closed. Whoever accepts sees each
// error, and is waited for: what is temporary is his to judge.
func (l *listener) run() {
	for {
		raw, err := l.Listener.Accept()
		var b *conn
		if err == nil {
			b, err = l.conns.add(raw)
		}
		if err == nil {
			go l.shake(b)
			continue
		}
		select {
		case l.failed <- err:
		case <-l.life.Done():
			return
		}
		if errors.Is(err, net.ErrClosed) { // from below: no Close needs to follow
			l.end()
			return
		}
	}
}

// shake makes the handshake of a connection and hands it out.
func (l *listener) shake(b *conn) {
	t := tls.Server(b, b.watch(l.cfg))
	ctx, cancel := context.WithTimeout(l.life, cmp.Or(l.conns.Patience, acceptTimeout))
	err := t.HandshakeContext(ctx)
	cancel()
	if err == nil {
		if err := l.conns.welcome(b); err != nil {
			_ = b.Close() // nothing was said on it
			return
		}
	}
	select {
	case l.ready <- t:
	case <-l.life.Done():
		_ = b.Close()
	}
}

var errCrowded = errors.New("svid: it is crowded, and the workload has its share of connections")

// welcome takes a connection in whose peer has proved who it is.
func (c *Conns) welcome(b *conn) error {
	peer := b.peer.Load()
	if peer == nil { // nobody, where ControlTLS takes such
		return nil
	}
	c.admitting.Lock()
	defer c.admitting.Unlock()
	b.verified.Store(true)
	if c.Admit != nil {
		if err := c.Admit(*peer); err != nil {
			return err
		}
	}
	if g := guestUnder(b.Conn); g != nil && !g.name(peer.ID.String()) {
		return problem.New(problem.InsidePeer, errCrowded)
	}
	return nil
}
