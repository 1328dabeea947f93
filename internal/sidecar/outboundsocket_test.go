package sidecar

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/guard"
	"sallyport.dev/internal/problem"
)

// farEnd is the callee of a WebSocket, as guard.Client gives it: the body of a 101
// with the other end in the test's hand.
type farEnd struct {
	*net.UnixConn
	why error // what a Read says at the end; nil: what it is
}

func (f *farEnd) Read(p []byte) (int, error) {
	n, err := f.UnixConn.Read(p)
	if err != nil && f.why != nil {
		err = f.why
	}
	return n, err
}

// linked returns two ends of a connection.
func linked(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	at := &net.UnixAddr{Name: filepath.Join(shortDir(t), "x.sock"), Net: "unix"}
	l, err := net.ListenUnix("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if a, err = net.DialUnix("unix", nil, at); err != nil {
		t.Fatal(err)
	}
	if b, err = l.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// socketBed is a bed whose callee takes WebSockets.
type socketBed struct {
	*bed
	to     *callees
	handle string        // of a request in hand
	far    *net.UnixConn // the callee's side
	let    func()        // ends the request in hand
}

func newSocketBed(t *testing.T, why error, change func(*http.Response), options ...option) *socketBed {
	t.Helper()
	service := newHolding()
	s := &socketBed{to: newCallees()}
	mine, far := linked(t)
	s.far = far
	s.to.answer = func(r *http.Request) (*http.Response, error) {
		res := response(r, 101, http.Header{
			"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Accept": {accepted}, "X-User-Id": {"forged"}, "X-Own": {"yes"},
		}, nil)
		res.Body = &farEnd{mine, why}
		if change != nil {
			change(res)
		}
		return res, nil
	}
	s.bed = newBed(t, serviceOn(t, service.ServeHTTP), append(options, s.to.option)...)
	s.let = sync.OnceFunc(func() { close(service.release) })
	t.Cleanup(s.let)
	s.handle, _ = s.open(service, "/mine", s.guard.Token("usr_1"))
	return s
}

// say sends bytes to the outbound socket and reads an answer.
func (b *bed) say(request string) (net.Conn, *bufio.Reader, *http.Response) {
	b.t.Helper()
	c, in, res, err := b.trySay(request)
	if err != nil {
		b.t.Fatal(err)
	}
	return c, in, res
}

// trySay is say where no answer may come.
func (b *bed) trySay(request string) (net.Conn, *bufio.Reader, *http.Response, error) {
	b.t.Helper()
	c, err := net.Dial("unix", b.socket)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, request); err != nil {
		b.t.Fatal(err)
	}
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, &http.Request{Method: http.MethodGet})
	return c, in, res, err
}

func (s *socketBed) upgrade(more string) string {
	return "GET /accounts/1?a=%20 HTTP/1.1\r\nHost: accounts\r\n" + headerHandle + ": " + s.handle + "\r\n" + handshake + more + "\r\n"
}

func hears(t *testing.T, from io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(from, got); err != nil || string(got) != want {
		t.Fatalf("heard %.30q, %v, want %.30q", got, err, want)
	}
}

// TestSocketOfTheService: the service opens a WebSocket at another, as the request
// in hand, and both sides talk until both have ended.
func TestSocketOfTheService(t *testing.T) {
	s := newSocketBed(t, nil, nil)
	c, in, res := s.say(s.upgrade("Connection: X-Named\r\nX-Named: gone\r\nX-User-Id: root\r\nTxn-Token: forged\r\nX-Ordinary: passes\r\nOrigin: https://a.example\r\n") + "early ")
	if res.StatusCode != 101 || res.Header.Get("Sec-Websocket-Accept") != accepted || res.Header.Get("X-User-Id") != "" || res.Header.Get("X-Own") != "yes" {
		t.Fatalf("got %d %v", res.StatusCode, res.Header)
	}
	r := <-s.to.seen
	for name, want := range map[string]string{
		"Upgrade": "websocket", "Connection": "Upgrade", "Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-Websocket-Version": "13", "X-Ordinary": "passes",
		"Origin": "https://a.example", "X-Named": "", "X-User-Id": "", "Txn-Token": "", headerHandle: "",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("the call has %s: %q, want %q", name, got, want)
		}
	}
	if got := guard.PrincipalFrom(r.Context()).Subject + " " + r.URL.String(); got != "usr_1 http://accounts/accounts/1?a=%20" {
		t.Errorf("called as %s", got)
	}
	hears(t, s.far, "early ")
	large := strings.Repeat("large ", 100_000)
	for _, way := range []struct {
		to   io.Writer
		from io.Reader
	}{{c, s.far}, {s.far, in}, {c, s.far}} {
		go func() { _, _ = io.WriteString(way.to, large) }()
		hears(t, way.from, large)
	}
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(s.far); err != nil || len(rest) != 0 {
		t.Errorf("the callee hears %q, %v, want the end of one direction", rest, err)
	}
	_, _ = io.WriteString(s.far, "bye")
	_ = s.far.Close()
	if rest, err := io.ReadAll(in); err != nil || string(rest) != "bye" {
		t.Errorf("after half a close came %q, %v", rest, err)
	}
}

// TestSocketsThatAreNone: what is no handshake is not sent; what does not switch is
// answered whole, and ends the connection: bytes behind it are nobody's request.
func TestSocketsThatAreNone(t *testing.T) {
	page := func(res *http.Response) {
		res.StatusCode, res.Header, res.ContentLength = 409, http.Header{"X-Own": {"yes"}, "Connection": {"keep-alive"}}, 600_000
		res.Body = io.NopCloser(strings.NewReader(strings.Repeat("no ", 200_000)))
	}
	chunks := func(res *http.Response) { page(res); res.ContentLength = -1 }
	swap := func(old, with string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, with, 1) }
	}
	same := func(s string) string { return s }
	for _, c := range []struct {
		name   string
		change func(*http.Response)
		asked  func(string) string
		status int
		reason string
		calls  int32
	}{
		{"a page", page, same, 409, "", 1},
		{"a page in chunks", chunks, same, 409, "", 1},
		{"not modified", func(res *http.Response) { page(res); res.StatusCode, res.Body = 304, http.NoBody }, same, 304, "", 1},
		{"another accept", func(res *http.Response) { res.Header.Set("Sec-Websocket-Accept", "x") }, same, 502, "upstream.protocol", 1},
		{"a subprotocol that was not offered", func(res *http.Response) { res.Header.Set("Sec-Websocket-Protocol", "x") }, same, 502, "upstream.protocol", 1},
		{"another protocol", func(res *http.Response) { res.Header.Set("Upgrade", "h2c") }, same, 502, "upstream.protocol", 1},
		{"a body that is none", func(res *http.Response) { res.Body = io.NopCloser(strings.NewReader("")) }, same, 502, "upstream.protocol", 1},
		{"another upgrade", nil, swap("websocket", "h2c"), 400, "request.upgrade", 0},
		{"another version", nil, swap("13", "8"), 400, "request.upgrade", 0},
		{"a short key", nil, swap("dGhl", ""), 400, "request.upgrade", 0},
		{"two keys", nil, swap("Upgrade: websocket", "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, "request.upgrade", 0},
		{"POST", nil, swap("GET", "POST"), 400, "request.upgrade", 0},
		{"HTTP/1.0", nil, swap("HTTP/1.1", "HTTP/1.0"), 400, "request.upgrade", 0},
		{"a body", nil, swap("Host:", "Content-Length: 3\r\nHost:"), 400, "request.upgrade", 0},
		{"chunks", nil, swap("Host:", "Transfer-Encoding: chunked\r\nHost:"), 400, "request.upgrade", 0},
		{"another host", nil, swap("Host: accounts", "Host: example.com"), 400, "request.host", 0},
		{"a guessed handle", nil, swap(headerHandle+": ", headerHandle+": x"), 403, "inside.handle", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSocketBed(t, nil, c.change)
			_, in, res := s.say(c.asked(s.upgrade("")) + "GET /accounts/2 HTTP/1.1\r\nHost: accounts\r\n" + headerHandle + ": " + s.handle + "\r\n\r\n")
			body, err := io.ReadAll(res.Body)
			if res.StatusCode != c.status || res.Header.Get(problem.ReasonHeader) != c.reason || err != nil {
				t.Errorf("got %d %s, %v, want %d %s", res.StatusCode, res.Header.Get(problem.ReasonHeader), err, c.status, c.reason)
			}
			if c.status == 409 && (len(body) != 600_000 || res.Header.Get("X-Own") != "yes") {
				t.Errorf("got %d bytes, %v", len(body), res.Header)
			}
			if rest, _ := io.ReadAll(in); len(rest) != 0 || !res.Close {
				t.Errorf("behind the answer came %q", rest)
			}
			if n := s.to.calls.Load(); n != c.calls {
				t.Errorf("%d calls, want %d", n, c.calls)
			}
		})
	}
}

// TestUpgradeThatTheGuardRefuses has the guard's own client decide.
func TestUpgradeThatTheGuardRefuses(t *testing.T) {
	service := newHolding()
	b := newBed(t, serviceOn(t, service.ServeHTTP))
	defer close(service.release)
	open, _ := b.open(service, "/mine", b.guard.Token("usr_1"))
	for path, want := range map[string]int{"/secrets": 403, "/accounts/1": 502} { // the declared one is tried; nobody listens there
		_, in, res := b.say("GET " + path + " HTTP/1.1\r\nHost: accounts\r\n" + headerHandle + ": " + open + "\r\n" + handshake + "\r\n")
		if _, _ = io.Copy(io.Discard, res.Body); res.StatusCode != want {
			t.Errorf("%s: got %d, want %d", path, res.StatusCode, want)
		}
		if rest, _ := io.ReadAll(in); len(rest) != 0 {
			t.Errorf("%s: behind the answer came %q", path, rest)
		}
	}
}

// TestSocketOfTheServiceEnds: with the guard's, with its own connection, with
// the sidecar and with silence; each end is seen on the other side.
func TestSocketOfTheServiceEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*socketBed, net.Conn)
	}{
		{"the guard's", func(s *socketBed, _ net.Conn) { _ = s.far.Close() }},
		{"the service's", func(_ *socketBed, c net.Conn) { _ = c.Close() }},
		{"the sidecar's", func(s *socketBed, _ net.Conn) { s.let(); go func() { _ = s.stop() }() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			why := error(problem.New(problem.InsideCall, errors.New("the map took it")))
			if c.name != "the guard's" {
				why = nil
			}
			s := newSocketBed(t, why, nil)
			conn, in, res := s.say(s.upgrade("") + "x")
			if res.StatusCode != 101 {
				t.Fatalf("got %d", res.StatusCode)
			}
			hears(t, s.far, "x")
			c.end(s, conn)
			if rest, _ := io.ReadAll(in); len(rest) != 0 {
				t.Errorf("the service hears %q", rest)
			}
			if rest, _ := io.ReadAll(s.far); len(rest) != 0 {
				t.Errorf("the callee hears %q", rest)
			}
		})
	}
	t.Run("silence", func(t *testing.T) {
		doubling(t, func(idle time.Duration) bool {
			s := newSocketBed(t, nil, nil, func(cfg *Config, _ *door) { cfg.StreamIdle = idle })
			start := time.Now()
			_, in, res, err := s.trySay(s.upgrade("") + "x")
			if err != nil {
				return false
			}
			if res.StatusCode != 101 {
				t.Fatalf("got %d", res.StatusCode)
			}
			heard, _ := io.ReadAll(s.far)
			took := time.Since(start)
			if rest, _ := io.ReadAll(in); len(rest) != 0 {
				t.Errorf("the service hears %q", rest)
			}
			if len(heard) == 0 {
				return false
			}
			if string(heard) != "x" || took < idle {
				t.Errorf("the callee hears %q, and the end after %s, want that after %s", heard, took, idle)
			}
			return true
		})
	})
}
