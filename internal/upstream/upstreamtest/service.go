// Package upstreamtest has services that speak bytes, for tests of whoever talks
// to services: what comes over the wire is the test's, well-formed or not.
package upstreamtest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sallyport.dev/zone"
)

// Service is a service of which the test says what it does with a connection. It
// keeps every request as it was on the wire.
type Service struct {
	Network, Address string
	Requests         chan string // each request, head and body, as received
	Conns            atomic.Int32
	Serving          sync.WaitGroup // of the functions that serve connections
}

// Conn is one connection to a Service, counted from 0.
type Conn struct {
	net.Conn
	R       *bufio.Reader
	N       int
	Service *Service
}

// Dial is what an upstream.Config wants.
type Dial = func(context.Context, *zone.Service, zone.Upstream) (net.Conn, error)

// Listen listens on network (tcp or unix) and runs serve for each connection;
// the connection is closed when serve returns.
func Listen(t testing.TB, network string, serve func(*Conn)) *Service {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s.sock")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{Network: network, Address: l.Addr().String(), Requests: make(chan string, 64)}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.Take(c, serve)
		}
	}()
	return s
}

// Pipe is a Service without a socket, for tests with a clock of their own.
func Pipe(serve func(*Conn)) (*Service, Dial) {
	s := &Service{Network: "tcp", Address: "pipe", Requests: make(chan string, 64)}
	return s, func(context.Context, *zone.Service, zone.Upstream) (net.Conn, error) {
		ours, theirs := net.Pipe()
		s.Take(theirs, serve)
		return ours, nil
	}
}

// Dead is an instance to which nothing listens. Its port is that of the near end of a
// connection: nobody else is given it meanwhile.
func Dead(t testing.TB) *Service {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), l.Close() })
	return &Service{Network: "tcp", Address: c.LocalAddr().String()}
}

// Upstream is the service as a map names it.
func (s *Service) Upstream() zone.Upstream {
	return zone.Upstream{Scheme: "http", Network: s.Network, Address: s.Address, URL: "http://" + s.Address}
}

// Take serves a connection that was made elsewhere.
func (s *Service) Take(c net.Conn, serve func(*Conn)) {
	rc := &Conn{Conn: c, R: bufio.NewReader(c), N: int(s.Conns.Add(1)) - 1, Service: s}
	s.Serving.Go(func() {
		defer c.Close()
		serve(rc)
	})
}

// Request reads one whole request and keeps it. It reports false at the end of
// the connection.
func (c *Conn) Request() (raw string, ok bool) {
	head, ok := c.Head()
	if !ok {
		return "", false
	}
	raw = head
	lower := strings.ToLower(head)
	if strings.Contains(lower, "\r\ntransfer-encoding: chunked\r\n") {
		for !strings.HasSuffix(raw, "\r\n0\r\n\r\n") {
			line, err := c.R.ReadString('\n')
			if err != nil {
				return raw, false
			}
			raw += line
		}
	} else if _, after, found := strings.Cut(lower, "\r\ncontent-length: "); found {
		digits, _, _ := strings.Cut(after, "\r\n")
		n, _ := strconv.Atoi(digits)
		body := make([]byte, n)
		m, err := io.ReadFull(c.R, body)
		raw += string(body[:m])
		if err != nil {
			return raw, false
		}
	}
	c.Service.Requests <- raw
	return raw, true
}

// Head reads the head of a request and keeps nothing.
func (c *Conn) Head() (string, bool) {
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		line, err := c.R.ReadString('\n')
		head.WriteString(line)
		if err != nil {
			return head.String(), false
		}
	}
	return head.String(), true
}

// Say reports false when the other side has hung up.
func (c *Conn) Say(s string) bool {
	_, err := io.WriteString(c, s)
	return err == nil
}

// Stay waits until the other side hangs up.
func (c *Conn) Stay() { _, _ = io.Copy(io.Discard, c.R) }

// Always answers every request of a connection with the same bytes.
func Always(answer string) func(*Conn) {
	return func(c *Conn) {
		for {
			if _, ok := c.Request(); !ok {
				return
			}
			c.Say(answer)
		}
	}
}

// Sized is a whole answer with a length.
func Sized(body string) string {
	return "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// Echo answers each request of a connection with the same bytes, and allocates
// nothing for it: what a benchmark measures is the other side.
func Echo(b *testing.B, answer string) *Service {
	b.Helper()
	out := []byte(answer)
	return Listen(b, "tcp", func(c *Conn) {
		buf := make([]byte, 16<<10)
		n := 0
		for {
			m, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			if n += m; !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
				continue
			}
			n = 0
			if _, err := c.Write(out); err != nil {
				return
			}
		}
	})
}
