package gateway

import (
	"bytes"
	"crypto/tls"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is a client of HTTP/2 that does only what it is told.
type frames struct {
	t    *testing.T
	conn *tls.Conn
	mu   sync.Mutex // guards the framer's writing half and what follows
	fr   *http2.Framer
	enc  *hpack.Encoder
	buf  bytes.Buffer
	read chan seen // what the door sends; closed at its end
}

// seen is what a test wants to know of a frame.
type seen struct {
	stream uint32
	kind   http2.FrameType
	status string // of HEADERS
	length uint32 // of DATA
	end    bool
}

func (d *slowDoor) frames(t *testing.T, settings ...http2.Setting) *frames {
	t.Helper()
	f := &frames{t: t, conn: d.dial("h2"), read: make(chan seen, 10000)}
	f.fr, f.enc = http2.NewFramer(f.conn, f.conn), hpack.NewEncoder(&f.buf)
	f.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	go f.listen()
	_, _ = io.WriteString(f.conn, http2.ClientPreface)
	f.send(func(fr *http2.Framer) error { return fr.WriteSettings(settings...) })
	return f
}

// listen reads all the time: a pipe holds nothing.
func (f *frames) listen() {
	defer close(f.read)
	for {
		fr, err := f.fr.ReadFrame()
		if err != nil {
			return
		}
		s := seen{stream: fr.Header().StreamID, kind: fr.Header().Type, length: fr.Header().Length}
		switch fr := fr.(type) {
		case *http2.PingFrame:
			if data := fr.Data; !fr.IsAck() {
				go f.send(func(fr *http2.Framer) error { return fr.WritePing(true, data) })
			}
		case *http2.MetaHeadersFrame:
			s.status, s.end = fr.PseudoValue("status"), fr.StreamEnded()
		case *http2.DataFrame:
			s.end = fr.StreamEnded()
		}
		f.read <- s
	}
}

func (f *frames) send(write func(*http2.Framer) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = write(f.fr) // what comes back tells
}

func (f *frames) data(stream uint32, n int, end bool) {
	f.send(func(fr *http2.Framer) error { return fr.WriteData(stream, end, make([]byte, n)) })
}

func (f *frames) head(stream uint32, method, path string, end bool) {
	f.send(func(fr *http2.Framer) error {
		f.buf.Reset()
		for _, h := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "shop.example"}, {":path", path}} {
			_ = f.enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
		}
		return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.buf.Bytes(), EndStream: end, EndHeaders: true})
	})
}

// until returns the next frame of a kind on a stream, or the one that ends it;
// nothing when the connection ends.
func (f *frames) until(stream uint32, kind http2.FrameType) seen {
	for s := range f.read {
		if s.stream == stream && (s.kind == kind || s.kind == http2.FrameRSTStream || s.end) {
			return s
		}
	}
	return seen{}
}

func TestSlowReaderHTTP2(t *testing.T) {
	inBubble(t, func(t *testing.T, d *slowDoor) {
		f := d.frames(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}) // takes no byte of a body
		began := time.Now()
		f.head(1, "GET", "/large", true)
		if got := f.until(1, http2.FrameRSTStream); got.kind != http2.FrameRSTStream {
			t.Errorf("got %+v, want the stream reset", got)
		}
		if took := time.Since(began); took < readerGrace || took > 3*readerGrace {
			t.Errorf("reset after %v", took)
		}
		f.head(3, "POST", "/users", true) // a small answer: its head can leave, its body cannot
		if got := f.until(3, http2.FrameHeaders); got.status != "401" {
			t.Errorf("got %+v, want the connection to serve on", got)
		}
		for i, path := range []string{"/stream", "/stream?small"} { // and neither can what is flushed
			stream := uint32(5 + 2*i)
			f.head(stream, "GET", path, true)
			if got := f.until(stream, http2.FrameHeaders); got.status != "200" {
				t.Errorf("%s: got %+v", path, got)
			}
		}
		began = time.Now()
		got := f.until(3, http2.FrameRSTStream)
		if took := time.Since(began); got.kind != http2.FrameRSTStream || took > 2*readerGrace {
			t.Errorf("a small answer: got %+v after %v", got, took)
		}
		reset := map[uint32]bool{}
		for s := range f.read {
			if s.kind == http2.FrameRSTStream {
				reset[s.stream] = true
			}
			if reset[5] && reset[7] {
				break
			}
		}
		if took := time.Since(began); !reset[5] || !reset[7] || took > 2*readerGrace {
			t.Errorf("streams reset %v after %v", reset, took)
		}
		_ = f.conn.Close()
	})
}

func TestSlowBodyHTTP2(t *testing.T) {
	inBubble(t, func(t *testing.T, d *slowDoor) {
		f := d.frames(t)
		began := time.Now()
		f.head(1, "POST", "/sink", false)
		if got := f.until(1, http2.FrameHeaders); got.status != "408" || time.Since(began) > 7*time.Second {
			t.Errorf("no body: got %+v after %v, want 408 after 5s", got, time.Since(began))
		}
		// The connection serves on: at the rate, and longer than any one deadline.
		f.head(3, "POST", "/sink", false)
		for range 60 {
			time.Sleep(time.Second)
			f.data(3, 1<<10, false)
		}
		f.data(3, 0, true)
		if got := f.until(3, http2.FrameHeaders); got.status != "200" {
			t.Errorf("at the rate: got %+v, want 200", got)
		}
		// A body that the client takes back.
		f.head(7, "POST", "/sink", false)
		f.data(7, 10, false)
		synctest.Wait()
		f.send(func(fr *http2.Framer) error { return fr.WriteRSTStream(7, http2.ErrCodeCancel) })
		synctest.Wait()
		if rec := d.last(); rec.Reason != "client.closed" {
			t.Errorf("taken back: record %+v", rec)
		}
		// A handler that pauses takes nothing away from the client.
		f.head(9, "POST", "/thinks", false)
		f.data(9, 10, false)
		time.Sleep(time.Minute + time.Second)
		f.data(9, 90, true)
		if got := f.until(9, http2.FrameHeaders); got.status != "200" {
			t.Errorf("a slow handler: got %+v, want 200", got)
		}
		_ = f.conn.Close()
	})
}

// TestQuietStream: minutes between two events are no slowness of the client.
func TestQuietStream(t *testing.T) {
	inBubble(t, func(t *testing.T, d *slowDoor) {
		f := d.frames(t)
		f.head(1, "GET", "/stream", true)
		n := 0
		for {
			got := f.until(1, http2.FrameData)
			if got.kind == http2.FrameData {
				n += int(got.length)
			}
			if got.kind != http2.FrameData || got.end {
				if got.kind != http2.FrameData || n != 3*len(anEvent) {
					t.Errorf("HTTP/2: %d bytes of %d, then %+v", n, 3*len(anEvent), got)
				}
				break
			}
		}
		_ = f.conn.Close()
	})
	inBubble(t, func(t *testing.T, d *slowDoor) {
		c := d.dial("http/1.1")
		_, _ = io.WriteString(c, "GET /stream HTTP/1.1\r\nHost: shop.example\r\n\r\n")
		status, body, err := oneAnswer(c)
		if status != 200 || err != nil || body != strings.Repeat(anEvent, 3) {
			t.Errorf("HTTP/1.1: got %d, %d bytes, %v", status, len(body), err)
		}
		_ = c.Close()
	})
}

// TestDrainHTTP2: the stream under way is served, and one that is opened while
// the door drains is not: net/http has said so by GOAWAY.
func TestDrainHTTP2(t *testing.T) {
	inBubble(t, func(t *testing.T, d *slowDoor) {
		f := d.frames(t)
		f.head(1, "POST", "/sink", false)
		f.head(3, "POST", "/users", true)
		if got := f.until(3, http2.FrameHeaders); got.status != "401" {
			t.Errorf("before: got %+v, want 401", got)
		}
		synctest.Wait() // the first waits for its body
		d.stop()
		synctest.Wait()
		f.head(5, "POST", "/users", true)
		f.data(1, 10, true)
		if got := f.until(1, http2.FrameHeaders); got.status != "200" {
			t.Errorf("the one under way: got %+v, want 200", got)
		}
		if got := f.until(5, http2.FrameHeaders); got.status != "" && got.status != "503" {
			t.Errorf("while draining: got %+v", got)
		}
		_ = f.conn.Close()
	})
}
