package mailtest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Between is somebody on the way to a server, who reads and changes what it says
// until TLS stands.
type Between struct {
	server   *Server
	listener net.Listener
	change   func(said string) string

	mu    sync.Mutex
	heard []byte // of the client, in clear or not; guarded by mu
	conns []net.Conn
}

// Intercept puts somebody on the way to a server. change is given what the server
// writes at once, and says what the client gets.
func Intercept(t testing.TB, s *Server, change func(said string) string) *Between {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("mailtest: %v", err)
	}
	b := &Between{server: s, listener: listener, change: change}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { b.relay(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		b.mu.Lock()
		for _, c := range b.conns {
			_ = c.Close()
		}
		b.mu.Unlock()
		all.Wait()
	})
	return b
}

// URL is the server's, over whoever is between.
func (b *Between) URL() string { return b.server.at(b.listener.Addr().String()) }

// Heard is all that clients said.
func (b *Between) Heard() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.heard)
}

func (b *Between) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", b.server.address)
	if err != nil {
		return
	}
	defer server.Close()
	b.mu.Lock()
	b.conns = append(b.conns, client, server)
	b.mu.Unlock()
	var up sync.WaitGroup
	up.Go(func() {
		defer server.Close()
		_, _ = io.Copy(server, io.TeeReader(client, b))
	})
	buf := make([]byte, 32<<10)
	for {
		n, err := server.Read(buf)
		if _, werr := io.WriteString(client, b.change(string(buf[:n]))); err != nil || werr != nil {
			break
		}
	}
	_ = client.Close()
	up.Wait()
}

// Write notes what a client said.
func (b *Between) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = append(b.heard, p...)
	return len(p), nil
}
