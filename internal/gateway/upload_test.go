package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// scriptBody is a client's body of which each piece comes when the test says so.
type scriptBody struct {
	pieces chan string // closed: the body ends
	end    error       // instead of io.EOF
	once   sync.Once
	thrown chan struct{} // closed by retire
}

func newScriptBody() *scriptBody {
	return &scriptBody{pieces: make(chan string, 1), thrown: make(chan struct{})}
}

func (b *scriptBody) Read(p []byte) (int, error) {
	select {
	case s, ok := <-b.pieces:
		if ok {
			return copy(p, s), nil
		}
		if b.end != nil {
			return 0, b.end
		}
		return 0, io.EOF
	case <-b.thrown:
		return 0, os.ErrDeadlineExceeded
	}
}

func (b *scriptBody) retire() { b.once.Do(func() { close(b.thrown) }) }

// What the client sent arrives byte for byte, in one framing that is ours.
func TestUploadArrives(t *testing.T) {
	for _, size := range []int{1, 5, aheadLimit, aheadLimit + 1, pieceSize, 3*pieceSize + 17} {
		text := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		for _, known := range []bool{true, false} {
			what := fmt.Sprintf("%d bytes, known %v", size, known)
			s := newRawService(t, "tcp", always(sized("ok")))
			set := newTestSet(t, upstreamConfig{}, s)
			for range 2 { // the connection is clean afterwards
				length := int64(-1)
				if known {
					length = int64(size)
				}
				wantServed(t, what, someOutgoing("POST", "/").withBody(newTestBody(text), length).send(set), "ok")
				raw := <-s.requests
				r, err := http.ReadRequest(bufioReader(raw))
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				got, err := io.ReadAll(r.Body)
				if err != nil || string(got) != text {
					t.Errorf("%s: %d bytes arrived (%v)", what, len(got), err)
				}
				if known != (r.ContentLength == int64(size)) || known == (len(r.TransferEncoding) > 0) {
					t.Errorf("%s: arrived with length %d and codings %q", what, r.ContentLength, r.TransferEncoding)
				}
			}
			if n := s.conns.Load(); n != 1 {
				t.Errorf("%s: %d connections, want 1", what, n)
			}
		}
	}
}

// A body that the client does not finish is never finished for it: the service
// sees the connection end inside the message, and the reason is the client's.
func TestUploadFailsOutside(t *testing.T) {
	for _, c := range []struct {
		err  error
		want problem.Reason
	}{
		{problem.New(problem.RequestBodyTooLarge, nil), problem.RequestBodyTooLarge},
		{problem.New(problem.RequestTimeout, nil), problem.RequestTimeout},
		{&http.MaxBytesError{Limit: 1}, problem.RequestBodyTooLarge},
		{os.ErrDeadlineExceeded, problem.RequestTimeout},
		{io.ErrUnexpectedEOF, problem.ClientClosed},
		{context.Canceled, problem.ClientClosed},
		{errTest, problem.RequestFraming},
		{nil, problem.ClientClosed}, // ends before its length
	} {
		for _, length := range []int64{10, aheadLimit + 10, -1} {
			if length < 0 && c.err == nil {
				continue
			}
			what := fmt.Sprintf("%v after half of %d", c.err, length)
			seen := make(chan string, 1)
			s := newRawService(t, "tcp", func(conn *rawConn) {
				all, _ := io.ReadAll(conn.br)
				seen <- string(all)
			})
			set := newTestSet(t, upstreamConfig{}, s)
			b := newScriptBody()
			b.end = c.err
			b.pieces <- "half"
			close(b.pieces)
			wantReason(t, what, someOutgoing("POST", "/").withBody(b, length).send(set), c.want)
			if length == 10 { // read ahead: nothing of it has left
				if n := s.conns.Load(); n != 0 {
					t.Errorf("%s: the service was bothered", what)
				}
				continue
			}
			raw := <-seen
			if !strings.Contains(raw, "half") || strings.HasSuffix(raw, "0\r\n\r\n") {
				t.Errorf("%s: the service received %q", what, raw)
			}
			if in := set.instances[0]; in.failures.Load() != 0 || in.outstanding.Load() != 0 {
				t.Errorf("%s: instance has failures %d, outstanding %d", what, in.failures.Load(), in.outstanding.Load())
			}
		}
	}
}

// A refusal that comes before the body is sent is the answer, at once; the rest
// of the body is not read, and the connection is not used again.
func TestEarlyRefusal(t *testing.T) {
	for _, known := range []bool{true, false} {
		s := newRawService(t, "tcp", func(c *rawConn) {
			if c.n > 0 {
				always(sized("ok"))(c)
				return
			}
			c.head()
			c.say("HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
			c.stay()
		})
		set := newTestSet(t, upstreamConfig{}, s)
		length := int64(-1)
		if known {
			length = 1 << 20
		}
		b := newScriptBody()
		b.pieces <- "some" // and no more
		got := someOutgoing("POST", "/").withBody(b, length).send(set)
		if got.reason != problem.OK || got.status != 413 || got.body != "large" {
			t.Errorf("known %v: got %d %q, %v", known, got.status, got.body, got.err)
		}
		select {
		case <-b.thrown:
		default:
			t.Errorf("known %v: the body was not retired", known)
		}
		wantServed(t, "control", someOutgoing("GET", "/").send(set), "ok")
	}
}

// Any other early answer waits for the body: HTTP/1.1 clients speak first.
func TestEarlyAnswer(t *testing.T) {
	answered := make(chan bool)
	s := newRawService(t, "tcp", func(c *rawConn) {
		head, _ := c.head()
		c.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		close(answered)
		rest := make([]byte, 1<<20)
		if _, err := io.ReadFull(c.br, rest); err == nil {
			c.service.requests <- head
		}
		c.stay()
	})
	set := newTestSet(t, upstreamConfig{}, s)
	b := newScriptBody()
	go func() {
		<-answered
		for range 1 << 20 / 1024 {
			b.pieces <- strings.Repeat("x", 1024)
		}
		close(b.pieces)
	}()
	wantServed(t, "early", someOutgoing("POST", "/").withBody(b, 1<<20).send(set), "ok")
	<-s.requests // it received the whole body
}

// A service that stops reading is cut off, and one that says why is heard.
func TestServiceStopsReading(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(*rawConn)
		want  problem.Reason
		state int
	}{
		{"control", always(sized("ok")), problem.OK, 200},
		{"stands still", func(c *rawConn) { c.head(); time.Sleep(time.Hour) }, problem.UpstreamTimeout, 0},
		{"reads all and says nothing", func(c *rawConn) { c.request(); c.stay() }, problem.UpstreamTimeout, 0},
		{"closes", func(c *rawConn) { c.head() }, problem.UpstreamProtocol, 0},
		{"answers and stands still", func(c *rawConn) {
			c.head()
			c.say("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
			time.Sleep(time.Hour)
		}, problem.OK, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := newPipeService(c.serve)
				set := newTestSet(t, upstreamConfig{dial: dial}, s)
				defer s.serving.Wait()
				defer set.Close()
				body := newTestBody(strings.Repeat("x", 1<<20))
				body.retired = make(chan struct{})
				start := time.Now()
				got := someOutgoing("POST", "/").withBody(body, 1<<20).send(set)
				wantReason(t, c.name, got, c.want)
				if got.status != c.state {
					t.Errorf("status %d, want %d", got.status, c.state)
				}
				if took := time.Since(start); took > 31*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// The answer's time begins when the body is sent, however long that took.
func TestSlowUploadIsNotTheServicesFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := newPipeService(func(c *rawConn) {
			c.request()
			time.Sleep(29 * time.Second)
			c.say(sized("ok"))
			c.stay()
		})
		set := newTestSet(t, upstreamConfig{dial: dial}, s)
		defer s.serving.Wait()
		defer set.Close()
		b := newScriptBody()
		go func() {
			for range 20 {
				time.Sleep(20 * time.Second)
				b.pieces <- "piece"
			}
			close(b.pieces)
		}()
		wantServed(t, "slow upload", someOutgoing("POST", "/").withBody(b, -1).send(set), "ok")
	})
}

// The whole way, over both protocols: what is sent arrives, and an early refusal
// is heard.
func TestUploadThroughTheDoor(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 600<<10/16)
	s := newRawService(t, "tcp", func(c *rawConn) {
		for {
			head, ok := c.head()
			if !ok {
				return
			}
			if strings.HasPrefix(head, "POST /refused ") {
				c.say("HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
				c.stay()
				return
			}
			if strings.HasPrefix(head, "POST /broken ") {
				_, _ = io.CopyN(io.Discard, c.br, 100<<10)
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), c.br)))
			if err != nil {
				return
			}
			got, err := io.ReadAll(r.Body)
			if err != nil || string(got) != body {
				c.say("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
				return
			}
			c.say(sized("whole"))
			if r.ContentLength < 0 { // the reader above may have taken what follows
				return
			}
		}
	})
	d := openDoor(t, []*zone.Route{anything("POST")}, behind(s))
	for _, http2 := range []bool{false, true} {
		for _, known := range []bool{true, false} {
			var rd io.Reader = strings.NewReader(body)
			if !known {
				rd = io.MultiReader(rd) // hides the length from net/http
			}
			resp, err := d.client(http2).Post("https://shop.example/taken", "text/plain", rd)
			if err != nil {
				t.Fatalf("http2 %v, known %v: %v", http2, known, err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != 200 || string(got) != "whole" || err != nil {
				t.Errorf("http2 %v, known %v: got %d %q %v", http2, known, resp.StatusCode, got, err)
			}
			if r := d.last(); r.BytesIn != int64(len(body)) || r.Reason != "ok" {
				t.Errorf("http2 %v, known %v: record %+v", http2, known, r)
			}
		}
		// An HTTP/1 client may find the connection closed while it still writes; the
		// record tells what it was told.
		early := func(path string, body io.Reader, status int, reason string) {
			resp, err := d.client(http2).Post("https://shop.example"+path, "text/plain", body)
			if err == nil {
				_ = resp.Body.Close()
			}
			if err != nil && http2 || err == nil && resp.StatusCode != status {
				t.Errorf("%s, http2 %v: got %v %v, want %d", path, http2, resp, err, status)
			}
			if r := d.last(); r.Status != status || r.Reason != reason {
				t.Errorf("%s, http2 %v: record %+v, want %d %s", path, http2, r, status, reason)
			}
		}
		early("/broken", strings.NewReader(body), 502, "upstream.protocol")
		pr, pw := io.Pipe() // a body that never ends
		go func() {
			for {
				if _, err := io.WriteString(pw, "more"); err != nil {
					return
				}
			}
		}()
		early("/refused", pr, 403, "ok")
		_ = pr.Close()
	}
}
