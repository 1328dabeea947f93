package gateway

import (
	"bufio"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

func socketRoute() *zone.Route {
	return &zone.Route{Method: "GET", Path: "/socket", Allow: zone.AllowAnonymous | zone.AllowUser, Stream: zone.StreamWebSocket}
}

const (
	socketKey    = "dGhlIHNhbXBsZSBub25jZQ==" // of RFC 6455 section 1.3
	socketAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	socketFields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + socketKey + "\r\n"
	switching    = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + socketAccept + "\r\n\r\n"
)

// socketHead is a handshake with more fields, each with its end of line.
func socketHead(more ...string) string {
	return "GET /socket HTTP/1.1\r\nHost: shop.example\r\n" + socketFields + strings.Join(more, "") + "\r\n"
}

// switches is a service that takes the handshake and then does what the test wants.
func switches(then func(*upstreamtest.Conn)) func(*upstreamtest.Conn) {
	return func(c *upstreamtest.Conn) {
		if _, ok := c.Request(); !ok {
			return // a health check
		}
		if c.Say(switching) {
			then(c)
		}
	}
}

// echo sends back what comes, and ends when the other side does.
func echo(c *upstreamtest.Conn) { _, _ = io.Copy(c, c.R) }

// socket is a client with an open tunnel.
type socket struct {
	*tls.Conn
	r    *bufio.Reader
	head *http.Response
}

// open opens a tunnel, and fails when the answer is another.
func (d *door) open(more ...string) *socket {
	d.t.Helper()
	c := d.dial("shop.example", "http/1.1")
	if _, err := io.WriteString(c, socketHead(more...)); err != nil {
		d.t.Fatal(err)
	}
	s := &socket{Conn: c, r: bufio.NewReader(c)}
	var err error
	if s.head, err = http.ReadResponse(s.r, nil); err != nil {
		d.t.Fatal(err)
	}
	if s.head.StatusCode != 101 {
		body, _ := io.ReadAll(s.head.Body)
		d.t.Fatalf("got %d %s, want 101", s.head.StatusCode, body)
	}
	return s
}

// says sends, and wants the answer.
func (s *socket) says(t *testing.T, text, want string) {
	t.Helper()
	if _, err := io.WriteString(s, text); err != nil {
		t.Fatal(err)
	}
	s.hears(t, want)
}

func (s *socket) hears(t *testing.T, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s.r, got); err != nil || string(got) != want {
		t.Fatalf("heard %q, %v, want %q", got, err, want)
	}
}

// ended waits for the end of the tunnel and returns what was still said.
func (s *socket) ended() string {
	rest, _ := io.ReadAll(s.r) // an end or a reset: both are one
	return string(rest)
}

// endRecord waits for the record of a stream's end.
func (d *door) endRecord() journal.Record {
	d.t.Helper()
	var r journal.Record
	eventually(d.t, "the record of the end", func() bool {
		all := d.journal.all()
		if len(all) == 0 {
			return false
		}
		r = all[len(all)-1]
		return r.Kind == journal.KindEnd
	})
	return r
}

func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
