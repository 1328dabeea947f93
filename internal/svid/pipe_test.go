package svid

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipe returns the two ends of a connection in memory. Unlike net.Pipe's, a
// write does not wait for its reader, as with a socket; unlike a socket's, a
// waiting read lets the time of a bubble of synctest go on.
func pipe() (net.Conn, net.Conn) {
	a, b := newHalf(), newHalf()
	return &pipeEnd{in: a, out: b}, &pipeEnd{in: b, out: a}
}

// half is one direction.
type half struct {
	mu       sync.Mutex
	buf      []byte        // guarded by mu
	ended    bool          // guarded by mu; no more comes
	deadline time.Time     // guarded by mu; of reads
	changed  chan struct{} // guarded by mu; closed and replaced at every change
}

func newHalf() *half { return &half{changed: make(chan struct{})} }

func (h *half) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *half) read(b []byte) (int, error) {
	for {
		h.mu.Lock()
		n := copy(b, h.buf)
		h.buf = h.buf[n:]
		ended, deadline, changed := h.ended, h.deadline, h.changed
		h.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case ended:
			return 0, io.EOF
		case deadline.IsZero():
			<-changed
			continue
		case !time.Now().Before(deadline):
			return 0, os.ErrDeadlineExceeded
		}
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

type pipeEnd struct {
	in, out *half
	once    sync.Once
}

func (p *pipeEnd) Read(b []byte) (int, error) { return p.in.read(b) }

func (p *pipeEnd) Write(b []byte) (n int, err error) {
	p.out.change(func() {
		if p.out.ended {
			err = net.ErrClosed
			return
		}
		p.out.buf, n = append(p.out.buf, b...), len(b)
	})
	return n, err
}

func (p *pipeEnd) Close() error {
	err := net.ErrClosed
	p.once.Do(func() {
		err = nil
		p.in.change(func() { p.in.ended, p.in.buf = true, nil })
		p.out.change(func() { p.out.ended = true })
	})
	return err
}

func (p *pipeEnd) SetReadDeadline(t time.Time) error {
	p.in.change(func() { p.in.deadline = t })
	return nil
}
func (p *pipeEnd) SetDeadline(t time.Time) error    { return p.SetReadDeadline(t) }
func (p *pipeEnd) SetWriteDeadline(time.Time) error { return nil }
func (p *pipeEnd) LocalAddr() net.Addr              { return &net.UnixAddr{Name: "pipe", Net: "unix"} }
func (p *pipeEnd) RemoteAddr() net.Addr             { return &net.UnixAddr{Name: "pipe", Net: "unix"} }
