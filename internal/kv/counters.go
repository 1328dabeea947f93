package kv

import (
	"strings"
	"sync"
	"time"

	"sallyport.dev/zone"
)

// counters is one shard: a bounded number of windows, each in one of two lists
// by how much of its limit is used, newest use first, to the second.
//
// When it is full a newcomer takes, in this order: a place whose window is over
// and that is last in its list; of the heavy, when they hold more than three
// quarters of the places, the one used longest ago; else of the light the one
// used longest ago. What Memory promises about resetting a limit follows from this.
type counters struct {
	mu    sync.Mutex
	byKey map[string]int32
	slots []counter // grows to the bound and never moves out of it
	bound int
	light list
	heavy list
}

// counter is one key's window and its place in a list.
type counter struct {
	key   string
	heavy bool  // which list it is in
	used  int64 // when it was put first in it
	prev  int32
	next  int32
	window
}

// list is a doubly linked list of slots; none is an empty end.
type list struct {
	first, last int32
	n           int
}

const none = -1

func newCounters(bound int) counters {
	return counters{
		byKey: make(map[string]int32),
		bound: bound,
		light: list{first: none, last: none},
		heavy: list{first: none, last: none},
	}
}

// coarse is how exact the order of use is, in nanoseconds: a busy key is not
// moved with every event.
const coarse = int64(time.Second)

// peek says what take would, and counts nothing.
func (c *counters) peek(key string, rate zone.Rate, now int64) Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	var w window // a copy: asking does not move a counter's time either
	if i, known := c.byKey[key]; known {
		w = c.slots[i].window
	}
	return w.take(rate, now, true)
}

func (c *counters) take(key string, rate zone.Rate, now int64) Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, known := c.byKey[key]
	if !known {
		i = c.place(now)
		key = strings.Clone(key) // it may be part of a whole request
		c.slots[i] = counter{key: key}
		c.byKey[key] = i
	}
	s := &c.slots[i]
	r := s.take(rate, now, false)
	if heavy := s.window.heavy(rate); !known || heavy != s.heavy || now-s.used >= coarse {
		if known {
			c.unlink(i)
		}
		s.heavy, s.used = heavy, now
		c.push(i)
	}
	return r
}

func (c *counters) undo(key string, rate zone.Rate, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, known := c.byKey[key]
	if !known {
		return
	}
	c.unlink(i)
	s := &c.slots[i]
	s.undo(rate, now)
	s.heavy = s.window.heavy(rate)
	c.push(i)
}

// place returns a slot for a newcomer, in no list and known by no key.
func (c *counters) place(now int64) int32 {
	if len(c.slots) < c.bound {
		c.slots = append(c.slots, counter{})
		return int32(len(c.slots) - 1) //nolint:gosec // bound fits
	}
	i := c.light.last
	switch {
	case c.heavy.last != none && c.slots[c.heavy.last].over(now):
		i = c.heavy.last
	case i != none && c.slots[i].over(now):
	case i == none || c.heavy.n > c.bound/4*3:
		i = c.heavy.last
	}
	c.unlink(i)
	delete(c.byKey, c.slots[i].key)
	return i
}

func (c *counters) list(i int32) *list {
	if c.slots[i].heavy {
		return &c.heavy
	}
	return &c.light
}

// push puts a slot first in its list.
func (c *counters) push(i int32) {
	l, s := c.list(i), &c.slots[i]
	s.prev, s.next = none, l.first
	if l.first != none {
		c.slots[l.first].prev = i
	} else {
		l.last = i
	}
	l.first = i
	l.n++
}

func (c *counters) unlink(i int32) {
	l, s := c.list(i), &c.slots[i]
	if s.prev != none {
		c.slots[s.prev].next = s.next
	} else {
		l.first = s.next
	}
	if s.next != none {
		c.slots[s.next].prev = s.prev
	} else {
		l.last = s.prev
	}
	l.n--
}
