package guard

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// socketMost is how many WebSockets the service may have open at one other. It is
// half of the connections that a guard takes from one service (places): calls find
// room beside them.
const socketMost = 256

var errSockets = errors.New("guard: as many WebSockets to this service as one may have are open")

// sockets are those that are open, or about to be.
type sockets struct {
	mu   sync.Mutex
	open map[*socket]struct{} // guarded by mu
}

// reserve takes a place for a socket before its handshake is sent.
func (g *Guard) reserve(o *outbound) (*socket, error) {
	s := &socket{g: g, to: o.to.name, path: o.request.URL.EscapedPath(), id: o.to.id, asService: o.call.asService, life: o.life}
	if s.life == nil { // it acts for itself
		s.life = context.Background()
	}
	s.ctx, s.cancel = context.WithCancelCause(s.life)
	s.shut = sync.OnceValue(s.close)
	var err error
	if !g.sockets.add(s) {
		err = problem.New(problem.UpstreamBusy, errSockets)
	} else if !g.book.Load().stillCalls(s) {
		// A new map has ended the sockets that it found, which this one was not among
		// when it was judged.
		err = ErrUndeclared
	}
	if err != nil {
		s.drop()
		return nil, err
	}
	return s, nil
}

// add takes a place for a socket; false: there is none.
func (l *sockets) add(s *socket) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for other := range l.open {
		if other.to == s.to {
			n++
		}
	}
	if n >= socketMost {
		return false
	}
	if l.open == nil {
		l.open = make(map[*socket]struct{})
	}
	l.open[s] = struct{}{}
	return true
}

// review ends the sockets that the map in force does not declare any more.
func (l *sockets) review(b *book) (ended int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.open {
		if !b.stillCalls(s) {
			s.cancel(problem.New(problem.InsideCall, ErrUndeclared)) // closes it in a goroutine of its own
			ended++
		}
	}
	return ended
}

// stillCalls asks again what declared asked when the socket was opened.
func (b *book) stillCalls(s *socket) bool {
	to := b.calls.to[s.to]
	if to == nil || to.id != s.id {
		return false
	}
	rt, found := to.matcher.Match(http.MethodGet, s.path, nil)
	if found != zone.Matched {
		return false
	}
	c := to.calls[rt]
	return c.closed == "" && c.stream == zone.StreamWebSocket && c.asService == s.asService
}
