package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// instance is one place where a service listens. It is ejected, that is not
// used for a time, when it cannot be dialled or breaks exchanges in a row. The
// time doubles with each ejection until an exchange succeeds.
type instance struct {
	set     *upstreamSet
	scheme  string // http
	network string // tcp, unix
	address string
	url     string // as written in the map

	outstanding atomic.Int32 // requests under way
	unhealthy   atomic.Bool  // the declared health check failed last

	failures  atomic.Int32 // broken exchanges in a row
	ejections atomic.Int32 // in a row; doubles the time
	ejectedAt atomic.Int64 // unix nanoseconds; 0: not ejected
	backAt    atomic.Int64 // when it may be tried again
	probing   atomic.Bool  // the one request of the half-open state is under way

	mu   sync.Mutex
	idle []*wire // guarded by mu; the last used is the last
}

const (
	ejectionFloor = 250 * time.Millisecond
	ejectionCap   = 10 * time.Second
	failuresLimit = 5 // broken exchanges in a row that eject
)

// openness is the state of an instance's breaker.
type openness uint8

const (
	closedBreaker openness = iota // in use
	halfOpen                      // its time is over: one request may try
	ejectedNow
)

func (in *instance) ejection() openness {
	switch back := in.backAt.Load(); {
	case back == 0:
		return closedBreaker
	case in.set.cfg.clock().UnixNano() >= back:
		return halfOpen
	}
	return ejectedNow
}

// succeeded tells that the instance answered an exchange in form.
func (in *instance) succeeded() {
	if in.failures.Load() != 0 {
		in.failures.Store(0)
	}
	if in.backAt.Load() != 0 {
		in.readmit("an exchange succeeded")
	}
}

func (in *instance) readmit(why string) {
	in.ejections.Store(0)
	in.failures.Store(0)
	in.ejectedAt.Store(0)
	if in.backAt.Swap(0) != 0 {
		in.set.cfg.log.Info("upstream is back", slog.String("service", in.set.name),
			slog.String("upstream", in.url), slog.String("why", why))
	}
}

// failed tells that an exchange broke: a dial that fails ejects at once, other
// failures when they are failuresLimit in a row or when this one was the probe,
// and another instance works. The last one that takes connections stays: who can
// make one route break would else close the whole service.
func (in *instance) failed(dial bool, cause error) {
	if !dial {
		n, out := in.failures.Add(1), in.backAt.Load() != 0
		if !in.set.worksWithout(in) {
			if out {
				in.readmit("it takes connections, and there is no other")
			}
			return
		}
		if n < failuresLimit && !out {
			return
		}
	}
	now := in.set.cfg.clock()
	if in.backAt.Load() > now.UnixNano() {
		return // ejected meanwhile by another request of the same bad moment
	}
	out := min(ejectionFloor<<min(in.ejections.Add(1)-1, 10), ejectionCap)
	in.ejectedAt.Store(now.UnixNano())
	if in.backAt.Swap(now.Add(out).UnixNano()) == 0 {
		in.set.cfg.log.Warn("upstream is ejected", slog.String("service", in.set.name),
			slog.String("upstream", in.url), slog.Duration("for", out), slog.Any("cause", cause))
	}
	in.closeIdle(func(*wire) bool { return true })
}

// lease is the right to one exchange with an instance; pick gives it.
type lease struct {
	*instance
	probe bool // the exchange decides whether an ejected instance is back
}

// release gives back what pick took.
func (l lease) release() {
	if l.probe {
		l.probing.Store(false)
	}
	l.outstanding.Add(-1)
}

// errNoInnerDoor: nothing is said in clear to an instance that is declared to
// speak TLS.
var errNoInnerDoor = errors.New("https instances cannot be dialled yet")

func (in *instance) dial(ctx context.Context) (net.Conn, error) {
	if in.scheme != "http" {
		return nil, errNoInnerDoor
	}
	return in.set.cfg.dial(ctx, in.network, in.address)
}

// checkout returns an idle connection that still stands, nil when there is none.
// The last used comes first: it is the least likely to have been closed.
func (in *instance) checkout(deadline time.Time) *wire {
	for {
		in.mu.Lock()
		n := len(in.idle)
		if n == 0 {
			in.mu.Unlock()
			return nil
		}
		w := in.idle[n-1]
		in.idle[n-1] = nil
		in.idle = in.idle[:n-1]
		in.mu.Unlock()
		if w.usable(in.set.cfg.idleTime, in.set.cfg.clock(), deadline) {
			w.reused = true
			return w
		}
		w.close()
	}
}

// checkin keeps a connection for the next request, or closes it.
func (in *instance) checkin(w *wire) {
	w.idleSince = in.set.cfg.clock()
	in.mu.Lock()
	keep := len(in.idle) < in.set.cfg.idleConns && !in.set.closed.Load()
	if keep {
		in.idle = append(in.idle, w)
	}
	in.mu.Unlock()
	if !keep {
		w.close()
	}
}

// closeIdle closes the idle connections for which the condition holds.
func (in *instance) closeIdle(condition func(*wire) bool) {
	var out []*wire
	in.mu.Lock()
	kept := in.idle[:0]
	for _, w := range in.idle {
		if condition(w) {
			out = append(out, w)
		} else {
			kept = append(kept, w)
		}
	}
	clear(in.idle[len(kept):])
	in.idle = kept
	in.mu.Unlock()
	for _, w := range out {
		w.close()
	}
}
