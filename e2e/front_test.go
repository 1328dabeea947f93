package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// front stands where a test believes a listener to be, and gives each connection
// to the next of the processes behind it, in turn. It passes bytes and ends, and
// looks at nothing: TLS ends in the process.
type front struct {
	to       []string // addresses, or paths of unix sockets
	listener net.Listener
	leave    context.CancelFunc // ends the connections
	serving  sync.WaitGroup
}

// listenFront stands on a loopback address, or the path of a unix socket, until
// it is closed.
func listenFront(address string, to ...string) (*front, error) {
	l, err := net.Listen(networkOf(address), address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &front{to: to, listener: l, leave: cancel}
	f.serving.Go(func() {
		for turn := 0; ; turn++ {
			in, err := l.Accept()
			if err != nil {
				return
			}
			f.serving.Go(func() { relay(ctx, in, f.to[turn%len(f.to)]) })
		}
	})
	return f, nil
}

func networkOf(address string) string {
	if address[0] == '/' {
		return "unix"
	}
	return "tcp"
}

// close ends all connections and returns when they are over.
func (f *front) close() {
	_ = f.listener.Close()
	f.leave()
	f.serving.Wait()
}

// relay joins a connection to an address. Who comes from an address of his own is
// seen to come from it; the end of one direction is passed on as it is.
func relay(ctx context.Context, in net.Conn, to string) {
	defer in.Close()
	var d net.Dialer
	if from, ok := in.RemoteAddr().(*net.TCPAddr); ok {
		d.LocalAddr = &net.TCPAddr{IP: from.IP}
	}
	out, err := d.DialContext(ctx, networkOf(to), to)
	if err != nil {
		abort(in) // as one that was never taken
		return
	}
	defer out.Close()
	defer context.AfterFunc(ctx, func() { _ = in.Close(); _ = out.Close() })()
	var ways sync.WaitGroup
	ways.Go(func() { pass(out, in) })
	ways.Go(func() { pass(in, out) })
	ways.Wait()
}

// pass copies one direction to its end.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err == nil && ok && half.CloseWrite() == nil {
		return
	}
	if errors.Is(err, net.ErrClosed) { // by the other direction
		return
	}
	abort(to) // a reset is passed on as one, in both directions
	abort(from)
}

// abort closes a connection so that its peer sees a reset.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// TestFront: connections go to the processes in turn, with the address that they
// come from, and each end is seen on the other side.
func TestFront(t *testing.T) {
	t.Parallel()
	var behind []string
	for _, name := range []string{"one", "two"} {
		l := listenHere(t)
		behind = append(behind, l.Addr().String())
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				said, _ := io.ReadAll(c) // to the client's end
				_, _ = io.WriteString(c, name+" "+host+" "+string(said))
				_ = c.Close()
			}
		}()
	}
	f, err := listenFront("127.0.0.1:0", behind...)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for i, want := range []string{"one 127.0.0.8 hello", "two 127.0.0.9 hello", "one 127.0.0.8 hello"} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(8+i%2))}}
		c, err := d.Dial("tcp", f.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "hello")
		_ = c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != want {
			t.Errorf("connection %d: %q %v, want %q", i, got, err, want)
		}
		_ = c.Close()
	}
	nobody, err := listenFront("127.0.0.1:0", freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.close()
	c, err := net.Dial("tcp", nobody.listener.Addr().String())
	if err != nil {
		return // the reset was quicker
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err == nil || len(got) > 0 {
		t.Errorf("where no process listens: %q, and no error", got)
	}
}
