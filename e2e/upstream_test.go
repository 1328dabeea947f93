package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"sync"
	"testing"
)

// received is one request as an upstream got it: the bytes as they came, and
// what net/http makes of them.
type received struct {
	Raw    string // head and body
	Target string // of the request line
	Method string
	Header http.Header
	Body   string
	Err    error // it was not readable as HTTP
}

// insideLine is a line that is long and the same in every request.
var insideLine = regexp.MustCompile(`(?m)^Txn-Token: .*\n`)

// String is what came, cut to what a failure needs.
func (r received) String() string {
	s := fmt.Sprintf("%.600q", insideLine.ReplaceAllString(r.Raw, ""))
	if r.Err != nil {
		s += fmt.Sprintf(" (%v)", r.Err)
	}
	return s
}

// upstream is a service that keeps what it receives, byte for byte.
type upstream struct {
	address string
	answer  func(net.Conn, received) // writes the answer; true keeps the connection
	mu      sync.Mutex
	got     []received // guarded by mu
	conns   map[net.Conn]bool
	stopped bool
}

const plainAnswer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"

// startUpstream serves on a free loopback address until the test ends. A nil
// answer says 200 ok.
func startUpstream(t testing.TB, answer func(net.Conn, received)) *upstream {
	t.Helper()
	return startUpstreamAt(t, "127.0.0.1:0", answer)
}

// startUpstreamAt serves on an address of its own: host:port, or the path of a
// unix socket.
func startUpstreamAt(t testing.TB, address string, answer func(net.Conn, received)) *upstream {
	t.Helper()
	network := "tcp"
	if address[0] == '/' {
		network = "unix"
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	if answer == nil {
		answer = func(c net.Conn, _ received) { _, _ = io.WriteString(c, plainAnswer) }
	}
	u := &upstream{address: l.Addr().String(), answer: answer, conns: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if !u.keep(c) {
				_ = c.Close()
				return
			}
			serving.Go(func() { u.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		u.mu.Lock()
		u.stopped = true
		for c := range u.conns {
			_ = c.Close()
		}
		u.mu.Unlock()
		serving.Wait()
	})
	return u
}

func (u *upstream) keep(c net.Conn) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conns[c] = true
	return !u.stopped
}

// serve reads the requests of a connection. The gateway never sends a second
// one before the first is answered, so what was read belongs to one request.
func (u *upstream) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		u.mu.Lock()
		delete(u.conns, c)
		u.mu.Unlock()
	}()
	var raw bytes.Buffer
	br := bufio.NewReader(io.TeeReader(c, &raw))
	for {
		raw.Reset()
		if n := br.Buffered(); n > 0 {
			rest, _ := br.Peek(n) // sent ahead of the answer: kept, for the test to see
			raw.Write(rest)
		}
		if _, err := br.Peek(1); err != nil {
			return
		}
		r := received{}
		req, err := http.ReadRequest(br)
		if err != nil {
			r.Err, r.Raw = err, raw.String()
			u.note(r)
			return
		}
		body, err := io.ReadAll(req.Body)
		r = received{Raw: raw.String(), Target: req.RequestURI, Method: req.Method, Header: req.Header, Body: string(body), Err: err}
		r.Header.Set("Host", req.Host)
		u.note(r)
		u.answer(c, r)
	}
}

func (u *upstream) note(r received) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.got = append(u.got, r)
}

// all returns what was received so far.
func (u *upstream) all() []received {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]received(nil), u.got...)
}

// of returns what was received under one correlation id.
func (u *upstream) of(id string) (list []received) {
	for _, r := range u.all() {
		if r.Header.Get("X-Correlation-Id") == id {
			list = append(list, r)
		}
	}
	return list
}
