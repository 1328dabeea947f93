package gateway

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/websocket"

	"net/http"
	"net/http/httptest"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

// A client and a service that know WebSocket speak through the door.
func TestWebSocketEndToEnd(t *testing.T) {
	srv := httptest.NewServer(websocket.Handler(func(c *websocket.Conn) {
		for {
			var m string
			if websocket.Message.Receive(c, &m) != nil || websocket.Message.Send(c, "got "+m) != nil {
				return
			}
		}
	}))
	defer srv.Close()
	d := openDoor(t, []*zone.Route{socketRoute()}, func(c *Config) {
		address := strings.TrimPrefix(srv.URL, "http://")
		c.Zone.Services[0].Upstreams = []zone.Upstream{{Scheme: "http", Network: "tcp", Address: address, URL: srv.URL}}
	})
	config, err := websocket.NewConfig("wss://shop.example/socket", "https://shop.example")
	if err != nil {
		t.Fatal(err)
	}
	config.Header.Set("Authorization", "Bearer "+aliceToken)
	c, err := websocket.NewClient(config, d.dial("shop.example", "http/1.1"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		want := fmt.Sprintf("got message %d", i)
		var got string
		if err := websocket.Message.Send(c, fmt.Sprintf("message %d", i)); err != nil {
			t.Fatal(err)
		}
		if err := websocket.Message.Receive(c, &got); err != nil || got != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	if r := d.last(); r.Kind != journal.KindOpen || r.Status != 101 || r.Reason != "ok" || r.Principal != "alice" {
		t.Errorf("while it is open: record %+v", r)
	}
	_ = c.Close()
	if r := d.endRecord(); r.Status != 101 || r.Reason != "ok" || r.BytesIn == 0 || r.BytesOut == 0 || r.Route != "GET /socket" {
		t.Errorf("at the end: record %+v", r)
	}
}

// What goes in and what comes out of a handshake is what was checked.
func TestWebSocketHeads(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) {
		if _, ok := c.Request(); ok {
			c.Say(strings.Replace(switching, "\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n"+
				"Set-Cookie: a=b\r\nSet-Cookie: __Host-session=x\r\nTxn-Token: leak\r\nServer: leak\r\nX-Own: yes\r\n\r\nbehind", 1))
			echo(c)
		}
	})
	d := openDoor(t, []*zone.Route{socketRoute()}, behind(s))
	c := d.open("Sec-WebSocket-Protocol: soap, chat\r\n", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
		"Authorization: Bearer "+aliceToken+"\r\n", "X-Mine: 1\r\n", "X-User-Id: root\r\n")
	c.hears(t, "behind")
	c.says(t, "ping", "ping")
	raw := <-s.Requests
	for _, line := range []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + socketKey,
		"Sec-WebSocket-Protocol: soap, chat", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "X-Mine: 1", "Host: shop.example"} {
		if strings.Count(raw, "\r\n"+line+"\r\n") != 1 {
			t.Errorf("the service got %q, want one %q", raw, line)
		}
	}
	for _, name := range []string{"Authorization", "X-User-Id", aliceToken, "Content-Length"} {
		if strings.Contains(raw, name) {
			t.Errorf("the service got %q, want no %q", raw, name)
		}
	}
	h := c.head.Header
	for name, want := range map[string][]string{
		"Sec-Websocket-Accept": {socketAccept}, "Sec-Websocket-Protocol": {"chat"}, "Set-Cookie": {"a=b"}, "X-Own": {"yes"}, "Txn-Token": nil, "Server": nil,
		"Sec-Websocket-Extensions": {"permessage-deflate; server_no_context_takeover"}, "Content-Length": nil, "Transfer-Encoding": nil,
	} {
		if !slices.Equal(h[name], want) {
			t.Errorf("%s: %q, want %q", name, h[name], want)
		}
	}
	if h.Get("X-Correlation-Id") == "" {
		t.Error("no correlation id in the 101")
	}
}

// Such a route takes the handshake and nothing else; what is refused never
// reaches the service.
func TestWebSocketIsRefused(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", switches(echo))
	only := socketRoute()
	only.Path, only.Allow = "/mine", zone.AllowUser
	d := openDoor(t, []*zone.Route{socketRoute(), only}, behind(s))
	const get = "GET /socket HTTP/1.1\r\nHost: shop.example\r\n"
	swap := func(old, with string) string { return strings.Replace(socketHead(), old, with, 1) }
	for _, c := range []struct {
		name, request string
		want          problem.Reason
	}{
		{"no upgrade", get + "\r\n", problem.RequestUpgrade},
		{"another upgrade", swap("Upgrade: websocket", "Upgrade: h2c"), problem.RequestUpgrade},
		{"one of two upgrades", swap("Upgrade: websocket", "Upgrade: websocket, h2c"), problem.RequestUpgrade},
		{"two upgrades", swap("Upgrade: websocket\r\n", "Upgrade: websocket\r\nUpgrade: h2c\r\n"), problem.RequestUpgrade},
		{"connection does not say so", swap("Connection: Upgrade", "Connection: keep-alive"), problem.RequestUpgrade},
		{"no version", swap("Sec-WebSocket-Version: 13\r\n", ""), problem.RequestUpgrade},
		{"version 8", swap("Version: 13", "Version: 8"), problem.RequestUpgrade},
		{"two versions", socketHead("Sec-WebSocket-Version: 13\r\n"), problem.RequestUpgrade},
		{"no key", swap("Sec-WebSocket-Key: "+socketKey+"\r\n", ""), problem.RequestUpgrade},
		{"short key", swap(socketKey, "AAAA"), problem.RequestUpgrade},
		{"key that is no base64", swap(socketKey, strings.Repeat("!", 24)), problem.RequestUpgrade},
		{"key in a second spelling", swap(socketKey, "dGhlIHNhbXBsZSBub25jZR=="), problem.RequestUpgrade},
		{"two keys", socketHead("Sec-WebSocket-Key: " + socketKey + "\r\n"), problem.RequestUpgrade},
		{"a protocol that is no token", socketHead("Sec-WebSocket-Protocol: a b\r\n"), problem.RequestUpgrade},
		{"a protocol twice", socketHead("Sec-WebSocket-Protocol: a, a\r\n"), problem.RequestUpgrade},
		{"extensions that are none", socketHead("Sec-WebSocket-Extensions: a; ,\r\n"), problem.RequestUpgrade},
		{"a body", socketHead("Content-Length: 4\r\n") + "body", problem.RequestUpgrade},
		{"a body in chunks", socketHead("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", problem.RequestUpgrade},
		{"HTTP/1.0", swap("HTTP/1.1", "HTTP/1.0"), problem.RequestUpgrade},
		{"HEAD", swap("GET ", "HEAD "), problem.RequestUpgrade},
		{"POST", swap("GET ", "POST "), problem.RouteMethod},
		{"nobody", swap("/socket", "/mine"), problem.AuthMissing},
		{"cookie from another site", socketHead("Cookie: __Host-session="+aliceToken+"\r\n", "Origin: https://evil.example\r\n"), problem.AuthCrossSite},
		{"cookie from a sandbox", socketHead("Cookie: __Host-session="+aliceToken+"\r\n", "Origin: null\r\n"), problem.AuthCrossSite},
		{"cookie from another site by what the browser says", socketHead("Cookie: __Host-session="+aliceToken+"\r\n", "Sec-Fetch-Site: same-site\r\n"), problem.AuthCrossSite},
	} {
		got := d.raw(c.request)
		if strings.HasPrefix(c.request, "HEAD") {
			got.body = `"urn:sallyport:reason:` + c.want.Code() + `"` // it has none
		}
		d.refused(c.name, got, c.want)
		if c.want == problem.RequestUpgrade && (got.header.Get("Sec-Websocket-Version") != "13" || !got.closed) {
			t.Errorf("%s: version %q, closed %v", c.name, got.header.Get("Sec-Websocket-Version"), got.closed)
		}
	}
	for _, http2 := range []bool{true} {
		d.refused("HTTP/2", d.do(d.client(http2), "GET", "/socket", ""), problem.RequestUpgrade)
	}
	if n := len(s.Requests); n != 0 {
		t.Errorf("the service got %d requests", n)
	}
	for name, fields := range map[string][]string{ // the twins that are let in
		"cookie from our own page":    {"Cookie: __Host-session=" + aliceToken + "\r\n", "Origin: https://shop.example\r\n", "Sec-Fetch-Site: same-origin\r\n"},
		"bearer from another site":    {"Authorization: Bearer " + aliceToken + "\r\n", "Origin: https://evil.example\r\n"},
		"nobody from another site":    {"Origin: https://evil.example\r\n"},
		"cookie and no word of where": {"Cookie: __Host-session=" + aliceToken + "\r\n"},
	} {
		t.Run(name, func(t *testing.T) { c := d.open(fields...); c.says(t, "x", "x"); _ = c.Close() })
	}
}

// On other routes nothing is upgraded, whatever is asked and whatever is said.
func TestNoUpgradeElsewhere(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("plain")))
	d := openDoor(t, []*zone.Route{anything("GET")}, behind(s))
	got := d.raw(socketHead("Sec-WebSocket-Protocol: chat\r\n"))
	raw := strings.ToLower(<-s.Requests)
	if got.status != 200 || got.body != "plain" || strings.Contains(raw, "upgrade") || strings.Contains(raw, "websocket") {
		t.Errorf("got %d %q, the service %q", got.status, got.body, raw)
	}
	s = upstreamtest.Listen(t, "tcp", upstreamtest.Always(switching))
	d = openDoor(t, []*zone.Route{anything("GET")}, behind(s))
	d.refused("101 to nobody's question", d.raw(socketHead()), problem.UpstreamProtocol)
}

// What a service may not say to a handshake.
func TestWebSocketAnswers(t *testing.T) {
	swap := func(old, with string) string { return strings.Replace(switching, old, with, 1) }
	asked := []string{"Sec-WebSocket-Protocol: chat\r\n", "Sec-WebSocket-Extensions: permessage-deflate\r\n"}
	for _, c := range []struct {
		name, answer string
		status       int
	}{
		{"control", switching, 101},
		{"with what was offered", swap("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"), 101},
		{"after an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\n" + switching, 101},
		{"wrong accept", swap(socketAccept, acceptOf("another")), 502},
		{"no accept", swap("Sec-WebSocket-Accept: "+socketAccept+"\r\n", ""), 502},
		{"two accepts", swap("\r\n\r\n", "\r\nSec-WebSocket-Accept: "+socketAccept+"\r\n\r\n"), 502},
		{"another protocol", swap("Upgrade: websocket", "Upgrade: h2c"), 502},
		{"no Connection", swap("Connection: Upgrade\r\n", ""), 502},
		{"subprotocol not offered", swap("\r\n\r\n", "\r\nSec-WebSocket-Protocol: soap\r\n\r\n"), 502},
		{"two subprotocols", swap("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n\r\n"), 502},
		{"extension not offered", swap("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x-other\r\n\r\n"), 502},
		{"a length", swap("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n"), 502},
		{"chunks", swap("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n"), 502},
		{"HTTP/1.0", swap("HTTP/1.1", "HTTP/1.0"), 502},
		{"a head without end", "HTTP/1.1 101 Switching Protocols\r\n" + strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 200), 502},
		{"a refusal", "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403},
		{"a page", upstreamtest.Sized("hello"), 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := upstreamtest.Listen(t, "tcp", func(conn *upstreamtest.Conn) {
				if _, ok := conn.Request(); ok {
					conn.Say(c.answer)
					conn.Stay()
				}
			})
			d := openDoor(t, []*zone.Route{socketRoute()}, behind(s))
			if c.status == 101 {
				_ = d.open(asked...).Close()
				return
			}
			got := d.raw(socketHead(asked...))
			if got.status != c.status || !got.closed {
				t.Errorf("got %d %q, closed %v, want %d and closed", got.status, got.body, got.closed, c.status)
			}
			if r := d.last(); r.Kind != journal.KindRequest || r.Status != c.status {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// A client that goes on as if the service had switched reaches nobody: neither as
// the inside of a tunnel nor as a request of its own.
func TestNoTunnelAfterARefusal(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("not switched")))
	d := openDoor(t, []*zone.Route{socketRoute(), anything("POST")}, behind(s))
	for range 3 {
		got := d.raw(socketHead() + "GET /admin HTTP/1.1\r\nHost: inside\r\nX-User-Id: root\r\n\r\n")
		if got.status != 200 || got.body != "not switched" || !got.closed {
			t.Errorf("got %+v", got)
		}
	}
	for range 3 {
		if raw := <-s.Requests; strings.Contains(raw, "/admin") || !strings.HasPrefix(raw, "GET /socket ") {
			t.Errorf("the service got %q", raw)
		}
	}
	if n := len(s.Requests); n != 0 || int(s.Conns.Load()) < 3 {
		t.Errorf("%d more requests; %d connections, want a new one for each handshake", n, s.Conns.Load())
	}
}

// Large messages pass both ways at once, with a fixed buffer between.
func TestWebSocketMovesMuch(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", switches(echo))
	d := openDoor(t, []*zone.Route{socketRoute()}, behind(s))
	c := d.open()
	sent := make([]byte, 4<<20)
	_, _ = rand.Read(sent)
	go func() { _, _ = c.Write(sent); _ = c.CloseWrite() }()
	got, err := io.ReadAll(c.r)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back, %v; want the %d that were sent", len(got), err, len(sent))
	}
	if r := d.endRecord(); r.BytesIn != 4<<20 || r.BytesOut != 4<<20 || r.Reason != "ok" {
		t.Errorf("record %+v", r)
	}
}

// Each end may stop sending and still hear the other.
func TestWebSocketHalfClose(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", switches(func(c *upstreamtest.Conn) {
		all, _ := io.ReadAll(c.R) // to the end of the client
		c.Say("heard " + string(all))
	}))
	d := openDoor(t, []*zone.Route{socketRoute()}, behind(s))
	c := d.open()
	if _, err := io.WriteString(c, "all"); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	if got := c.ended(); got != "heard all" {
		t.Errorf("heard %q", got)
	}
	if r := d.endRecord(); r.Reason != "ok" {
		t.Errorf("record %+v", r)
	}
}

// What a client sends before it has its 101 waits for the service to switch.
func TestWebSocketEarlyBytes(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", switches(echo))
	d := openDoor(t, []*zone.Route{socketRoute()}, behind(s))
	c := d.dial("shop.example", "http/1.1")
	if _, err := io.WriteString(c, socketHead()+"early"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != 101 {
		t.Fatalf("%v, %v", res, err)
	}
	(&socket{Conn: c, r: r}).says(t, " and late", "early and late")
}

// A tunnel ends with its right and with the gateway, at both ends; without a change
// it goes on. Its idle time is longer than this test.
func TestWebSocketEnds(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		end          func(*door, *socket)
	}{
		{"session revoked", "auth.revoked", func(d *door, _ *socket) {
			d.auth.fail(problem.New(problem.AuthRevoked, nil))
			d.gateway.Forget(hashOf(rootToken))
		}},
		{"role taken", "access.role", func(d *door, _ *socket) {
			d.auth.set(rootToken, policy.Principal{Kind: policy.User, Subject: "root", Level: 1})
			d.gateway.ForgetSubject("root")
		}},
		{"drain", "zone.draining", func(d *door, _ *socket) { d.stop() }},
		{"client gone", "ok", func(_ *door, s *socket) { _ = s.Close() }},
		{"client breaks off", "client.closed", func(_ *door, s *socket) {
			_ = s.NetConn().(interface{ SetLinger(int) error }).SetLinger(0)
			_ = s.NetConn().Close()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			over := make(chan struct{})
			s := upstreamtest.Listen(t, "tcp", switches(func(conn *upstreamtest.Conn) { defer close(over); echo(conn) }))
			rt := socketRoute()
			rt.Allow, rt.Roles = zone.AllowUser, []string{"admin"}
			d := openDoor(t, []*zone.Route{rt}, behind(s))
			conn := d.open("Authorization: Bearer " + rootToken + "\r\n")
			conn.says(t, "still here", "still here")
			c.end(d, conn)
			<-over
			if rest := conn.ended(); rest != "" {
				t.Errorf("the client still heard %q", rest)
			}
			if r := d.endRecord(); r.Reason != c.reason || r.BytesIn != 10 || r.BytesOut != 10 {
				t.Errorf("record %+v, want %s", r, c.reason)
			}
			eventually(t, "the place of the connection is free", func() bool { return d.placesUsed() == 0 })
		})
	}
	t.Run("another session revoked", func(t *testing.T) {
		s := upstreamtest.Listen(t, "tcp", switches(echo))
		d := openDoor(t, []*zone.Route{socketRoute()}, behind(s))
		conn := d.open("Authorization: Bearer " + rootToken + "\r\n")
		d.gateway.Forget(hashOf(aliceToken))
		d.gateway.ForgetSubject("alice")
		conn.says(t, "still here", "still here")
	})
}

// A tunnel in which nobody speaks ends with the idle time, and not before.
func TestWebSocketSilence(t *testing.T) {
	inBubble(t, func(t *testing.T, d *slowDoor) {
		c := d.dial("http/1.1")
		_, _ = io.WriteString(c, socketHead())
		conn := &socket{Conn: c, r: bufio.NewReader(c)}
		if head, err := http.ReadResponse(conn.r, nil); err != nil || head.StatusCode != 101 {
			t.Fatalf("%v, %v", head, err)
		}
		idle := testLimits().Idle
		for range 3 {
			conn.says(t, "still here", "still here")
			time.Sleep(idle - time.Second)
		}
		start := time.Now()
		if rest := conn.ended(); rest != "" {
			t.Errorf("the client still heard %q", rest)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("it ended %v after the silence was to", took-time.Second)
		}
		synctest.Wait()
		if r := d.last(); r.Kind != journal.KindEnd || r.Reason != "upstream.timeout" || r.BytesIn != 30 || r.BytesOut != 30 {
			t.Errorf("record %+v", r)
		}
		_ = c.Close()
	}, func(cfg *Config) {
		_, cfg.Upstream.Dial = upstreamtest.Pipe(switches(echo))
		rt := socketRoute()
		rt.Listener, rt.Service = "public", cfg.Zone.Services[0]
		cfg.Zone.Services[0].Routes = append(cfg.Zone.Services[0].Routes, rt)
	})
}

// Without an open record there is no tunnel.
func TestWebSocketIsNotRecorded(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", switches(echo))
	d := openDoor(t, []*zone.Route{socketRoute()}, behind(s), func(c *Config) {
		c.Journal = &watchedJournal{c.Journal.(*fakeJournal), func(*journal.Record) error { return errTest }}
	})
	got := d.raw(socketHead())
	if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "journal.unavailable") {
		t.Errorf("got %d %q", got.status, got.body)
	}
}
