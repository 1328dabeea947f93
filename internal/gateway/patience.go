package gateway

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// patience saves the system calls that net/http spends on each request of a
// connection where nothing else happens: it sets the deadline of reads six
// times, and reads one byte in the background to learn whether the client went
// away, mostly to be told to stop a moment later.
//
// Deadlines are written down, and given to the socket when a read may wait there.
// The read in the background begins when the handler has taken its time.
type patience struct {
	mu     sync.Mutex
	wanted time.Time     // guarded by mu; as net/http set it
	set    time.Time     // guarded by mu; as the socket has it
	real   bool          // guarded by mu; a read is in the socket: deadlines go there at once
	parked bool          // guarded by mu; a read in the background waits for its time
	wake   chan struct{} // has room for one: who calls the parked read off puts it there
}

// deadlineSlack is by how much the socket's deadline may be earlier than the one
// that is wanted: it need not be set anew for each request.
const deadlineSlack = time.Second

// SetReadDeadline notes the deadline of reads.
func (w *watched) SetReadDeadline(at time.Time) error {
	p := &w.patience
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = at
	switch {
	case p.real:
		p.set = at
		return w.Conn.SetReadDeadline(at)
	case p.parked && passed(at):
		p.parked = false
		p.wake <- struct{}{}
	}
	return nil
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (w *watched) SetDeadline(at time.Time) error {
	if err := w.SetReadDeadline(at); err != nil {
		return err
	}
	return w.Conn.SetWriteDeadline(at)
}

func passed(at time.Time) bool { return !at.IsZero() && !at.After(time.Now()) }

// Read reads from the client. One byte during a handler's time is net/http's
// read in the background (or the last of a body, which then waits a moment too).
func (w *watched) Read(b []byte) (int, error) {
	p := &w.patience
	p.mu.Lock()
	if len(b) == 1 && w.conn.handling.Load() && !w.park() {
		p.mu.Unlock()
		return 0, os.ErrDeadlineExceeded
	}
	if early := p.wanted.Sub(p.set); p.wanted.IsZero() != p.set.IsZero() || early < 0 || early > deadlineSlack {
		p.set = p.wanted
		if err := w.Conn.SetReadDeadline(p.set); err != nil {
			p.mu.Unlock()
			return 0, err
		}
	}
	p.real = true
	p.mu.Unlock()
	n, err := w.Conn.Read(b)
	p.mu.Lock()
	p.real = false
	p.mu.Unlock()
	return n, err
}

// park waits until the handler has taken its time, and reports false when the
// read was called off before. The caller holds the lock.
func (w *watched) park() bool {
	p := &w.patience
	if passed(p.wanted) {
		return false
	}
	p.parked = true
	p.mu.Unlock()
	var calledOff bool
	select {
	case <-p.wake:
		calledOff = true
	case <-w.beat.next():
	}
	p.mu.Lock()
	if !calledOff && !p.parked { // called off in the same moment
		<-p.wake
		calledOff = true
	}
	p.parked = false
	return !calledOff
}

// beat is what patient reads wait for: a channel that is closed at its next tick.
type beat struct {
	now atomic.Pointer[chan struct{}]
}

// beatTime is how much later than without patience a client that went away may
// be noticed.
const beatTime = 100 * time.Millisecond

func newBeat() *beat {
	b := new(beat)
	c := make(chan struct{})
	b.now.Store(&c)
	return b
}

func (b *beat) next() <-chan struct{} { return *b.now.Load() }

// run ticks until ctx ends, and lets go of who waits then.
func (b *beat) run(ctx context.Context) {
	tick := time.NewTicker(beatTime)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		c := make(chan struct{})
		if ctx.Err() != nil {
			close(c) // for those who come after
		}
		close(*b.now.Swap(&c))
	}
}
