package guard

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/problem"
)

// socketShop is a map in which front opens WebSockets at orders.
const socketShop = `
zone: shop.example
services:
  orders:
    upstream: https://@orders
    embedded: true
    routes:
      GET /mac: {allow: user, stream: websocket}
      GET /signed: {allow: user, stream: websocket, proof: signature}
      GET /bare: {allow: user, stream: websocket, proof: channel}
      GET /own: {allow: service, stream: websocket}
      GET /refusing: {allow: user, stream: websocket}
      GET /secret: {allow: user, stream: websocket}
      GET /plain: user
  front:
    upstream: https://@front
    embedded: true
    routes:
      GET /front: user
    calls:
      orders: [GET /mac, GET /signed, GET /bare, GET /refusing, GET /plain, {call: GET /own, as: service}]
`

// far is a service that takes WebSockets and sends back what comes.
type far struct {
	heads chan *http.Request
	ended chan error
}

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.heads <- r
	if r.Header.Get("Upgrade") == "" || r.URL.Path == "/refusing" {
		w.Header().Set("X-Own", "yes")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, strings.Repeat("no ", 100_000))
		return
	}
	conn, in, err := http.NewResponseController(w).Hijack()
	if err != nil {
		f.ended <- err
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: any\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello ")
	if _, err = io.Copy(conn, in.Reader); err == nil {
		_, _ = io.WriteString(conn, "bye")
	}
	f.ended <- err
}

// pairOfGuards returns front, and orders as it serves.
func pairOfGuards(t *testing.T) (*world, *Guard, *far) {
	clock := &handClock{now: time.Now()}
	w := newWorld(t, socketShop, clock.Now)
	f := &far{heads: make(chan *http.Request, 64), ended: make(chan error, 64)}
	orders, front := w.guard("orders", nil), w.guard("front", nil)
	w.open(orders, f)
	clock.set(clock.Now().Add(2 * time.Second)) // signatures of the first second are none
	return w, front, f
}

// inHand is the context of a request of u1 that lives as long as life.
func (w *world) inHand(life context.Context) context.Context {
	in := &inbound{token: w.token("u1"), correlationID: correlation, client: nobody}
	ctx := withInbound(life, in)
	in.life = ctx
	return ctx
}

// handshake asks for a WebSocket with a well-known client's fields.
func handshake(ctx context.Context, g *Guard, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://orders"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
		"Sec-WebSocket-Protocol": "chat", "Origin": "https://front.example", "Authorization": "Bearer outside", "Txn-Token": "forged", "Cookie": "a=b",
	} {
		r.Header.Set(name, value)
	}
	return g.Client().Do(r)
}

// far end, as a program has it.
type end struct {
	io.ReadWriteCloser
	in *bufio.Reader
	t  *testing.T
}

// connect opens a WebSocket and sees that it works.
func connect(ctx context.Context, t *testing.T, g *Guard, path string) *end {
	t.Helper()
	res, err := handshake(ctx, g, path)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-Websocket-Protocol") != "chat" {
		t.Fatalf("%s: %v, %v, want 101", path, res, err)
	}
	body, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		t.Fatalf("%s: the body is a %T and no io.ReadWriteCloser", path, res.Body)
	}
	t.Cleanup(func() { _ = body.Close() })
	e := &end{body, bufio.NewReader(body), t}
	e.hears("hello ")
	e.echo(path)
	return e
}

func (e *end) hears(want string) {
	e.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(e.in, got); err != nil || string(got) != want {
		e.t.Fatalf("heard %.30q, %v, want %.30q", got, err, want)
	}
}

func (e *end) echo(text string) {
	e.t.Helper()
	done := make(chan error, 1)
	go func() { _, err := io.WriteString(e, text); done <- err }()
	e.hears(text)
	if err := <-done; err != nil {
		e.t.Fatal(err)
	}
}

// TestSocket: a WebSocket of another service, whatever the proof of the handshake,
// moves what is said in both directions and can end in one.
func TestSocket(t *testing.T) {
	w, front, far := pairOfGuards(t)
	for _, path := range []string{"/mac", "/signed", "/bare"} {
		e := connect(w.inHand(t.Context()), t, front, path)
		h := (<-far.heads)
		for name, want := range map[string]string{
			"Upgrade": "websocket", "Connection": "Upgrade", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-Websocket-Protocol": "chat",
			"Origin": "https://front.example", "X-Correlation-Id": correlation, "Authorization": "", "Txn-Token": "", "Cookie": "", "Signature": "", "Content-Digest": "",
		} {
			if got := h.Header.Get(name); got != want {
				t.Errorf("%s: the callee sees %s %q, want %q", path, name, got, want)
			}
		}
		if who := PrincipalFrom(h.Context()).Subject + " by " + Caller(h.Context()) + " over " + Stream(h.Context()); who != "u1 by front over websocket" {
			t.Errorf("%s: the callee is told of %s", path, who)
		}
		e.echo(strings.Repeat("large ", 500_000))
		if err := e.ReadWriteCloser.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(e.in); err != nil || string(rest) != "bye" {
			t.Errorf("%s: after half a close came %q, %v", path, rest, err)
		}
		if err := <-far.ended; err != nil {
			t.Errorf("%s: the callee saw %v", path, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if n, err := e.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: a read after Close: %d bytes", path, n)
		}
	}
	if n := len(front.sockets.open); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
}

// TestSocketHasItsConnection: no handshake goes over a connection that another
// request used, nor any request over that of a handshake, whatever was answered.
func TestSocketHasItsConnection(t *testing.T) {
	w, front, far := pairOfGuards(t)
	ctx, used := w.inHand(t.Context()), map[string]string{}
	rounds, shared := 0, false // plain calls share a connection, unless net/http was late to put it back
	for ; rounds < 3 || !shared && rounds < 100; rounds++ {
		for _, path := range []string{"/plain", "/mac", "/refusing"} {
			res, err := handshake(ctx, front, path)
			if err != nil {
				t.Fatal(err)
			}
			if path != "/mac" {
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					t.Fatal(err)
				}
			}
			if err := res.Body.Close(); err != nil {
				t.Error(err)
			}
			r := <-far.heads
			if other, again := used[r.RemoteAddr]; again && (path != "/plain" || other != "/plain") {
				t.Errorf("%s came over the connection of %s", path, other)
			} else if again {
				shared = true
			}
			used[r.RemoteAddr] = path
			if path == "/mac" {
				<-far.ended
			}
		}
	}
	handshakes := 0
	for _, path := range used {
		if path != "/plain" {
			handshakes++
		}
	}
	if handshakes != 2*rounds || !shared {
		t.Errorf("%d connections of handshakes in %d rounds, want two in each; plain calls share one: %v", handshakes, rounds, shared)
	}
}

// TestSocketRefused: what is not allowed leaves no handshake, or is refused by the
// callee, whose answer is passed on whole.
func TestSocketRefused(t *testing.T) {
	w, front, far := pairOfGuards(t)
	ctx := w.inHand(t.Context())
	for _, tt := range []struct {
		name, path string
		ctx        context.Context
		want       error
	}{
		{"undeclared", "/secret", ctx, ErrUndeclared},
		{"no request in hand", "/mac", t.Context(), ErrNoRequest},
		{"a token that is its caller's alone", "/mac", withInbound(t.Context(), &inbound{token: "x", itself: true}), ErrNoRequest},
	} {
		if res, err := handshake(tt.ctx, front, tt.path); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v, want %v", tt.name, res, err, tt.want)
		}
	}
	for _, tt := range []struct {
		name, path, token, reason string
		status                    int
	}{
		{"a token that was changed", "/mac", "x" + w.token("u1"), "inside.token_invalid", 401},
		{"the callee says no", "/refusing", w.token("u1"), "", 409},
		{"no WebSocket there", "/plain", w.token("u1"), "", 409},
	} {
		res, err := handshake(withInbound(t.Context(), &inbound{token: tt.token, correlationID: correlation, client: nobody}), front, tt.path)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		text, err := io.ReadAll(res.Body)
		if res.StatusCode != tt.status || res.Header.Get(problem.ReasonHeader) != tt.reason || err != nil {
			t.Errorf("%s: %d %s, %v, want %d %s", tt.name, res.StatusCode, res.Header.Get(problem.ReasonHeader), err, tt.status, tt.reason)
		}
		if _, may := res.Body.(io.Writer); may {
			t.Errorf("%s: the body takes writes", tt.name)
		}
		if tt.reason == "" && (len(text) != 300_000 || res.Header.Get("X-Own") != "yes") {
			t.Errorf("%s: %d bytes, %v", tt.name, len(text), res.Header)
		}
		_ = res.Body.Close()
		if tt.reason == "" {
			if r := <-far.heads; (r.Header.Get("Upgrade") == "") != (tt.path == "/plain") {
				t.Errorf("%s: the callee got Upgrade: %q", tt.name, r.Header.Get("Upgrade"))
			}
		}
	}
	// Who is not declared is refused by the callee, whatever it sends.
	for who, want := range map[string]string{"front": "200", "nosy": "inside.call"} {
		l := w.dial(w.listeners["orders"].Addr().String(), w.ca.Source(t, who, time.Now))
		r := message(t, "GET", "/mac", w.token("u1"), "")
		r.Header.Del("Content-Digest")
		l.prove(r, httpsig.MAC)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		got := "200"
		if who == "nosy" {
			got = l.send(bytesOf(t, r))
		} else if _, err := l.conn.Write(bytesOf(t, r)); err != nil {
			t.Fatal(err)
		} else if res, err := http.ReadResponse(l.in, nil); err != nil || res.StatusCode != 101 {
			t.Errorf("control: %v %v", res, err)
		}
		if got != want {
			t.Errorf("%s opens: %s, want %s", who, got, want)
		}
	}
	if n := len(front.sockets.open); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
}

// TestOtherUpgrades: nothing but the handshake of a WebSocket leaves as an upgrade.
func TestOtherUpgrades(t *testing.T) {
	w, front, far := pairOfGuards(t)
	for name, change := range map[string]func(*http.Request){
		"h2c":         func(r *http.Request) { r.Header.Set("Upgrade", "h2c") },
		"two":         func(r *http.Request) { r.Header.Add("Upgrade", "h2c") },
		"in a list":   func(r *http.Request) { r.Header.Set("Upgrade", "websocket, h2c") },
		"no option":   func(r *http.Request) { r.Header.Del("Connection") },
		"with a body": func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(bytes.NewBufferString("x")), 1 },
		"HEAD":        func(r *http.Request) { r.Method = http.MethodHead },
	} {
		r, err := http.NewRequestWithContext(w.inHand(t.Context()), http.MethodGet, "http://orders/mac", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		change(r)
		res, err := front.Client().Do(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = res.Body.Close()
		if saw := <-far.heads; saw.Header.Get("Upgrade") != "" || saw.Header.Get("Connection") != "" || res.StatusCode != 409 {
			t.Errorf("%s: the callee got %v and %d came back", name, saw.Header, res.StatusCode)
		}
	}
}
