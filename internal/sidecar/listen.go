package sidecar

import (
	"context"
	"net"
	"sync"

	"sallyport.dev/internal/unixsock"
)

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
	l, err := unixsock.Listen(ctx, address, 0o600, 0o700) // else the service would send its handles to a stranger
	if err != nil {
		return nil, err
	}
	return newBounded(l, most), nil
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

// CloseWrite ends the one direction of a tunnel.
func (p *placed) CloseWrite() error { return closeWrite(p.Conn) }

func (p *placed) Close() error {
	err := p.Conn.Close()
	p.leave()
	return err
}
