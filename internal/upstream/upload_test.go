package upstream

import (
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
	"sallyport.dev/internal/upstream/upstreamtest"
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

func (b *scriptBody) Retire() { b.once.Do(func() { close(b.thrown) }) }

// What the client sent arrives byte for byte, in one framing that is ours.
func TestUploadArrives(t *testing.T) {
	for _, size := range []int{1, 5, aheadLimit, aheadLimit + 1, pieceSize, 3*pieceSize + 17} {
		text := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		for _, known := range []bool{true, false} {
			what := fmt.Sprintf("%d bytes, known %v", size, known)
			s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok")))
			set := newTestSet(t, Config{}, s)
			for range 2 { // the connection is clean afterwards
				length := int64(-1)
				if known {
					length = int64(size)
				}
				wantServed(t, what, send(set, someRequest("POST", "/").with(newTestBody(text), length)), "ok")
				raw := <-s.Requests
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
			if n := s.Conns.Load(); n != 1 {
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
			s := upstreamtest.Listen(t, "tcp", func(conn *upstreamtest.Conn) {
				all, _ := io.ReadAll(conn.R)
				seen <- string(all)
			})
			set := newTestSet(t, Config{}, s)
			b := newScriptBody()
			b.end = c.err
			b.pieces <- "half"
			close(b.pieces)
			wantReason(t, what, send(set, someRequest("POST", "/").with(b, length)), c.want)
			if length == 10 { // read ahead: nothing of it has left
				if n := s.Conns.Load(); n != 0 {
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
		s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) {
			if c.N > 0 {
				upstreamtest.Always(upstreamtest.Sized("ok"))(c)
				return
			}
			c.Head()
			c.Say("HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
			c.Stay()
		})
		set := newTestSet(t, Config{}, s)
		length := int64(-1)
		if known {
			length = 1 << 20
		}
		b := newScriptBody()
		b.pieces <- "some" // and no more
		got := send(set, someRequest("POST", "/").with(b, length))
		if got.reason != problem.OK || got.status != 413 || got.body != "large" {
			t.Errorf("known %v: got %d %q, %v", known, got.status, got.body, got.err)
		}
		select {
		case <-b.thrown:
		default:
			t.Errorf("known %v: the body was not retired", known)
		}
		wantServed(t, "control", send(set, someRequest("GET", "/")), "ok")
	}
}

// Any other early answer waits for the body: HTTP/1.1 clients speak first.
func TestEarlyAnswer(t *testing.T) {
	answered := make(chan bool)
	s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) {
		head, _ := c.Head()
		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		close(answered)
		rest := make([]byte, 1<<20)
		if _, err := io.ReadFull(c.R, rest); err == nil {
			c.Service.Requests <- head
		}
		c.Stay()
	})
	set := newTestSet(t, Config{}, s)
	b := newScriptBody()
	go func() {
		<-answered
		for range 1 << 20 / 1024 {
			b.pieces <- strings.Repeat("x", 1024)
		}
		close(b.pieces)
	}()
	wantServed(t, "early", send(set, someRequest("POST", "/").with(b, 1<<20)), "ok")
	<-s.Requests // it received the whole body
}

// A service that stops reading is cut off, and one that says why is heard.
func TestServiceStopsReading(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(*upstreamtest.Conn)
		want  problem.Reason
		state int
	}{
		{"control", upstreamtest.Always(upstreamtest.Sized("ok")), problem.OK, 200},
		{"stands still", func(c *upstreamtest.Conn) { c.Head(); time.Sleep(time.Hour) }, problem.UpstreamTimeout, 0},
		{"reads all and says nothing", func(c *upstreamtest.Conn) { c.Request(); c.Stay() }, problem.UpstreamTimeout, 0},
		{"closes", func(c *upstreamtest.Conn) { c.Head() }, problem.UpstreamProtocol, 0},
		{"answers and stands still", func(c *upstreamtest.Conn) {
			c.Head()
			c.Say("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
			time.Sleep(time.Hour)
		}, problem.OK, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := upstreamtest.Pipe(c.serve)
				set := newTestSet(t, Config{Dial: dial}, s)
				defer s.Serving.Wait()
				defer set.Close()
				body := newTestBody(strings.Repeat("x", 1<<20))
				body.retired = make(chan struct{})
				start := time.Now()
				got := send(set, someRequest("POST", "/").with(body, 1<<20))
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
		s, dial := upstreamtest.Pipe(func(c *upstreamtest.Conn) {
			c.Request()
			time.Sleep(29 * time.Second)
			c.Say(upstreamtest.Sized("ok"))
			c.Stay()
		})
		set := newTestSet(t, Config{Dial: dial}, s)
		defer s.Serving.Wait()
		defer set.Close()
		b := newScriptBody()
		go func() {
			for range 20 {
				time.Sleep(20 * time.Second)
				b.pieces <- "piece"
			}
			close(b.pieces)
		}()
		wantServed(t, "slow upload", send(set, someRequest("POST", "/").with(b, -1)), "ok")
	})
}
