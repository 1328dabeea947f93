package guard

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

const (
	streamIdle  = 2 * time.Minute // that a stream may be silent in both directions
	streamGrace = time.Second     // for the farewell of a stream, when the server drains
)

var (
	errQuiet    = errors.New("guard: the stream was silent for too long")
	errDraining = errors.New("guard: the server drains")
	errEnded    = errors.New("guard: the stream is over")
)

// stream is a request of a stream route that is under way. It ends with its
// handler, with its connection, when it is silent for too long, and when a new map
// does not allow it any more.
type stream struct {
	g      *Guard
	kind   zone.Stream
	in     *inbound
	head   *http.Request // as it was judged
	cancel context.CancelCauseFunc
	w      *http.ResponseController
	idle   time.Duration
	last   atomic.Int64 // unix nanoseconds of the last byte, either way
	spoke  atomic.Bool  // its answer has begun
	taken  atomic.Bool  // its connection was, and counts in serving
	forget sync.Once
	gone   chan struct{} // closed when it is over
	timer  *time.Timer   // bounds the silence

	mu   sync.Mutex
	conn net.Conn // guarded by mu; nil: not taken over
	cut  error    // guarded by mu; why it was ended before its handler was done
	done bool     // guarded by mu; the handler is
}

// streams are those that are under way.
type streams struct {
	mu   sync.Mutex
	open map[*stream]struct{} // guarded by mu
}

// begin opens a stream. The context ends with it.
func (g *Guard) begin(ctx context.Context, w http.ResponseWriter, head *http.Request, in *inbound, ru *rule) (*stream, context.Context) {
	s := &stream{g: g, gone: make(chan struct{}), kind: ru.route.Stream, in: in, head: head, w: http.NewResponseController(w), idle: g.cfg.StreamIdle}
	ctx, s.cancel = context.WithCancelCause(ctx)
	s.touch()
	wait := make(chan struct{})
	s.timer = time.AfterFunc(s.idle, func() { <-wait; s.quiet() })
	close(wait)
	g.streams.mu.Lock()
	defer g.streams.mu.Unlock()
	if g.streams.open == nil {
		g.streams.open = make(map[*stream]struct{})
	}
	g.streams.open[s] = struct{}{}
	if sv := servingFrom(ctx); sv != nil {
		go s.leave(sv)
	}
	return s, ctx
}

// finish ends a stream whose handler has returned; one whose connection was taken
// over lives on until that is closed. An answer that was cut must not look whole.
func (g *Guard) finish(s *stream) {
	s.mu.Lock()
	cut, taken := s.cut, s.conn
	s.done = taken == nil
	s.mu.Unlock()
	if taken != nil {
		return
	}
	s.release()
	s.cancel(errEnded)
	if cut != nil {
		panic(http.ErrAbortHandler)
	}
}

// release forgets a stream that is over. It may be called again.
func (s *stream) release() {
	s.forget.Do(func() {
		s.g.streams.mu.Lock()
		delete(s.g.streams.open, s)
		s.g.streams.mu.Unlock()
		s.timer.Stop()
		close(s.gone)
	})
}

// review ends the streams that the map in force does not allow any more.
func (g *Guard) review(b *book) (ended int) {
	g.streams.mu.Lock()
	all := make([]*stream, 0, len(g.streams.open))
	for s := range g.streams.open {
		all = append(all, s)
	}
	g.streams.mu.Unlock()
	for _, s := range all {
		if err := b.stillMay(s); err != nil {
			s.end(err)
			ended++
		}
	}
	return ended
}

// stillMay asks again what judge asked of the map when the stream was opened.
func (b *book) stillMay(s *stream) error {
	var values zone.Values
	rt, found := b.matcher.Match(s.head.Method, s.head.URL.EscapedPath(), &values)
	if found != zone.Matched || rt.Stream != s.kind {
		return problem.New(problem.InsideRoute, nil)
	}
	return b.admit(s.head, s.in, b.rules[rt], &values)
}

func (s *stream) touch() { s.last.Store(time.Now().UnixNano()) }

// quiet ends a stream that was silent for its time, and waits on for any other.
func (s *stream) quiet() {
	silent := time.Duration(time.Now().UnixNano() - s.last.Load())
	if silent >= s.idle {
		s.end(errQuiet)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done && s.cut == nil {
		s.timer.Reset(s.idle - silent)
	}
}

// end cuts the stream off, from any goroutine: its context ends, nothing more is
// sent, and who reads from it or writes to it is thrown out.
func (s *stream) end(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done || s.cut != nil {
		return
	}
	s.cut = cause
	s.cancel(cause)
	if s.conn != nil {
		_ = s.conn.Close()
		s.release()
		return
	}
	past := time.Unix(1, 0)
	_ = s.w.SetReadDeadline(past) // a recorder in a test has none
	_ = s.w.SetWriteDeadline(past)
}

// leave ends a stream when its server drains. One that takes a while to say
// farewell has some time for it. A call of gRPC that is yet to be answered is
// finished first, since it may be unary; one that has been answered for a while is
// not.
func (s *stream) leave(sv *serving) {
	defer func() {
		if s.taken.Load() {
			sv.taken.Done()
		}
	}()
	select {
	case <-s.gone:
		return
	case <-sv.drain:
	}
	if s.kind != zone.StreamGRPC {
		s.cancel(errDraining)
	}
	tick := time.NewTicker(streamGrace)
	defer tick.Stop()
	for last := s.kind != zone.StreamGRPC; ; last = last || s.spoke.Load() {
		select {
		case <-s.gone:
			return
		case <-tick.C:
		}
		if last {
			s.end(errDraining)
			<-s.gone
			return
		}
	}
}

// over returns why the stream was ended, nil when it was not.
func (s *stream) over() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

// streamBody is the body of a request that comes for as long as its sender likes.
// What bounds it is the silence, and the life of the connection.
type streamBody struct {
	io.ReadCloser
	s *stream
}

func (b *streamBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.s.touch()
	}
	return n, err
}

// Retire ends the body for good: a Read under way is thrown out (upstream.Body).
func (b *streamBody) Retire() {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	if !b.s.done && b.s.conn == nil {
		_ = b.s.w.SetReadDeadline(time.Unix(1, 0))
	}
}
