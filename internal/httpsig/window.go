package httpsig

import (
	"sync"
	"sync/atomic"
)

// WindowSize is how far a counter value may be overtaken by later ones.
const WindowSize = 1024

// Counter numbers the requests of one connection on the sender's side, from 1
// on. The zero Counter is ready. Safe for concurrent use.
type Counter struct{ last atomic.Uint64 }

// Next returns the next number. 64 bits do not run out on a connection.
func (c *Counter) Next() uint64 { return c.last.Add(1) }

// Window accepts each counter value of one connection once, in any order within
// WindowSize of the greatest seen (after RFC 4303 section 3.4.3; the ring of
// words is that of RFC 6479). The zero Window is ready. Safe for concurrent use;
// it allocates nothing.
//
// Only values whose MAC holds may be offered to it: whoever could offer others
// could push the window away from the sender.
type Window struct {
	mu   sync.Mutex
	top  uint64              // guarded by mu; the greatest accepted
	seen [windowWords]uint64 // guarded by mu; bit n%64 of word n/64%windowWords stands for n
}

// One word more than the window fills, since it seldom begins at a word's start.
const windowWords = WindowSize/64 + 1

// Accept reports whether n is new. Zero, values seen before, and values that lie
// WindowSize or more behind the greatest are not.
func (w *Window) Accept(n uint64) bool {
	if n == 0 {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > w.top {
		// Words that come into the window hold what left it a turn ago.
		turn := min(n/64-w.top/64, windowWords)
		for i := range turn {
			w.seen[(n/64-i)%windowWords] = 0
		}
		w.top = n
	} else if w.top-n >= WindowSize {
		return false
	}
	word, bit := &w.seen[n/64%windowWords], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
