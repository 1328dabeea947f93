package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// instance is one place where a service listens. It is ejected, that is not
// used for a time while there are others (see Set.pick), when it cannot be dialled
// or breaks exchanges in a row. The time doubles with each ejection until an
// exchange succeeds.
type instance struct {
	zone.Upstream
	set *Set

	outstanding atomic.Int32 // requests under way
	places      places       // whose they are
	unhealthy   atomic.Bool  // the declared health check failed last

	failures  atomic.Int32 // broken exchanges in a row
	ejections atomic.Int32 // in a row; doubles the time
	ejectedAt atomic.Int64 // unix nanoseconds; 0: not ejected
	backAt    atomic.Int64 // when it may be tried again
	probing   atomic.Bool  // the one request of the half-open state is under way

	mu   sync.Mutex
	idle []*wire // guarded by mu; the last used is the last

	calls *h2pool
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
	case in.set.cfg.Clock().UnixNano() >= back:
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
		in.set.cfg.Log.Info("upstream is back", slog.String("service", in.set.service.Name),
			slog.String("upstream", in.URL), slog.String("why", why))
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
	now := in.set.cfg.Clock()
	if in.backAt.Load() > now.UnixNano() {
		return // ejected meanwhile by another request of the same bad moment
	}
	out := min(ejectionFloor<<min(in.ejections.Add(1)-1, 10), ejectionCap)
	in.ejectedAt.Store(now.UnixNano())
	if in.backAt.Swap(now.Add(out).UnixNano()) == 0 {
		text := "upstream is ejected"
		if len(in.set.instances) == 1 { // which is asked all the same
			text = "upstream takes no connections"
		}
		in.set.cfg.Log.Warn(text, slog.String("service", in.set.service.Name),
			slog.String("upstream", in.URL), slog.Duration("for", out), slog.Any("cause", cause))
	}
	in.closeIdle(func(*wire) bool { return true })
}

// lease is the right to one exchange with an instance; pick gives it.
type lease struct {
	*instance
	place int32
	probe bool // the exchange decides whether an ejected instance is back
}

// lease takes one of the instance's places. A probe has set probing.
func (in *instance) lease(probe bool, holder uint64, begin uint32) (lease, problem.Reason) {
	in.outstanding.Add(1)
	place, ok := in.places.take(holder, begin)
	if !ok { // the last has gone to another request of this moment
		if probe {
			in.probing.Store(false)
		}
		in.outstanding.Add(-1)
		return lease{}, problem.UpstreamBusy
	}
	return lease{instance: in, place: place, probe: probe}, problem.OK
}

// release gives back what pick took.
func (l lease) release() {
	l.places.leave(l.place)
	if l.probe {
		l.probing.Store(false)
	}
	l.outstanding.Add(-1)
}

var errInClear = errors.New("https instances are not spoken to in clear")

type dialer = func(context.Context, *zone.Service, zone.Upstream) (net.Conn, error)

// dial connects to the instance. Whatever the dialer is, nothing is said in clear to an
// instance that is declared to speak TLS, and nothing before its peer is known.
func (in *instance) dial(ctx context.Context, by dialer) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, in.set.cfg.DialTime)
	defer cancel()
	conn, err := by(ctx, in.set.service, in.Upstream)
	if err != nil || in.Scheme == "http" {
		return conn, err
	}
	if c, ok := conn.(*tls.Conn); !ok || !c.ConnectionState().HandshakeComplete {
		newWire(conn).close() // nothing was said on it
		return nil, errInClear
	}
	return conn, nil
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
		if w.usable(in.set.cfg.IdleTime, in.set.cfg.Clock(), deadline) {
			w.reused = true
			return w
		}
		w.close()
	}
}

// checkin keeps a connection for the next request, or closes it.
func (in *instance) checkin(w *wire) {
	w.idleSince = in.set.cfg.Clock()
	in.mu.Lock()
	keep := len(in.idle) < in.set.cfg.IdleConns && !in.set.closed.Load()
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
