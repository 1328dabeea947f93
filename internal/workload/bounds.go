package workload

import (
	"log/slog"
	"sync"
	"time"
)

// counts counts what is open by key, each up to a bound. Keys with nothing open
// are not kept, so that it is as large as what is open.
type counts[K comparable] struct {
	most int // immutable
	mu   sync.Mutex
	open map[K]int // guarded by mu
}

// enter takes a place, if there is one.
func (c *counts[K]) enter(k K) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = make(map[K]int)
	}
	if c.open[k] >= c.most {
		return false
	}
	c.open[k]++
	return true
}

// leave gives a place back.
func (c *counts[K]) leave(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[k]--; c.open[k] <= 0 {
		delete(c.open, k)
	}
}

// denialsPerSecond bounds the log: any process of the host can make refusals.
const denialsPerSecond = 10

// denials logs refusals within a bound, and how many were left out.
type denials struct {
	clock func() time.Time

	mu      sync.Mutex
	second  int64 // guarded by mu; of the lines counted
	lines   int   // guarded by mu; in that second
	leftOut int   // guarded by mu; since the last line
}

func (d *denials) warn(log *slog.Logger, message string, attributes ...any) {
	leftOut, ok := d.take()
	if !ok {
		return
	}
	if leftOut > 0 {
		attributes = append(attributes, "left_out", leftOut)
	}
	log.Warn(message, attributes...)
}

func (d *denials) take() (leftOut int, ok bool) {
	now := d.clock().Unix()
	d.mu.Lock()
	defer d.mu.Unlock()
	if now != d.second {
		d.second, d.lines = now, 0
	}
	if d.lines >= denialsPerSecond {
		d.leftOut++
		return 0, false
	}
	d.lines++
	leftOut, d.leftOut = d.leftOut, 0
	return leftOut, true
}
