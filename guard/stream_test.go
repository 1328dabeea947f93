package guard

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/zone"
)

const streamShop = `
zone: shop.example
services:
  orders:
    upstream: https://@orders
    embedded: true
    routes:
      GET /ws: {allow: user, stream: websocket}
      GET /kept: {allow: user, stream: websocket}
      GET /mac: user
`

// switching is a handler that takes the connection over and sends back what comes.
func switching(w http.ResponseWriter, _ *http.Request) {
	conn, in, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	go func() { // the handler returns, as that of many a library does
		defer conn.Close()
		_, _ = io.Copy(conn, in.Reader)
	}()
}

func newStreamWorld(t *testing.T) (*world, string) {
	w := newWorld(t, streamShop, time.Now)
	open(w.zone)
	return w, w.open(w.guard("orders", nil), http.HandlerFunc(switching))
}

// open lets the streams of a map in that says they are not enforced.
func open(z *zone.Zone) {
	for _, s := range z.Services {
		for _, rt := range s.Routes {
			rt.NotEnforced = nil
		}
	}
}

// upgrade opens a tunnel as the gateway and says something in it.
func (w *world) upgrade(address, path string) *line {
	w.t.Helper()
	raw, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", address)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.upgradeOver(raw, path)
}

func (w *world) upgradeOver(raw net.Conn, path string) *line {
	w.t.Helper()
	l := w.over(raw, w.ca.Source(w.t, "gateway", time.Now))
	r := message(w.t, "GET", path, w.token("u1"), "")
	r.Header.Del("Content-Digest")
	l.prove(r, httpsig.MAC)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	if _, err := l.conn.Write(append(bytesOf(w.t, r), "early "...)); err != nil {
		w.t.Fatal(err)
	}
	res, err := http.ReadResponse(l.in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		w.t.Fatalf("%s: %v, %v, want 101", path, res, err)
	}
	l.echo("early ")
	return l
}

// echo says whether a text comes back. The beginning may have been sent already.
func (l *line) echo(text string) {
	l.t.Helper()
	if text != "early " {
		if _, err := l.conn.Write([]byte(text)); err != nil {
			l.t.Fatal(err)
		}
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(l.in, got); err != nil || string(got) != text {
		l.t.Fatalf("got %q, %v, want %q", got, err, text)
	}
}

// TestStreamEndsWithItsRoute: a map without its route ends a stream that the
// gateway opened, and no other.
func TestStreamEndsWithItsRoute(t *testing.T) {
	w, address := newStreamWorld(t)
	lost, kept := w.upgrade(address, "/ws"), w.upgrade(address, "/kept")
	lost.echo("one")
	less := w.parse(`
zone: shop.example
services:
  orders:
    upstream: https://127.0.0.1:9002
    embedded: true
    routes:
      GET /kept: {allow: user, stream: websocket}
      GET /mac: user
`)
	open(less)
	w.controls["orders"].set(func(c *fakeControl) { c.slice = w.slice(less, "orders") })
	if _, err := lost.in.ReadByte(); err == nil {
		t.Error("the stream goes on without its route")
	}
	kept.echo("two")
}

// onceFunc is a memory of replicas that the test is.
type onceFunc func() (bool, error)

func (f onceFunc) Once(context.Context, string, time.Duration) (bool, error) { return f() }

// TestStreamOfTheMapBefore: a stream that was judged by one map and begins under
// the next, which has not its route, does not begin: the change has ended the
// streams that it found, and this one was not among them.
func TestStreamOfTheMapBefore(t *testing.T) {
	const text = `
zone: shop.example
services:
  orders:
    upstream: https://127.0.0.1:9002
    embedded: true
    routes:
      GET /mac: user
      GET /live: {allow: user, stream: sse, proof: signature}
`
	for _, c := range []struct{ after, want string }{
		{strings.Replace(text, "GET /mac: user", "GET /mac: key", 1), "200"},
		{strings.Replace(text, "GET /live: {allow: user", "GET /live: {allow: key", 1), "access.kind"},
		{text[:strings.Index(text, "      GET /live")], "inside.route"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, text, time.Now)
			after := w.parse(c.after)
			open(w.zone)
			open(after)
			g := w.guard("orders", func(cfg *Config) {
				cfg.Replays = onceFunc(func() (bool, error) { // the last that judges
					w.controls["orders"].set(func(c *fakeControl) { c.slice = w.slice(after, "orders") })
					time.Sleep(time.Second)
					return true, nil
				})
			})
			p := newPipes()
			w.serve(g, p, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			l := w.over(p.dial(), w.ca.Source(t, "gateway", time.Now))
			r := message(t, "GET", "/live", w.token("u1"), "")
			r.Header.Del("Content-Digest")
			before := g.book.Load().slice
			if got := l.send(bytesOf(t, l.prove(r, httpsig.Signature))); got != c.want || g.book.Load().slice == before {
				t.Errorf("got %s, want %s of the new map", got, c.want)
			}
		})
	}
}

func TestSilentStreamIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, strings.Replace(streamShop, "@orders", "127.0.0.1:9002", 1), time.Now)
		open(w.zone)
		p := newPipes()
		w.serve(w.guard("orders", nil), p, http.HandlerFunc(switching))
		l := w.upgradeOver(p.dial(), "/ws")
		for _, pause := range []time.Duration{streamIdle * 2 / 5, streamIdle - time.Second} {
			time.Sleep(pause)
			l.echo("still here")
		}
		last := time.Now()
		if _, err := l.in.ReadByte(); err == nil || time.Since(last) != streamIdle {
			t.Errorf("a stream that says nothing: %v after %s", err, time.Since(last))
		}
	})
}

// TestNoHijackElsewhere: what is no stream keeps its connection.
func TestNoHijackElsewhere(t *testing.T) {
	w, address := newStreamWorld(t)
	l := w.dial(address, w.ca.Source(t, "gateway", time.Now))
	if got := l.send(bytesOf(t, l.prove(message(t, "GET", "/mac", w.token("u1"), ""), httpsig.MAC))); got != "418" {
		t.Errorf("got %s, want 418: no Hijack", got)
	}
}
