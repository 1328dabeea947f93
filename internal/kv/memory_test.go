package kv_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/kv/kvtest"
	"sallyport.dev/zone"
)

// clock is a time that only tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestMemory(t *testing.T) {
	kvtest.Run(t, func(*testing.T) kvtest.Engine {
		c := newClock()
		return kvtest.Engine{Store: kv.NewMemory(c.Now, 1000), Pass: c.Pass}
	})
}

// A counter at its limit outlives a flood of new keys; one that was hardly used
// does not, which shows that the flood was one.
func TestFloodDoesNotResetLimits(t *testing.T) {
	const keys = 1 << 10
	c := newClock()
	m := kv.NewMemory(c.Now, keys)
	rate := zone.Rate{Count: 10, Window: time.Minute}
	take := func(key string, n int) (allowed int) {
		for range n {
			r, err := m.Take(t.Context(), key, rate, c.Now())
			if err != nil {
				t.Fatal(err)
			}
			if r.Allowed {
				allowed++
			}
		}
		return allowed
	}
	take("limited", 10)
	take("light", 4)
	for i := range 20 * keys {
		take(fmt.Sprint("flood ", i), 1)
	}
	if n := take("limited", 10); n != 0 {
		t.Errorf("limited key after the flood: %d allowed, want 0", n)
	}
	if n := take("light", 10); n != 10 {
		t.Errorf("light key after the flood: %d allowed, want 10: it was forgotten", n)
	}

	for i := range 4 * keys {
		take(fmt.Sprint("heavy ", i), 5)
	}
	// What it costs to have a limit forgotten: as many other keys, used to half.
	if n := take("limited", 10); n != 10 {
		t.Errorf("limited key after %d heavy ones: %d allowed, want 10: the documented price was paid", 4*keys, n)
	}
}

// Keys at their limit cannot crowd out the others: among new keys limits still
// hold, and do not reset each other.
func TestNewKeysKeepTheirPlaces(t *testing.T) {
	const keys = 16 // one shard
	c := newClock()
	m := kv.NewMemory(c.Now, keys)
	rate := zone.Rate{Count: 10, Window: time.Minute}
	take := func(key string) kv.Result {
		r, err := m.Take(t.Context(), key, rate, c.Now())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for i := range 4 * keys {
		for range 10 {
			take(fmt.Sprint("heavy ", i))
		}
	}
	for round := range 12 {
		for i := range 3 {
			if r, want := take(fmt.Sprint("new ", i)), round < 10; r.Allowed != want {
				t.Errorf("new key %d, round %d: %+v, want allowed %v", i, round, r, want)
			}
		}
	}
}

// A limited key whose window is over is the first to go.
func TestOldCountersMakeRoom(t *testing.T) {
	const keys = 16 // one shard
	c := newClock()
	m := kv.NewMemory(c.Now, keys)
	rate := zone.Rate{Count: 2, Window: time.Minute}
	take := func(key string) bool {
		r, err := m.Take(t.Context(), key, rate, c.Now())
		if err != nil {
			t.Fatal(err)
		}
		return r.Allowed
	}
	for i := range 8 {
		take(fmt.Sprint("old ", i))
		take(fmt.Sprint("old ", i))
	}
	c.Pass(2 * time.Minute)
	slow := zone.Rate{Count: 4, Window: time.Hour}
	for i := range 8 {
		if _, err := m.Take(t.Context(), fmt.Sprint("light ", i), slow, c.Now()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 { // the store is full: these take the places of the old
		take(fmt.Sprint("new ", i))
	}
	for i := range 8 {
		r, err := m.Take(t.Context(), fmt.Sprint("light ", i), slow, c.Now())
		if err != nil || r.Remaining != 2 {
			t.Errorf("light key %d = %+v, %v, want remaining 2: it was kept", i, r, err)
		}
	}
}

// No nonce is forgotten to make room: the store says that it is full.
func TestNoncesAreNotForgotten(t *testing.T) {
	const keys = 500
	c := newClock()
	m := kv.NewMemory(c.Now, keys)
	setNX := func(i int) (bool, error) { return m.SetNX(t.Context(), fmt.Sprint("nonce ", i), time.Minute) }
	for i := range keys {
		if ok, err := setNX(i); !ok || err != nil {
			t.Fatalf("nonce %d = %v, %v, want true", i, ok, err)
		}
		c.Pass(time.Millisecond)
	}
	for i := range keys {
		if ok, err := setNX(keys + i); ok || !errors.Is(err, kv.ErrFull) {
			t.Fatalf("nonce %d in a full store = %v, %v, want false, ErrFull", keys+i, ok, err)
		}
		if ok, err := setNX(i); ok || err != nil {
			t.Fatalf("nonce %d again = %v, %v, want false", i, ok, err)
		}
	}
	if err := m.Set(t.Context(), "nonce 0", []byte("longer"), time.Minute); err != nil {
		t.Errorf("a value in place of another in a full store: %v, want none", err)
	}
	c.Pass(time.Minute - keys*time.Millisecond + 10*time.Millisecond) // numbers 1 to 10 are over
	for i := range 15 {
		ok, err := setNX(keys + i)
		if want := i < 10; ok != want || want && err != nil || !want && !errors.Is(err, kv.ErrFull) {
			t.Errorf("nonce %d when ten are over = %v, %v, want %v", keys+i, ok, err, want)
		}
	}
}

// The bytes of values are bounded together, and come back.
func TestBytesAreBounded(t *testing.T) {
	const keys = 64
	m := kv.NewMemory(newClock().Now, keys)
	large := make([]byte, kv.MaxValue)
	fill := func() (n int) {
		for ; n < keys; n++ {
			if err := m.Set(t.Context(), fmt.Sprint("value ", n), large, time.Minute); err != nil {
				if !errors.Is(err, kv.ErrFull) {
					t.Fatal(err)
				}
				break
			}
		}
		return n
	}
	first := fill()
	if first == 0 || first*len(large) > keys<<10 {
		t.Fatalf("%d values of %d bytes fit, want some, at most %d bytes", first, len(large), keys<<10)
	}
	if err := m.Set(t.Context(), "value 0", []byte("small"), time.Minute); err != nil {
		t.Errorf("smaller in place of larger: %v", err)
	}
	for i := range keys {
		if err := m.Delete(t.Context(), fmt.Sprint("value ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if again := fill(); again != first {
		t.Errorf("%d values fit after all were deleted, want %d", again, first)
	}
}

func TestSubscriptionsAreBounded(t *testing.T) {
	m := kv.NewMemory(newClock().Now, 16)
	var last *kv.Subscription
	for range kv.MaxSubscriptions {
		s, err := m.Subscribe(t.Context(), "news")
		if err != nil {
			t.Fatal(err)
		}
		last = s
	}
	if _, err := m.Subscribe(t.Context(), "news"); !errors.Is(err, kv.ErrFull) {
		t.Errorf("one more: %v, want ErrFull", err)
	}
	last.Close()
	if _, err := m.Subscribe(t.Context(), "news"); err != nil {
		t.Errorf("after one ended: %v, want none", err)
	}
}

// Publishing while subscriptions come and go is a matter for the race detector.
func TestBroadcastRaces(t *testing.T) {
	m := kv.NewMemory(newClock().Now, 16)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				s, err := m.Subscribe(ctx, "news")
				if err != nil {
					t.Error(err)
				}
				wg.Go(cancel)
				s.Close()
			}
		})
		wg.Go(func() {
			for range 200 {
				if err := m.Publish(t.Context(), "news", []byte("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestTakeAllocatesNothing(t *testing.T) {
	c := newClock()
	m := kv.NewMemory(c.Now, 1000)
	rate := zone.Rate{Count: 1 << 30, Window: time.Minute}
	ctx, now := t.Context(), c.Now()
	if n := testing.AllocsPerRun(1000, func() { _, _ = m.Take(ctx, "key", rate, now) }); n != 0 {
		t.Errorf("%v allocations a Take, want 0", n)
	}
}

func BenchmarkTake(b *testing.B) {
	const keys = 10_000
	m := kv.NewMemory(time.Now, 2*keys)
	names := make([]string, keys)
	for i := range names {
		names[i] = fmt.Sprintf("route POST /orders|user %d", i)
	}
	rate := zone.Rate{Count: 30, Window: time.Minute}
	ctx, now := b.Context(), time.Now()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, _ = m.Take(ctx, names[i%keys], rate, now.Add(time.Duration(i)*time.Microsecond))
	}
}
