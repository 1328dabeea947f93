package kv

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// circuit says whether a server is worth asking. It opens with the first
// failure that the next request would meet too, so that a dead server costs a
// few requests their time and the others nothing; only a heartbeat that went
// through closes it, so that no request is ever the probe.
type circuit struct {
	log     *slog.Logger
	tripped chan struct{} // has room for one: wakes the heart
	outage  atomic.Pointer[outage]
	closed  atomic.Uint64 // how often it was closed: errors of an earlier time do not open it

	mu sync.Mutex // one change at a time
}

// outage is why and since when the circuit is open.
type outage struct {
	err   error
	since time.Time
}

func newCircuit(log *slog.Logger) *circuit {
	return &circuit{log: log, tripped: make(chan struct{}, 1)}
}

// enter is asked before every command: an error says not to send it. The number
// is for trip.
func (c *circuit) enter() (uint64, error) {
	during := c.closed.Load() // before the outage is read
	if o := c.outage.Load(); o != nil {
		return during, o.err
	}
	return during, nil
}

// trip opens the circuit for an error of a command that entered at during.
func (c *circuit) trip(during uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if during != c.closed.Load() {
		return
	}
	if o := c.outage.Load(); o != nil {
		if errors.Is(o.err, ErrFull) != errors.Is(err, ErrFull) { // full and dead are not the same
			c.outage.Store(&outage{err: err, since: o.since})
		}
		return
	}
	c.outage.Store(&outage{err: err, since: time.Now()})
	c.log.Warn("valkey is away: limits go by local shares, values and nonces are refused", "error", err)
	select {
	case c.tripped <- struct{}{}:
	default:
	}
}

// close lets commands through again; true when it was open.
func (c *circuit) close() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.outage.Load()
	if o == nil {
		return false
	}
	c.closed.Add(1)
	c.outage.Store(nil)
	select { // of the outage that is over
	case <-c.tripped:
	default:
	}
	c.log.Info("valkey is back: limits are shared again", "away", time.Since(o.since))
	return true
}
