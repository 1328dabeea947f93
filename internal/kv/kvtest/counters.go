package kvtest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/kv"
	"sallyport.dev/zone"
)

// now is where tests of counters start; none of them reads a clock.
var now = time.Date(2026, 5, 6, 7, 8, 9, 123_456_789, time.UTC)

func take(t *testing.T, e Engine, key string, rate zone.Rate, at time.Time) kv.Result {
	t.Helper()
	r, err := e.Take(t.Context(), key, rate, at)
	must(t, err)
	return r
}

func takes(t *testing.T, e Engine) {
	rate := zone.Rate{Count: 3, Window: time.Minute}
	var last kv.Result
	for i, c := range []struct {
		after     time.Duration
		allowed   bool
		remaining int
	}{{0, true, 2}, {0, true, 1}, {time.Second, true, 0}, {time.Second, false, 0}, {59 * time.Second, false, 0}} {
		last = take(t, e, "a", rate, now.Add(c.after))
		if last.Allowed != c.allowed || last.Remaining != c.remaining {
			t.Errorf("take %d after %v = %+v, want allowed %v, remaining %d", i, c.after, last, c.allowed, c.remaining)
		}
		oldest := time.Minute - c.after // at least so long does the first count
		if last.Reset < oldest || last.Reset > oldest+time.Minute/8 {
			t.Errorf("take %d after %v: reset %v, want %v to %v", i, c.after, last.Reset, oldest, oldest+time.Minute/8)
		}
	}
	if r := take(t, e, "b", rate, now); !r.Allowed || r.Remaining != 2 {
		t.Errorf("another key = %+v, want allowed, remaining 2", r)
	}
	at := now.Add(59 * time.Second)
	if r := take(t, e, "a", rate, at.Add(last.Reset-e.Grain)); r.Allowed {
		t.Errorf("just before the reset = %+v, want refused", r)
	}
	if r := take(t, e, "a", rate, at.Add(last.Reset)); !r.Allowed {
		t.Errorf("at the reset = %+v, want allowed", r)
	}
	if r := take(t, e, "a", rate, now.Add(time.Hour)); !r.Allowed || r.Remaining != 2 {
		t.Errorf("long after = %+v, want allowed, remaining 2", r)
	}
	for range 10 {
		if r := take(t, e, "a", zone.Rate{}, now); !r.Allowed {
			t.Errorf("zero rate = %+v, want allowed: it is no bound", r)
		}
	}
	if r := take(t, e, longest, rate, now); !r.Allowed {
		t.Errorf("longest key = %+v, want allowed", r)
	}
}

// lowered is a count that the map has lowered: as much is told to be waited for as
// makes a place.
func lowered(t *testing.T, e Engine) {
	rate := zone.Rate{Count: 6, Window: time.Minute}
	for i := range rate.Count {
		if r := take(t, e, "a", rate, now.Add(time.Duration(i)*10*time.Second)); !r.Allowed {
			t.Fatalf("control: take %d of 6 = %+v", i, r)
		}
	}
	rate.Count = 2 // the last two of six count still: the last but one has to go
	at := now.Add(50 * time.Second)
	r := take(t, e, "a", rate, at)
	if r.Allowed || r.Remaining != 0 || r.Reset < 50*time.Second || r.Reset > 50*time.Second+time.Minute/8 {
		t.Fatalf("above the lowered count = %+v, want refused for 50 s to 57.5 s", r)
	}
	if early := take(t, e, "a", rate, at.Add(r.Reset-e.Grain)); early.Allowed {
		t.Errorf("just before the reset = %+v, want refused", early)
	}
	if late := take(t, e, "a", rate, at.Add(r.Reset)); !late.Allowed {
		t.Errorf("at the reset = %+v, want allowed", late)
	}
}

// undoes takes back what counts newest, and nothing else.
func undoes(t *testing.T, e Engine) {
	rate := zone.Rate{Count: 2, Window: time.Minute}
	undo := func(key string, rate zone.Rate, at time.Time) {
		t.Helper()
		must(t, e.Undo(t.Context(), key, rate, at))
	}
	undo("a", rate, now) // nothing is there yet
	take(t, e, "a", rate, now)
	take(t, e, "a", rate, now.Add(30*time.Second))
	at := now.Add(31 * time.Second)
	if r := take(t, e, "a", rate, at); r.Allowed {
		t.Fatalf("control: the third of two = %+v", r)
	}
	undo("b", rate, at) // another key
	undo("a", zone.Rate{}, at)
	if r := take(t, e, "a", rate, at); r.Allowed {
		t.Errorf("after another's event was taken back = %+v, want refused", r)
	}
	undo("a", rate, at)
	if r := take(t, e, "a", rate, at); !r.Allowed || r.Remaining != 0 {
		t.Errorf("after one of two was taken back = %+v, want allowed, remaining 0", r)
	}
	undo("a", rate, at) // the newest: the one at the start counts on, and ends by itself
	if r := take(t, e, "a", rate, at); !r.Allowed || r.Remaining != 0 || r.Reset > 40*time.Second {
		t.Errorf("= %+v, want allowed, remaining 0, the oldest still that of the start", r)
	}
	for range 5 { // no more than there is
		undo("a", rate, at)
	}
	for i, want := range []bool{true, true, false} {
		if r := take(t, e, "a", rate, at); r.Allowed != want {
			t.Errorf("take %d after all were taken back = %+v, want allowed %v", i, r, want)
		}
	}
	if err := e.Undo(t.Context(), "", rate, at); !errors.Is(err, kv.ErrInvalid) {
		t.Errorf("no key: %v, want ErrInvalid", err)
	}
}

// log is the exact sliding window that an engine is measured with.
type log struct {
	window time.Duration
	at     []time.Time // allowed events
}

// within counts the events in the last d up to t.
func (l *log) within(d time.Duration, t time.Time) (n int) {
	for _, at := range l.at {
		if t.Sub(at) < d && !at.After(t) {
			n++
		}
	}
	return n
}

// judge checks an answer against the contract: never more than the count in
// the window, never refused unless the count was reached in the window and an eighth.
func (l *log) judge(rate zone.Rate, r kv.Result, at time.Time, grain time.Duration) error {
	wider := rate.Window + rate.Window/8 + 10*grain // slices and times are whole
	inWindow, inWider := l.within(rate.Window, at), l.within(wider, at)
	switch {
	case r.Allowed && inWindow >= rate.Count:
		return fmt.Errorf("allowed with %d of %d in the window", inWindow, rate.Count)
	case !r.Allowed && inWider < rate.Count:
		return fmt.Errorf("refused with %d of %d in the window and an eighth", inWider, rate.Count)
	}
	if r.Allowed {
		l.at = append(l.at, at)
	}
	return nil
}

func takesWithinBounds(t *testing.T, e Engine) {
	for i, rate := range []zone.Rate{
		{Count: 1, Window: time.Millisecond},
		{Count: 1, Window: time.Second},
		{Count: 5, Window: time.Second},
		{Count: 30, Window: time.Minute},
		{Count: 7, Window: 1_000_003 * time.Nanosecond}, // not divisible by eight
		{Count: 100, Window: 3 * 24 * time.Hour},
	} {
		random := rand.New(rand.NewPCG(uint64(i), 1)) // #nosec G404 -- repeatable
		log, at, refused := log{window: rate.Window}, now, 0
		for n := range 600 {
			// Mostly somewhat over the rate; now and then a burst or a pause.
			gap := rate.Window / time.Duration(rate.Count) / 2
			switch n := random.IntN(4*rate.Count + 16); {
			case n == 0:
				gap = 2 * rate.Window
			case n <= rate.Count+4:
				gap = 1
			}
			at = at.Add(time.Duration(random.Int64N(int64(gap) + 1)))
			r := take(t, e, fmt.Sprint("key ", i), rate, at)
			if err := log.judge(rate, r, at, e.Grain); err != nil {
				t.Fatalf("rate %v, take %d at %v: %v", rate, n, at.Sub(now), err)
			}
			if !r.Allowed {
				refused++
			}
		}
		if refused == 0 || len(log.at) == 0 { // control: the trace tells something
			t.Errorf("rate %v: %d refused, %d allowed, want some of both", rate, refused, len(log.at))
		}
	}
}

// takesBunched sends as an attacker who knows the common counters would: all
// at the end of one fixed window, all at the start or end of the next.
func takesBunched(t *testing.T, e Engine) {
	rate := zone.Rate{Count: 100, Window: time.Hour}
	most := func(log *log) (n int) {
		for _, at := range log.at {
			n = max(n, log.within(rate.Window, at))
		}
		return n
	}
	for i := range 16 { // wherever the engine's own windows start
		edge := now.Add(time.Duration(i) * rate.Window / 16)
		key := fmt.Sprint("key ", i)
		ours, naive := log{window: rate.Window}, log{window: rate.Window}
		fixed := map[bool]int{} // control: a fixed window that starts at the edge
		for _, start := range []time.Duration{-time.Second, time.Second, rate.Window - 2*time.Second} {
			for n := range 2 * rate.Count {
				at := edge.Add(start + time.Duration(n))
				if err := ours.judge(rate, take(t, e, key, rate, at), at, e.Grain); err != nil {
					t.Fatalf("edge %d, start %v: %v", i, start, err)
				}
				if second := !at.Before(edge); fixed[second] < rate.Count {
					fixed[second]++
					naive.at = append(naive.at, at)
				}
			}
		}
		if n := most(&ours); n != rate.Count {
			t.Errorf("edge %d: %d in an hour, want %d", i, n, rate.Count)
		}
		if n := most(&naive); n <= rate.Count {
			t.Errorf("control: the trace brings %d through a fixed window, want more than %d", n, rate.Count)
		}
	}
}

func takesAtOnce(t *testing.T, e Engine) {
	rate := zone.Rate{Count: 100, Window: time.Minute}
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20 {
				r, err := e.Take(t.Context(), "key", rate, now)
				if err != nil {
					t.Error(err)
				}
				if r.Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := allowed.Load(); n != 100 {
		t.Errorf("allowed %d of 320 at once, want 100", n)
	}
}

// takesAnotherRate: a reload of the map may change a rate under a key.
func takesAnotherRate(t *testing.T, e Engine) {
	ten := zone.Rate{Count: 10, Window: time.Minute}
	for range 5 {
		take(t, e, "key", ten, now)
	}
	for _, c := range []struct {
		rate      zone.Rate
		allowed   bool
		remaining int
	}{
		{zone.Rate{Count: 3, Window: time.Minute}, false, 0},
		{zone.Rate{Count: 7, Window: time.Minute}, true, 1},
		{zone.Rate{Count: 7, Window: time.Hour}, true, 6}, // another window counts anew
	} {
		if r := take(t, e, "key", c.rate, now); r.Allowed != c.allowed || r.Remaining != c.remaining {
			t.Errorf("rate %v = %+v, want allowed %v, remaining %d", c.rate, r, c.allowed, c.remaining)
		}
	}
}

// takesBackInTime: a clock that is set back allows no more than one that stands still.
func takesBackInTime(t *testing.T, e Engine) {
	rate := zone.Rate{Count: 2, Window: time.Minute}
	for i, c := range []struct {
		at      time.Duration
		allowed bool
	}{
		{time.Hour, true}, {-time.Hour, true}, {0, false}, {time.Hour, false}, {time.Hour + time.Second, false},
		{time.Hour + 2*time.Minute, true},
	} {
		if r := take(t, e, "key", rate, now.Add(c.at)); r.Allowed != c.allowed {
			t.Errorf("take %d at %v = %+v, want allowed %v", i, c.at, r, c.allowed)
		}
	}
}

func takeRefuses(t *testing.T, e Engine) {
	good := zone.Rate{Count: 1, Window: time.Second}
	for _, c := range []struct {
		name string
		key  string
		rate zone.Rate
	}{
		{"no key", "", good},
		{"long key", tooLong, good},
		{"no count", "key", zone.Rate{Window: time.Second}},
		{"negative count", "key", zone.Rate{Count: -1, Window: time.Second}},
		{"huge count", "key", zone.Rate{Count: math.MaxInt32 + 1, Window: time.Second}},
		{"no window", "key", zone.Rate{Count: 1}},
		{"negative window", "key", zone.Rate{Count: 1, Window: -time.Second}},
		{"short window", "key", zone.Rate{Count: 1, Window: time.Millisecond - 1}},
		{"endless window", "key", zone.Rate{Count: 1, Window: math.MaxInt64}},
	} {
		r, err := e.Take(t.Context(), c.key, c.rate, now)
		if !errors.Is(err, kv.ErrInvalid) || r.Allowed {
			t.Errorf("%s: %+v, %v, want refused, ErrInvalid", c.name, r, err)
		}
	}
	if r := take(t, e, "key", good, now); !r.Allowed {
		t.Errorf("control = %+v, want allowed", r)
	}
}
