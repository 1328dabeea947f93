package kv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/kv/valkeytest"
	"sallyport.dev/zone"
)

var hourly = zone.Rate{Count: 100, Window: time.Hour}

// takeMany takes n times at once through each limiter, each with a clock of its
// own, and returns how many were allowed.
func takeMany(t *testing.T, n int, key string, rate zone.Rate, limiters ...kv.Counters) int {
	t.Helper()
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for i, l := range limiters {
		now := time.Now().Add(time.Duration(i-1) * 24 * time.Hour) // clocks a day apart
		for range 10 {
			wg.Go(func() {
				for range n / 10 {
					r, err := l.Take(t.Context(), key, rate, now)
					if err != nil {
						t.Error(err)
					}
					if r.Allowed {
						allowed.Add(1)
					}
				}
			})
		}
	}
	wg.Wait()
	return int(allowed.Load())
}

// A limit holds exactly over three processes with clocks a day apart, also when
// the server forgets its scripts in between.
func TestValkeyLimitIsShared(t *testing.T) {
	s := valkeytest.Start(t)
	var all []kv.Counters
	for range 3 {
		all = append(all, openValkey(t, s.URL(), kv.ValkeyOptions{}))
	}
	if n := takeMany(t, 20, "key", hourly, all...); n != 60 {
		t.Errorf("%d of 60 allowed, want all: the rate is 100", n)
	}
	s.Do("SCRIPT", "FLUSH")
	if n := takeMany(t, 100, "key", hourly, all...); n != 40 {
		t.Errorf("%d of 300 more allowed, want 40", n)
	}
}

// A server that stands still holds no call longer than the bound, and after the
// first that paid for it none at all. It comes back by itself. The bound is
// doubled until a machine that is slow itself leaves room to see that.
func TestValkeyStandsStill(t *testing.T) {
	s := valkeytest.Start(t)
	var late string
	for bound := 300 * time.Millisecond; bound < time.Minute; bound *= 2 {
		if late = standsStill(t, s, bound); late == "" || t.Failed() {
			break
		}
		t.Logf("with a bound of %v: %s", bound, late)
	}
	if late != "" {
		t.Error(late)
	}
}

// standsStill lets the server stand still under one bound, and says what took too long.
func standsStill(t *testing.T, s *valkeytest.Server, bound time.Duration) (late string) {
	v, err := kv.OpenValkey(t.Context(), s.URL(), kv.ValkeyOptions{Zone: fmt.Sprint("still", bound), Timeout: bound})
	if err != nil {
		return fmt.Sprintf("control: open: %v", err)
	}
	defer func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx := t.Context()
	var channel atomic.Int64 // what is heard already need not be asked for
	calls := map[string]func() error{
		"take":      func() error { _, err := v.Take(ctx, "key", hourly, time.Now()); return err },
		"set once":  func() error { _, err := v.SetNX(ctx, "once", time.Minute); return err },
		"set":       func() error { return v.Set(ctx, "value", nil, time.Minute) },
		"get":       func() error { _, _, err := v.Get(ctx, "value"); return err },
		"delete":    func() error { return v.Delete(ctx, "value") },
		"publish":   func() error { return v.Publish(ctx, "news", nil) },
		"subscribe": func() error { _, err := v.Subscribe(ctx, fmt.Sprint("news", channel.Add(1))); return err },
	}
	for name, call := range calls {
		if err := call(); err != nil {
			return fmt.Sprintf("control: %s of a server that runs: %v", name, err)
		}
	}
	s.Pause()
	resume := sync.OnceFunc(s.Resume)
	defer resume()
	var slowest atomic.Int64
	var wg sync.WaitGroup
	for name, call := range calls {
		for range 8 {
			wg.Go(func() {
				began := time.Now()
				if err := call(); !errors.Is(err, kv.ErrUnavailable) {
					t.Errorf("%s of a server that stands still: %v, want ErrUnavailable", name, err)
				}
				took := int64(time.Since(began))
				for most := slowest.Load(); took > most && !slowest.CompareAndSwap(most, took); {
					most = slowest.Load()
				}
			})
		}
	}
	wg.Wait()
	if !v.Away() {
		t.Error("the server is not away")
	}
	began := time.Now()
	for name, call := range calls {
		for range 100 {
			if err := call(); !errors.Is(err, kv.ErrUnavailable) {
				t.Fatalf("%s: %v, want ErrUnavailable", name, err)
			}
		}
	}
	known := time.Since(began)
	resume()
	eventually(t, "the server is back", func() bool { return !v.Away() })
	for name, call := range calls {
		eventually(t, name+" of a server that is back", func() bool { return call() == nil })
	}
	if took := time.Duration(slowest.Load()); took > 2*bound {
		return fmt.Sprintf("a call to a server that stands still took %v, want %v", took, bound)
	}
	if known > bound {
		return fmt.Sprintf("700 calls to a server that is known to be away took %v, want nearly nothing", known)
	}
	return ""
}

// A caller that gives up says nothing about the server.
func TestValkeyCallerLeaves(t *testing.T) {
	s := valkeytest.Start(t)
	v := openValkey(t, s.URL(), kv.ValkeyOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Take(ctx, "key", hourly, time.Now()); !errors.Is(err, context.Canceled) {
		t.Errorf("take: %v, want context.Canceled", err)
	}
	s.Pause()
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := v.Get(short, "key"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("get: %v, want context.DeadlineExceeded alone", err)
	}
	if _, err := v.Take(short, "key", hourly, time.Now()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("take: %v, want context.DeadlineExceeded", err)
	}
	s.Resume()
	if v.Away() {
		t.Error("the server is away")
	}
}

// safeBuffer is a log that several goroutines write.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.b.String(), text)
}

// Two processes over a server that dies and comes back empty: all together the
// count at most, by shares while it is away; then shared again.
func TestFallbackShares(t *testing.T) {
	s := valkeytest.Start(t)
	var logged safeBuffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	var v [2]*kv.Valkey
	var f [2]*kv.Fallback
	for i := range f {
		v[i] = openValkey(t, s.URL(), kv.ValkeyOptions{Log: log})
		f[i] = kv.NewFallback(v[i], kv.NewMemory(time.Now, 1000))
	}
	if err := v[0].Beat(); err != nil { // it has not heard of the second yet
		t.Fatal(err)
	}
	for i := range v {
		if n := v[i].Gateways(); n != 2 {
			t.Fatalf("process %d knows of %d, want 2", i, n)
		}
	}
	if n := takeMany(t, 200, "shared", hourly, f[0], f[1]); n != 100 || f[0].Local() {
		t.Errorf("with the server: %d allowed, local %v, want 100, false", n, f[0].Local())
	}
	takeMany(t, 30, "before", hourly, f[0])

	s.Kill()
	if n := takeMany(t, 200, "away", hourly, f[0], f[1]); n != 100 {
		t.Errorf("away: %d allowed by two, want 100", n)
	}
	if n := takeMany(t, 200, "before", hourly, f[0]); n != 20 {
		t.Errorf("away: %d more allowed after 30 of a share of 50, want 20", n)
	}
	if n := takeMany(t, 20, "one", zone.Rate{Count: 1, Window: time.Hour}, f[0]); n != 1 {
		t.Errorf("away: %d allowed of 1 an hour, want 1", n)
	}
	for i := range f {
		if !f[i].Local() {
			t.Errorf("process %d is not local", i)
		}
	}

	s.Start()
	for i := range f {
		eventually(t, "shared again", func() bool { return !f[i].Local() })
	}
	if n := takeMany(t, 200, "again", hourly, f[0], f[1]); n != 100 {
		t.Errorf("with the server again: %d allowed, want 100", n)
	}
	if away, back := logged.count("valkey is away"), logged.count("valkey is back"); away != 2 || back != 2 {
		t.Errorf("logged %d times away and %d times back, want each process once", away, back)
	}
}

// One process alone is exact, whatever the server does.
func TestFallbackAlone(t *testing.T) {
	s := valkeytest.Start(t)
	f := kv.NewFallback(openValkey(t, s.URL(), kv.ValkeyOptions{}), kv.NewMemory(time.Now, 1000))
	sum := takeMany(t, 60, "key", hourly, f)
	s.Kill()
	sum += takeMany(t, 20, "key", hourly, f)
	if sum != 80 {
		t.Errorf("%d of 80 allowed, want all", sum)
	}
	s.Start() // empty
	eventually(t, "shared again", func() bool { return !f.Local() })
	if n := takeMany(t, 100, "key", hourly, f); n != 20 {
		t.Errorf("%d more allowed, want 20: the server has forgotten, the process has not", n)
	}
}

// Killed and started again in the middle of traffic: no call hangs, none is
// allowed twice, and all goes on.
func TestValkeyKilledInTheMiddle(t *testing.T) {
	s := valkeytest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	v := openValkey(t, s.URL(), kv.ValkeyOptions{})
	var first, failed atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				nonce := fmt.Sprint(g, " ", i)
				ok, err := v.SetNX(t.Context(), nonce, time.Hour)
				switch {
				case errors.Is(err, kv.ErrUnavailable) && !ok:
					failed.Add(1)
					time.Sleep(time.Millisecond) // room for others
				case err != nil:
					t.Errorf("set once: %v", err)
				case !ok:
					t.Errorf("nonce %q is known before its first use", nonce)
				default:
					first.Add(1)
					if ok, err := v.SetNX(t.Context(), nonce, time.Hour); ok {
						t.Errorf("nonce %q is taken twice (%v)", nonce, err)
					}
				}
			}
		})
	}
	for range 2 {
		before := first.Load()
		eventually(t, "nonces are taken", func() bool { return first.Load() > before+50 })
		s.Kill()
		eventually(t, "nonces are refused", func() bool { return failed.Load() > 0 && v.Away() })
		s.Start()
		eventually(t, "the server is back", func() bool { return !v.Away() })
	}
	cancel()
	wg.Wait()
}

// restarted is a process that has used the nonce "a" before its server was killed
// and started again at began, and one that came later.
func restarted(t *testing.T, kept string, life time.Duration) (old, newcomer *kv.Valkey, began time.Time) {
	t.Helper()
	s := valkeytest.Start(t, "--appendonly", kept, "--appendfsync", "always")
	old = openValkey(t, s.URL(), kv.ValkeyOptions{})
	if ok, err := old.SetNX(t.Context(), "a", life); !ok || err != nil {
		t.Fatalf("control: %v, %v", ok, err)
	}
	s.Kill()
	began = time.Now()
	s.Start()
	return old, openValkey(t, s.URL(), kv.ValkeyOptions{}), began
}

// A server that comes back empty has forgotten nonces: every process refuses
// them until none of the lost ones counts any more.
func TestValkeyForgets(t *testing.T) {
	t.Parallel()
	taken := func(t *testing.T, v *kv.Valkey, nonce string, life time.Duration) {
		t.Helper()
		eventually(t, "nonces are taken", func() bool { ok, err := v.SetNX(t.Context(), nonce, life); return ok && err == nil })
	}
	t.Run("appendonly yes", func(t *testing.T) {
		t.Parallel()
		old, newcomer, _ := restarted(t, "yes", time.Hour)
		for i, v := range []*kv.Valkey{old, newcomer} {
			taken(t, v, fmt.Sprint("b", i), time.Hour)
			if ok, err := v.SetNX(t.Context(), "a", time.Hour); ok || err != nil {
				t.Errorf("process %d: the same nonce: %v, %v, want false", i, ok, err)
			}
		}
	})
	t.Run("appendonly no", func(t *testing.T) {
		t.Parallel()
		old, newcomer, _ := restarted(t, "no", time.Hour)
		for i, v := range []*kv.Valkey{old, newcomer} { // the old one also before it has noticed
			for _, nonce := range []string{"a", "b"} {
				if ok, err := v.SetNX(t.Context(), nonce, time.Hour); ok || !errors.Is(err, kv.ErrUnavailable) {
					t.Errorf("process %d: nonce %s: %v, %v, want ErrUnavailable", i, nonce, ok, err)
				}
			}
			eventually(t, "the server is back", func() bool { return !v.Away() })
		}
	})
	t.Run("until they are over", func(t *testing.T) {
		t.Parallel()
		const life = 3 * time.Second
		old, newcomer, began := restarted(t, "no", life)
		taken(t, old, "b", life)
		taken(t, newcomer, "a", life)
		if took := time.Since(began); took < life {
			t.Errorf("a nonce was taken again after %v, want %v", took, life)
		}
	})
}

// A subscription outlives its connection.
func TestValkeyListensAgain(t *testing.T) {
	t.Parallel()
	s := valkeytest.Start(t)
	v := openValkey(t, s.URL(), kv.ValkeyOptions{})
	other := openValkey(t, s.URL(), kv.ValkeyOptions{})
	sub, err := v.Subscribe(t.Context(), "news")
	if err != nil {
		t.Fatal(err)
	}
	hears := func(text string) bool {
		_ = other.Publish(t.Context(), "news", []byte(text))
		select {
		case m := <-sub.C:
			return string(m) == text
		case <-time.After(20 * time.Millisecond):
			return false
		}
	}
	eventually(t, "heard", func() bool { return hears("one") })
	s.Kill()
	s.Start()
	eventually(t, "heard after a restart", func() bool { return hears("two") })
	s.Do("CLIENT", "KILL", "TYPE", "pubsub")
	eventually(t, "heard on a new connection", func() bool { return hears("three") })

	sub.Close()
	eventually(t, "the channel is given up", func() bool {
		channels, _ := s.Do("PUBSUB", "CHANNELS").([]any)
		return len(channels) == 1 // the one that is always there
	})
	if _, err := v.Subscribe(t.Context(), "news"); err != nil {
		t.Errorf("subscribe again: %v", err)
	}
}
