package gateway

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

// zeros is a body that costs nothing.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), z.left))
	clear(p[:n])
	z.left -= int64(n)
	return n, nil
}

// heapWhile is by how much the heap in use grows at most while work is running.
func heapWhile(work func(look func())) uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, uint64(0)
	work(func() {
		runtime.GC()
		runtime.ReadMemStats(&m)
		if m.HeapAlloc > before {
			most = max(most, m.HeapAlloc-before)
		}
	})
	return most
}

// A large body passes either way in constant memory, over both protocols, where the
// listener permits it; one byte more than that is refused. (With size at 1 GiB it
// passes just so, in sixteen times the time.)
func TestLargeBodies(t *testing.T) {
	const size = 64 << 20
	s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) {
		head, ok := c.Head()
		if !ok {
			return
		}
		if strings.HasPrefix(head, "GET ") {
			c.Say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size))
			_, _ = io.Copy(c, &zeros{size})
			return
		}
		got, _ := io.Copy(io.Discard, io.LimitReader(c.R, size))
		c.Say(upstreamtest.Sized(fmt.Sprint(got)))
	})
	d := openDoor(t, []*zone.Route{anything("GET"), anything("PUT")}, behind(s), func(c *Config) { c.Zone.Listeners[0].Limits.Body = size })
	for _, http2 := range []bool{false, true} {
		c := d.client(http2)
		c.Timeout = 0
		grown := heapWhile(func(look func()) {
			req, _ := http.NewRequest("PUT", "https://shop.example/a", &looking{Reader: &zeros{size}, look: look})
			req.ContentLength = size
			res, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode != 200 || string(body) != fmt.Sprint(size) {
				t.Errorf("up: %d %s", res.StatusCode, body)
			}
			res, err = c.Get("https://shop.example/a")
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, &looking{Reader: res.Body, look: look})
			_ = res.Body.Close()
			if n != size || err != nil {
				t.Errorf("down: %d bytes, %v", n, err)
			}
		})
		if grown > 8<<20 {
			t.Errorf("http2 %v: the heap grew by %d KiB", http2, grown>>10)
		}
		if r := d.last(); r.BytesOut != size {
			t.Errorf("record %+v", r)
		}
	}
	got := d.raw(fmt.Sprintf("PUT /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n", size+1))
	d.refused("a byte more", got, problem.RequestBodyTooLarge)
}

// looking looks at the heap now and then while it is read.
type looking struct {
	io.Reader
	look  func()
	moved int
	next  int
}

func (l *looking) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if l.moved += n; l.moved >= l.next {
		l.look()
		l.next = l.moved + 8<<20
	}
	return n, err
}

// Streams that are open and silent hold little.
func TestManyTunnelsHoldLittle(t *testing.T) {
	const n = 200
	s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) {
		if _, ok := c.Head(); ok && c.Say(switching) {
			echo(c)
		}
	})
	d := openDoor(t, []*zone.Route{socketRoute()}, behind(s))
	cfg := &tls.Config{RootCAs: theCA().pool, ServerName: "shop.example", NextProtos: []string{"http/1.1"}}
	grown := heapWhile(func(look func()) {
		for range n {
			nc, err := net.Dial("tcp", d.addrs["public"])
			if err != nil {
				t.Fatal(err)
			}
			c := tls.Client(nc, cfg)
			t.Cleanup(func() { _ = c.Close() })
			_, _ = io.WriteString(c, socketHead())
			if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 101 {
				t.Fatalf("%v, %v", res, err)
			}
		}
		look()
	})
	if each := grown / n; each > 160<<10 { // of it, client and service are the test's own
		t.Errorf("%d KiB each", each>>10)
	}
}
