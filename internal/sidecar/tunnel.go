package sidecar

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/upstream"
)

// far is the end of a tunnel that took a WebSocket: the service, or the callee of
// a call of it.
type far interface {
	io.ReadWriter
	CloseWrite() error
	Cut() // closes it under whoever reads or writes
}

// tunnel moves bytes both ways between who asked for a WebSocket and who took it,
// until both directions have ended or one has broken. It knows nothing of frames.
type tunnel struct {
	far    far
	sender net.Conn
	rest   time.Duration // that one may be silent once the other has ended
	idle   atomic.Int64  // nanoseconds that both may be silent
	last   atomic.Int64  // unix nanoseconds of the last byte
	over   sync.Once
}

// answerTunnel gives the service's 101 and what follows it. The connection is the
// guard's to end as well: with its certificates, and when the map takes the right.
func (d *inbound) answerTunnel(ctx context.Context, w http.ResponseWriter, x *upstream.Exchange) error {
	_, err := openTunnel(ctx, w, x.Header, x, d.cfg.StreamIdle, d.cfg.TunnelRest)
	return err
}

// openTunnel gives the 101 with the fields that go on, and moves what follows it
// until the tunnel ends, with ctx at the latest. It returns why nothing more came
// from the far end; err: there is no tunnel, and nothing was answered.
func openTunnel(ctx context.Context, w http.ResponseWriter, from http.Header, to far, idle, rest time.Duration) (why, err error) {
	head := switching(from)
	sender, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	early, _ := buffered.Peek(buffered.Reader.Buffered()) // as much as is there never fails
	t := &tunnel{far: to, sender: sender, rest: rest}
	t.idle.Store(int64(idle))
	t.touch()
	watch := time.NewTimer(idle)
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { t.watch(watch, done) })
	defer func() { close(done); watcher.Wait(); t.cut() }()
	// The guard ends the context when it drains, and leaves time for a farewell. Who
	// knows nothing of frames has none to say.
	stop := context.AfterFunc(ctx, t.cut)
	defer stop()
	if _, err := sender.Write(head); err != nil {
		return nil, nil
	}
	inward := make(chan struct{})
	go func() {
		defer close(inward)
		_ = t.move(to, io.MultiReader(bytes.NewReader(early), sender), to.CloseWrite)
	}()
	why = t.move(sender, to, func() error { return closeWrite(sender) })
	<-inward
	return why, nil
}

// switching is the head of the 101.
func switching(from http.Header) []byte {
	h := make(http.Header)
	outward(h, from)
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	for _, name := range []string{"Accept", "Protocol", "Extensions"} {
		if v := from["Sec-Websocket-"+name]; v != nil {
			delete(h, "Sec-Websocket-"+name)
			h["Sec-WebSocket-"+name] = v // as RFC 6455 spells it: some clients compare bytes
		}
	}
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.Write(&head) // into memory
	head.WriteString("\r\n")
	return head.Bytes()
}

// move moves one direction and tells its end. It returns the fault of a read.
func (t *tunnel) move(to io.Writer, from io.Reader, end func() error) error {
	buf := piecePool.Get().(*[pieceSize]byte)
	defer piecePool.Put(buf)
	for {
		n, err := from.Read(buf[:])
		if n > 0 {
			t.touch()
			if _, werr := to.Write(buf[:n]); werr != nil {
				t.cut()
				return nil
			}
		}
		switch {
		case err == nil:
		case err != io.EOF:
			t.cut()
			return err
		case end() != nil: // all or nothing
			t.cut()
			return nil
		default:
			t.idle.Store(int64(t.rest))
			return nil
		}
	}
}

// watch cuts a tunnel that is silent for its time, until done.
func (t *tunnel) watch(timer *time.Timer, done <-chan struct{}) {
	defer timer.Stop()
	for {
		select {
		case <-done:
			return
		case <-timer.C:
		}
		left := time.Duration(t.last.Load() + t.idle.Load() - time.Now().UnixNano())
		if left <= 0 {
			t.cut()
			return
		}
		timer.Reset(left)
	}
}

func (t *tunnel) touch() { t.last.Store(time.Now().UnixNano()) }

// cut ends both directions, from any goroutine.
func (t *tunnel) cut() {
	t.over.Do(func() {
		t.far.Cut()
		_ = t.sender.Close() // it is over
	})
}

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}
