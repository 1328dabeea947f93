package guard

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
)

func TestControlComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newTestKey(t, "k1")
		c := &fakeControl{down: true, slice: testSlice(t, "/a"), keys: jwks(t, key)}
		g := newTestGuard(t, t.Context(), c)
		time.Sleep(time.Minute)
		if got := ask(t, g, "/a", key.token(t)); got != problem.InsideUnavailable || g.Ready() {
			t.Errorf("without control: %v, ready %v; want %v", got, g.Ready(), problem.InsideUnavailable)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait without control = %v, want deadline exceeded", err)
		}
		c.set(func(c *fakeControl) { c.down = false })
		start := time.Now()
		if err := g.Wait(t.Context()); err != nil || time.Since(start) > 2*retryMost {
			t.Errorf("Wait = %v after %s", err, time.Since(start))
		}
		if got := ask(t, g, "/a", key.token(t)); got != problem.OK || !g.Ready() {
			t.Errorf("with control: %v, ready %v", got, g.Ready())
		}
	})
}

func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newTestKey(t, "k1")
		c := &fakeControl{slice: testSlice(t, "/a"), keys: jwks(t, key)}
		g := newTestGuard(t, t.Context(), c)
		if err := g.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.set(func(c *fakeControl) { c.down = true })
		for _, tt := range []struct {
			sleep time.Duration
			want  problem.Reason
		}{
			{4 * time.Minute, problem.OK},
			{time.Minute + time.Second, problem.InsideStale},
			{time.Hour, problem.InsideStale},
		} {
			time.Sleep(tt.sleep)
			if got := ask(t, g, "/a", key.token(t)); got != tt.want || g.Ready() != (tt.want == problem.OK) {
				t.Errorf("after %s more: %v, ready %v; want %v", tt.sleep, got, g.Ready(), tt.want)
			}
		}
		if err := g.Wait(t.Context()); problem.ReasonOf(err) != problem.InsideStale {
			t.Errorf("Wait of a stale guard = %v", err)
		}
		c.set(func(c *fakeControl) { c.down = false })
		time.Sleep(2 * retryMost)
		if got := ask(t, g, "/a", key.token(t)); got != problem.OK {
			t.Errorf("after control came back: %v", got)
		}
	})
}

func TestKeyRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k1, k2, stranger := newTestKey(t, "k1"), newTestKey(t, "k2"), newTestKey(t, "k3")
		c := &fakeControl{slice: testSlice(t, "/a"), keys: jwks(t, k1)}
		g := newTestGuard(t, t.Context(), c)
		if err := g.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := ask(t, g, "/a", k1.token(t)); got != problem.OK {
			t.Fatalf("first key: %v", got)
		}
		c.set(func(c *fakeControl) { c.keys, c.fetches = jwks(t, k1, k2), 0 })
		var wg sync.WaitGroup
		for range 20 { // all wait for the one refresh that the first of them causes
			wg.Go(func() {
				if got := ask(t, g, "/a", k2.token(t)); got != problem.OK {
					t.Errorf("unknown key that control has: %v", got)
				}
			})
		}
		wg.Wait()
		for range 100 {
			if got := ask(t, g, "/a", stranger.token(t)); got != problem.InsideTokenInvalid {
				t.Errorf("unknown key that control lacks: %v", got)
			}
		}
		if n := c.count(); n != 1 {
			t.Errorf("%d refreshes for one rotation and 100 strangers, want 1", n)
		}
		time.Sleep(askEvery)
		ask(t, g, "/a", stranger.token(t))
		if n := c.count(); n != 2 {
			t.Errorf("%d refreshes, want a second one after %s", n, askEvery)
		}

		old := k1.token(t)
		if got := ask(t, g, "/a", old); got != problem.OK {
			t.Errorf("key that is still published: %v", got)
		}
		c.set(func(c *fakeControl) { c.keys = jwks(t, k2) })
		time.Sleep(2 * refreshEvery)
		if got := ask(t, g, "/a", old); got != problem.InsideTokenInvalid {
			t.Errorf("remembered token of a key that was withdrawn: %v", got)
		}
	})
}

func TestMapChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newTestKey(t, "k1")
		c := &fakeControl{slice: testSlice(t, "/a"), keys: jwks(t, key)}
		g := newTestGuard(t, t.Context(), c)
		if err := g.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		// What is wrong is not taken up: the old map holds until it is stale.
		good := testSlice(t, "/a")
		for name, bad := range map[string][]byte{
			"no JSON":         []byte("{"),
			"other version":   bytes.Replace(good, []byte(`"version":1`), []byte(`"version":2`), 1),
			"other service":   bytes.Replace(good, []byte(`"orders"`), []byte(`"accounts"`), 1),
			"path of nothing": bytes.Replace(good, []byte(`"/a"`), []byte(`"a"`), 1),
			"too large":       append(bytes.Clone(good), bytes.Repeat([]byte(" "), maxSlice)...),
		} {
			c.set(func(c *fakeControl) { c.slice = bad })
			time.Sleep(2 * refreshEvery)
			if got := ask(t, g, "/a", key.token(t)); got != problem.OK {
				t.Errorf("%s: %v, want the old map", name, got)
			}
			if got := g.book.Load().heard; time.Since(got) < refreshEvery {
				t.Errorf("%s: counts as heard at %s", name, got)
			}
			c.set(func(c *fakeControl) { c.slice = good })
			time.Sleep(2 * refreshEvery)
		}
		c.set(func(c *fakeControl) { c.slice = testSlice(t, "/b") })
		time.Sleep(2 * refreshEvery)
		if a, b := ask(t, g, "/a", key.token(t)), ask(t, g, "/b", key.token(t)); a != problem.InsideRoute || b != problem.OK {
			t.Errorf("after the change: /a %v, /b %v", a, b)
		}
		other := bytes.ReplaceAll(testSlice(t, "/a"), []byte("shop.example"), []byte("else.example"))
		c.set(func(c *fakeControl) { c.slice = other })
		time.Sleep(2 * refreshEvery)
		if got := ask(t, g, "/b", key.token(t)); got != problem.OK {
			t.Errorf("with a map of another zone than the identity's: %v, want the old map", got)
		}
		renamed := bytes.Replace(testSlice(t, "/b"), []byte("https://shop.example"), []byte("https://else.example"), 1)
		c.set(func(c *fakeControl) { c.slice = renamed })
		time.Sleep(2 * refreshEvery)
		if got := ask(t, g, "/b", key.token(t)); got != problem.InsideTokenInvalid {
			t.Errorf("token of the zone's old issuer: %v", got)
		}
	})
}

// TestLongPoll: control tells a change at once, is asked seldom while there is
// none, and its 304 counts as heard.
func TestLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k1, k2 := newTestKey(t, "k1"), newTestKey(t, "k2")
		c := &fakeControl{slice: testSlice(t, "/a"), keys: jwks(t, k1), waits: true}
		g := newTestGuard(t, t.Context(), c)
		if err := g.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		c.mu.Lock()
		polls, fetches := c.polls, c.fetches
		c.mu.Unlock()
		if got := ask(t, g, "/a", k1.token(t)); got != problem.OK || polls > 400 || fetches > 400 {
			t.Errorf("after an hour without change: %v, %d polls, %d fetches of keys; want about 355", got, polls, fetches)
		}
		synctest.Wait()
		time.Sleep(2 * time.Second)
		c.set(func(c *fakeControl) { c.slice = testSlice(t, "/b") })
		time.Sleep(2 * retryFirst)
		if a, b := ask(t, g, "/a", k1.token(t)), ask(t, g, "/b", k1.token(t)); a != problem.InsideRoute || b != problem.OK {
			t.Errorf("right after the change: /a %v, /b %v", a, b)
		}
		time.Sleep(4 * time.Second) // control holds its answer now
		c.mu.Lock()
		c.keys = jwks(t, k1, k2) // which the held answer does not tell
		c.mu.Unlock()
		start := time.Now()
		if got := ask(t, g, "/b", k2.token(t)); got != problem.OK || time.Since(start) > time.Second {
			t.Errorf("a new key while control holds its answer: %v after %s", got, time.Since(start))
		}
		stranger := newTestKey(t, "k3")
		for range 100 { // each interrupts the answer that control holds
			time.Sleep(askEvery + time.Millisecond)
			ask(t, g, "/b", stranger.token(t))
		}
		if got := ask(t, g, "/b", k2.token(t)); got != problem.OK {
			t.Errorf("while somebody sends unknown keys all the time: %v", got)
		}
	})
}

func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := newTestGuard(t, ctx, &fakeControl{down: true})
		synctest.Wait()
		cancel()
		if err := g.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("Wait of an ended guard = %v", err)
		}
		// synctest.Test fails when the guard's goroutine goes on.
	})
}

func TestAsks(t *testing.T) {
	closed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	a := asks{wake: make(chan struct{}, 1)}
	now := time.Unix(1e9, 0)
	first := a.ask(now)
	if first == nil || len(a.wake) != 1 {
		t.Fatal("the first ask wakes nobody")
	}
	if again := a.ask(now.Add(time.Millisecond)); again != first {
		t.Error("a second ask does not join the first")
	}
	done := a.begin()
	if during := a.ask(now.Add(time.Second)); during != first {
		t.Error("an ask during the refresh does not join it")
	}
	a.end(done)
	if !closed(first) {
		t.Error("who asked is not told of the end")
	}
	if soon := a.ask(now.Add(askEvery - 1)); soon != nil {
		t.Error("an ask too soon after the last wakes again")
	}
	if later := a.ask(now.Add(askEvery)); later == nil || closed(later) {
		t.Error("an ask later on wakes nobody")
	}
	a.end(a.begin())
	a.end(a.begin()) // one that nobody asked for
}

func TestPause(t *testing.T) {
	for _, tt := range []struct {
		failures  int
		min, most time.Duration
	}{
		{0, 8 * time.Second, 12 * time.Second},
		{1, 80 * time.Millisecond, 120 * time.Millisecond},
		{3, 320 * time.Millisecond, 480 * time.Millisecond},
		{7, 4 * time.Second, 6 * time.Second},
		{1 << 40, 4 * time.Second, 6 * time.Second},
	} {
		for range 50 {
			if got := pause(tt.failures); got < tt.min || got > tt.most {
				t.Errorf("pause(%d) = %s, want %s to %s", tt.failures, got, tt.min, tt.most)
			}
		}
	}
}
