package kvtest

import (
	"bytes"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/kv"
)

// within runs an episode with a life that is short, for engines that must wait,
// and says whether what should be there in that life was. Where it was not, but
// the life was over before the episode was, a longer life decides.
func within(t *testing.T, episode func(life time.Duration) (there bool)) {
	t.Helper()
	for life := 200 * time.Millisecond; ; life *= 2 {
		began := time.Now()
		if episode(life) {
			return
		}
		if time.Since(began) < life || life > time.Minute {
			t.Errorf("not there within its life of %v", life)
			return
		}
	}
}

// once: a nonce is taken once in its life, whoever comes at the same time.
func once(t *testing.T, e Engine) {
	setNX := func(want bool, life time.Duration, what string) {
		t.Helper()
		if got, err := e.SetNX(t.Context(), "nonce", life); err != nil || got != want {
			t.Errorf("SetNX %s = %v, %v, want %v", what, got, err, want)
		}
	}
	var short time.Duration
	within(t, func(life time.Duration) bool {
		short = life
		must(t, e.Delete(t.Context(), "nonce"))
		setNX(true, life, "first")
		again, err := e.SetNX(t.Context(), "nonce", life)
		must(t, err)
		return !again
	})
	e.Pass(short + time.Millisecond)
	setNX(true, time.Hour, "after its life")
	setNX(false, time.Hour, "again after its life")
	must(t, e.Delete(t.Context(), "nonce"))
	setNX(true, time.Hour, "after Delete")
	if v, ok, err := e.Get(t.Context(), "nonce"); err != nil || !ok || len(v) != 0 {
		t.Errorf("Get of a nonce = %q, %v, %v, want empty, true", v, ok, err)
	}
	must(t, e.Set(t.Context(), "value", []byte("v"), time.Hour))
	if got, err := e.SetNX(t.Context(), "value", time.Hour); err != nil || got {
		t.Errorf("SetNX over a value = %v, %v, want false", got, err)
	}

	var won atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			ok, err := e.SetNX(t.Context(), "race", time.Hour)
			if err != nil {
				t.Error(err)
			}
			if ok {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if n := won.Load(); n != 1 {
		t.Errorf("%d of 16 at once were first, want 1", n)
	}
}

func values(t *testing.T, e Engine) {
	get := func(key, want string, there bool, what string) {
		t.Helper()
		if v, ok, err := e.Get(t.Context(), key); err != nil || ok != there || string(v) != want {
			t.Errorf("Get %s = %q, %v, %v, want %q, %v", what, v, ok, err, want, there)
		}
	}
	get("a", "", false, "of nothing")
	mine := []byte("one")
	must(t, e.Set(t.Context(), "a", mine, time.Hour))
	copy(mine, "xxx")
	get("a", "one", true, "after the caller wrote into its own")
	got, _, err := e.Get(t.Context(), "a")
	must(t, err)
	copy(got, "yyy")
	get("a", "one", true, "after a reader wrote into its own")

	must(t, e.Set(t.Context(), "b", nil, time.Hour))
	var short time.Duration
	within(t, func(life time.Duration) bool {
		short = life
		must(t, e.Set(t.Context(), "c", []byte("short"), life))
		must(t, e.Set(t.Context(), "c", []byte("longer"), time.Hour))
		must(t, e.Set(t.Context(), "a", []byte("two"), life))
		v, ok, err := e.Get(t.Context(), "a")
		must(t, err)
		return ok && string(v) == "two"
	})
	get("b", "", true, "of an empty value")
	e.Pass(short + time.Millisecond)
	get("a", "", false, "after its life")
	get("c", "longer", true, "after the life of the one before")
	must(t, e.Delete(t.Context(), "c"))
	must(t, e.Delete(t.Context(), "c"))
	get("c", "", false, "after Delete")

	largest := bytes.Repeat([]byte{0xff}, kv.MaxValue)
	must(t, e.Set(t.Context(), longest, largest, time.Hour))
	get(longest, string(largest), true, "of the largest")
}

func valuesRefused(t *testing.T, e Engine) {
	ctx := t.Context()
	for _, c := range []struct {
		name  string
		key   string
		value []byte
		ttl   time.Duration
	}{
		{"no key", "", nil, time.Minute},
		{"long key", tooLong, nil, time.Minute},
		{"large value", "key", make([]byte, kv.MaxValue+1), time.Minute},
		{"no life", "key", nil, 0},
		{"negative life", "key", nil, -time.Minute},
		{"endless life", "key", nil, math.MaxInt64},
	} {
		if err := e.Set(ctx, c.key, c.value, c.ttl); !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("Set with %s: %v, want ErrInvalid", c.name, err)
		}
		if c.value == nil {
			if ok, err := e.SetNX(ctx, c.key, c.ttl); !errors.Is(err, kv.ErrInvalid) || ok {
				t.Errorf("SetNX with %s: %v, %v, want false, ErrInvalid", c.name, ok, err)
			}
		}
	}
	for _, key := range []string{"", tooLong} {
		if _, ok, err := e.Get(ctx, key); !errors.Is(err, kv.ErrInvalid) || ok {
			t.Errorf("Get of a key of %d bytes: %v, %v, want ErrInvalid", len(key), ok, err)
		}
		if err := e.Delete(ctx, key); !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("Delete of a key of %d bytes: %v, want ErrInvalid", len(key), err)
		}
	}
	if _, ok, err := e.Get(ctx, "key"); err != nil || ok {
		t.Errorf("Get of what was refused = %v, %v, want none", ok, err)
	}
}
