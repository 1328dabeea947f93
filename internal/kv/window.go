package kv

import (
	"time"

	"sallyport.dev/zone"
)

// parts is into how many slices a window is cut.
const parts = 8

// window counts the events of one key over a sliding window of time W in nine
// slices of W/8: the one now, and eight before it. A slice is forgotten whole,
// once all of it is at least W old.
//
// Error bound: an event counts for at least W and at most W + W/8. So in any
// window of length W, wherever it starts, at most Count events are allowed; and
// a caller is refused only if Count were allowed within the last W + W/8. The
// error is on the safe side only: a place becomes free up to W/8 late.
//
// The two usual choices allow nearly twice the count to whoever bunches his
// requests on purpose. The weighted pair of fixed windows (Cloudflare, "How we
// built rate limiting capable of scaling to millions of domains", 2017: 0.003%
// wrong on their traffic) takes the previous window for evenly spread: Count at
// its very end weigh little at the end of the next. The generic cell rate
// algorithm (ITU-T I.371) gives Count at once and goes on refilling from the
// first. A map that says 100/h for guesses means 100.
type window struct {
	slice  int64             // nanoseconds; of the rate that is counted by
	head   int64             // number of the newest slice: time / slice
	newest int64             // number of the newest slice with an event
	sum    int32             // of counts
	counts [parts + 1]uint32 // slice n is at n % 9
}

// sliceOf returns the length of a window's slices in microseconds, rounded up: eight
// of them are at least the window.
func sliceOf(rate zone.Rate) int64 {
	window := (int64(rate.Window) + 999) / 1000
	return (window + parts - 1) / parts
}

// take counts an event at a time (nanoseconds since 1970, not
// negative) if the rate allows it and it is not only asked. It takes constant time.
func (w *window) take(rate zone.Rate, now int64, ask bool) Result {
	slice := 1000 * sliceOf(rate)
	if w.slice != slice {
		*w = window{slice: slice, head: now / slice} // new, or the map changed the window
	}
	w.advance(now / slice)
	r := Result{Allowed: int(w.sum) < rate.Count}
	if r.Allowed && !ask {
		w.counts[w.head%(parts+1)]++
		w.sum++
		w.newest = w.head
	}
	r.Remaining = max(0, rate.Count-int(w.sum)) // the map may have lowered the count
	r.Reset = w.reset(rate, now)
	return r
}

// undo takes back the newest event that still counts.
func (w *window) undo(rate zone.Rate, now int64) {
	if w.slice != 1000*sliceOf(rate) {
		return
	}
	w.advance(now / w.slice)
	for n := w.head; n >= max(0, w.head-parts); n-- {
		if count := &w.counts[n%(parts+1)]; *count > 0 {
			*count--
			w.sum--
			return
		}
	}
}

// advance forgets the slices that are too old when n is the newest.
func (w *window) advance(n int64) {
	if n-w.head > parts {
		w.counts, w.sum, w.head = [parts + 1]uint32{}, 0, n
		return
	}
	for w.head < n {
		w.head++
		old := &w.counts[w.head%(parts+1)]
		w.sum -= int32(*old) //nolint:gosec // each is part of the sum
		*old = 0
	}
}

// reset returns how long the oldest event counts still, or so many of them that
// there is a place again: the map may have lowered the count.
func (w *window) reset(rate zone.Rate, now int64) time.Duration {
	left := int(w.sum)
	for n := max(0, w.head-parts); n <= w.head; n++ {
		count := int(w.counts[n%(parts+1)])
		if left -= count; count > 0 && left < rate.Count {
			return time.Duration((n+parts+1)*w.slice - now)
		}
	}
	return 0
}

// over says that nothing is counted any more at a time.
func (w *window) over(now int64) bool { return w.sum == 0 || now/w.slice > w.newest+parts }

// heavy says that forgetting this window would give away half of a limit or more.
func (w *window) heavy(rate zone.Rate) bool { return 2*int(w.sum) >= rate.Count }
