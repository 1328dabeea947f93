package guard

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
	"unsafe"

	"sallyport.dev/internal/problem"
)

// slept returns t as time.Now would after the host slept for d: its wall clock
// has gone on, its monotonic clock has stood still. Negative, the wall clock was
// set back. Only the runtime makes such times; the layout is that of time.Time
// with a monotonic reading (seconds from bit 30 on).
func slept(t *testing.T, from time.Time, d time.Duration) time.Time {
	t.Helper()
	to := from
	*(*uint64)(unsafe.Pointer(&to)) += uint64(d/time.Second) << 30
	if to.Sub(from) != 0 || to.Round(0).Sub(from.Round(0)) != d {
		t.Fatalf("the clocks differ by %s and %s, want 0 and %s", to.Sub(from), to.Round(0).Sub(from.Round(0)), d)
	}
	return to
}

// TestStaleByEitherClock: neither a host that slept nor a wall clock that was
// set back makes an old map young.
func TestStaleByEitherClock(t *testing.T) {
	start := time.Now()
	for _, tt := range []struct {
		name  string
		now   time.Time
		ready bool
	}{
		{"a minute later", start.Add(time.Minute), true},
		{"six minutes later", start.Add(6 * time.Minute), false},
		{"slept for a minute", slept(t, start, time.Minute), true},
		{"slept for six", slept(t, start, 6*time.Minute), false},
		{"set back by an hour", slept(t, start, -time.Hour), true},
		{"set back by an hour, six minutes later", slept(t, start, -time.Hour).Add(6 * time.Minute), false},
	} {
		key := newTestKey(t, "k1")
		clock := &handClock{now: start}
		g := newGuardWith(t, t.Context(), Config{Clock: clock.Now}, &fakeControl{slice: testSlice(t, "/a"), keys: jwks(t, key)})
		if err := g.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		clock.set(tt.now)
		w := httptest.NewRecorder()
		g.Protect(http.NotFoundHandler()).ServeHTTP(w, come(t, httptest.NewRequest("GET", "/a", http.NoBody), "gateway"))
		stale := w.Header().Get(problem.ReasonHeader) == problem.InsideStale.Code()
		if g.Ready() != tt.ready || stale == tt.ready {
			t.Errorf("%s: ready %v, a request = %s; want ready %v", tt.name, g.Ready(), w.Header().Get(problem.ReasonHeader), tt.ready)
		}
	}
}

// handClock is a hand-set clock.
type handClock struct {
	mu  sync.Mutex
	now time.Time // guarded by mu
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}
