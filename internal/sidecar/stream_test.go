package sidecar

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
)

const handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// chat is a service of WebSockets, as far as its handshake goes: it sends back
// what comes, and says bye when no more does.
func chat(t *testing.T, accept string) (upstream string, heads <-chan http.Header) {
	seen := make(chan http.Header, 4)
	return serviceOn(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		c, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+accept+"\r\nX-User-Id: forged\r\n\r\n")
		_, _ = io.Copy(c, in)
		_, _ = io.WriteString(c, "bye")
	}), seen
}

const accepted = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // RFC 6455 section 1.3

// join opens a WebSocket at the inner door.
func (b *bed) join(path, header string) (net.Conn, *bufio.Reader, *http.Response) {
	b.t.Helper()
	c, in, res, err := b.tryJoin(path, header)
	if err != nil {
		b.t.Fatal(err)
	}
	return c, in, res
}

// tryJoin is join where no answer may come.
func (b *bed) tryJoin(path, header string) (net.Conn, *bufio.Reader, *http.Response, error) {
	b.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.inner, "http://"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: a\r\nTxn-Token: "+b.guard.Token("anonymous")+"\r\n"+header+"\r\n"); err != nil {
		b.t.Fatal(err)
	}
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil)
	return c, in, res, err
}

func TestWebSocket(t *testing.T) {
	upstream, heads := chat(t, accepted)
	b := newBed(t, upstream)
	c, in, res := b.join("/chat", handshake+"X-User-Id: forged\r\n")
	if res.StatusCode != 101 || res.Header.Get("Sec-Websocket-Accept") != accepted || res.Header.Get("X-User-Id") != "" {
		t.Fatalf("got %d %v", res.StatusCode, res.Header)
	}
	h := <-heads
	if h.Get("X-User-Id") != "" || len(h[headerHandle]) != 1 || len(h["Sec-Websocket-Key"]) != 1 || h.Get("Txn-Token") != "" {
		t.Errorf("the service got %v", h)
	}
	for _, text := range []string{"one", strings.Repeat("x", 200_000)} {
		go func() { _, _ = io.WriteString(c, text) }()
		got := make([]byte, len(text))
		if _, err := io.ReadFull(in, got); err != nil || string(got) != text {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	}
	if b.sidecar.handles.len() != 1 {
		t.Error("the handle of an open tunnel was withdrawn")
	}
	_ = c.(*net.TCPConn).CloseWrite() // the other half goes on
	if rest, err := io.ReadAll(in); err != nil || string(rest) != "bye" {
		t.Errorf("after half a close: %q, %v, want bye", rest, err)
	}
	eventually(t, "the handle is withdrawn", func() bool { return b.sidecar.handles.len() == 0 })
}

func TestWebSocketsThatAreNone(t *testing.T) {
	good, _ := chat(t, accepted)
	bad, _ := chat(t, "dGhlIHNhbXBsZSBub25jZQ==")
	for _, c := range []struct {
		name, upstream, path, header string
		want                         problem.Reason
	}{
		{"another route", good, "/open", handshake, problem.RequestUpgrade},
		{"an event stream", good, "/live", handshake, problem.RequestUpgrade},
		{"another upgrade", good, "/chat", strings.Replace(handshake, "websocket", "h2c", 1), problem.RequestUpgrade},
		{"another version", good, "/chat", strings.Replace(handshake, "13", "8", 1), problem.RequestUpgrade},
		{"a short key", good, "/chat", strings.Replace(handshake, "dGhl", "", 1), problem.RequestUpgrade},
		{"a wrong answer", bad, "/chat", handshake, problem.UpstreamProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, c.upstream)
			_, _, res := b.join(c.path, c.header)
			wantReason(t, res, c.want)
		})
	}
}

func TestSilentWebSocketEnds(t *testing.T) {
	upstream, _ := chat(t, accepted)
	doubling(t, func(idle time.Duration) bool {
		b := newBed(t, upstream, func(c *Config, _ *door) { c.StreamIdle = idle })
		start := time.Now()
		_, in, res, err := b.tryJoin("/chat", handshake)
		if err != nil {
			return false
		}
		if res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("got %d", res.StatusCode)
		}
		_, _ = io.ReadAll(in)
		if took := time.Since(start); took < idle {
			t.Errorf("it ended after %s, want %s", took, idle)
		}
		eventually(t, "the handle is withdrawn", func() bool { return b.sidecar.handles.len() == 0 })
		return true
	})
}

// overHTTP2 returns a client of the inner door that speaks HTTP/2 without TLS.
func overHTTP2(t *testing.T) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestGRPC(t *testing.T) {
	seen := make(chan *http.Request, 4)
	b := newBed(t, serviceOn(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		w.Header().Set("Content-Type", "application/grpc")
		if r.URL.Query().Has("only") {
			w.Header().Set("Grpc-Status", "5")
			return
		}
		to := http.NewResponseController(w)
		_ = to.Flush()
		buf := make([]byte, 64)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = to.Flush()
			if err != nil {
				break
			}
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"X-User-Id", "forged")
		w.Header().Set(http.TrailerPrefix+"Sallyport-Reason", "forged")
	}))
	call := func(path string, body io.Reader) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", b.inner+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Trailer = http.Header{"Ask": {"1"}, "X-User-Id": {"root"}, "Txn-Token": {"forged"}}
		req.Header = http.Header{"Txn-Token": {b.guard.Token("anonymous")}, "Te": {"trailers"}, "Content-Type": {"application/grpc"}, "X-User-Id": {"forged"}}
		res, err := overHTTP2(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	to, from := io.Pipe()
	res := call("/rpc", to) // the head comes before any message
	for _, text := range []string{"one", "two"} {
		if _, err := io.WriteString(from, text); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != text {
			t.Fatalf("got %q, %v, want %q", got, err, text)
		}
	}
	_ = from.Close()
	if rest := read(t, res); rest != "" || res.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("the end is %q with %v", rest, res.Trailer)
	}
	if res.Trailer.Get("X-User-Id") != "" || res.Trailer.Get("Sallyport-Reason") != "" {
		t.Errorf("the service said of the inside: %v", res.Trailer)
	}
	r := <-seen
	if r.ProtoMajor != 2 || r.Header.Get("Te") != "trailers" || r.Header.Get("X-User-Id") != "" || r.Header.Get("Txn-Token") != "" || len(r.Header[headerHandle]) != 1 {
		t.Errorf("the service got %s %v", r.Proto, r.Header)
	}
	if len(r.Trailer) != 0 {
		t.Errorf("the service got the trailers %v, want none", r.Trailer)
	}
	res = call("/rpc?only", http.NoBody)
	if read(t, res) != "" || res.Header.Get("Grpc-Status") != "5" || len(res.Trailer) != 0 {
		t.Errorf("an answer of trailers only: %v and %v", res.Header, res.Trailer)
	}
	wantReason(t, b.ask("POST", "/rpc", b.guard.Token("anonymous"), nil), problem.RequestUpgrade) // over HTTP/1.1
	eventually(t, "the handles are withdrawn", func() bool { return b.sidecar.handles.len() == 0 })
}

func TestSilentCallEnds(t *testing.T) {
	b := newBed(t, serviceOn(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
		func(c *Config, _ *door) { c.StreamIdle = 50 * time.Millisecond })
	to, from := io.Pipe()
	defer func() { _ = from.Close() }()
	req, err := http.NewRequestWithContext(t.Context(), "POST", b.inner+"/rpc", to)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Txn-Token", b.guard.Token("anonymous"))
	res, err := overHTTP2(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, res, problem.UpstreamTimeout)
}
