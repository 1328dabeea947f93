package kv_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/kv/kvtest"
	"sallyport.dev/internal/kv/valkeytest"
	"sallyport.dev/zone"
)

// patience is the longest time that a call takes where a test is not about it.
const patience = time.Minute

// openValkey opens a server for a test, with patience.
func openValkey(t testing.TB, url string, o kv.ValkeyOptions) *kv.Valkey {
	t.Helper()
	return openAsIs(t, url, o.Patient())
}

// openAsIs is openValkey with the heart of production.
func openAsIs(t testing.TB, url string, o kv.ValkeyOptions) *kv.Valkey {
	t.Helper()
	if o.Zone == "" {
		o.Zone = "shop"
	}
	if o.Timeout == 0 {
		o.Timeout = patience
	}
	v, err := kv.OpenValkey(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// eventually waits until what is asked for is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestValkey(t *testing.T) {
	s := valkeytest.Start(t)
	n := 0
	kvtest.Run(t, func(t *testing.T) kvtest.Engine {
		n++
		v := openValkey(t, s.URL(), kv.ValkeyOptions{Zone: fmt.Sprint("zone", n)})
		v.UseCallerTime()
		return kvtest.Engine{Store: v, Pass: time.Sleep, Grain: time.Microsecond}
	})
}

// fallen is Fallback as the suite's Counters.
type fallen struct {
	kv.Store
	*kv.Fallback
}

func (f fallen) Take(ctx context.Context, key string, rate zone.Rate, now time.Time) (kv.Result, error) {
	return f.Fallback.Take(ctx, key, rate, now)
}

func (f fallen) Undo(ctx context.Context, key string, rate zone.Rate, now time.Time) error {
	return f.Fallback.Undo(ctx, key, rate, now)
}

// The contract holds with the fallback too: while the server is there, and while
// it is not, where values cannot be had.
func TestFallbackContract(t *testing.T) {
	s := valkeytest.Start(t)
	n := 0
	kvtest.Run(t, func(t *testing.T) kvtest.Engine {
		n++
		v := openValkey(t, s.URL(), kv.ValkeyOptions{Zone: fmt.Sprint("zone", n)})
		v.UseCallerTime()
		start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
		local := kv.NewMemory(func() time.Time { return start }, 1000)
		return kvtest.Engine{Store: fallen{v, kv.NewFallback(v, local)}, Pass: time.Sleep, Grain: time.Microsecond}
	})
}

// Keys of the server are bounded in size, go away, and say nothing of the caller's.
func TestValkeyKeys(t *testing.T) {
	s := valkeytest.Start(t)
	v := openAsIs(t, s.URL(), kv.ValkeyOptions{})
	const secret = "203.0.113.7|anna@shop.example"
	if _, err := v.Take(t.Context(), secret, zone.Rate{Count: 3, Window: time.Minute}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := v.SetNX(t.Context(), secret, time.Minute); err != nil {
		t.Fatal(err)
	}
	keys, ok := s.Do("KEYS", "*").([]any)
	if !ok || len(keys) != 4 {
		t.Fatalf("keys %v, want a counter, a value, the gateways and the age", keys)
	}
	for _, k := range keys {
		key := fmt.Sprint(k)
		if len(key) < 10 || key[:15] != "sallyport:shop:" || len(key) > 60 {
			t.Errorf("key %q, want a short one of the zone", key)
		}
		if key == "sallyport:shop:born" {
			continue // one for each zone, which stays
		}
		if ms, ok := s.Do("PTTL", key).(int64); !ok || ms <= 0 || ms > 70_000 {
			t.Errorf("key %q lives for %v ms, want up to a window and an eighth, and a little", key, ms)
		}
		if key[15] == 'c' {
			if n, _ := s.Do("STRLEN", key).(int64); n != 44 {
				t.Errorf("counter of %d bytes, want 44", n)
			}
		}
	}
}

// Zones and spaces that share a server do not meet.
func TestValkeySpaces(t *testing.T) {
	s := valkeytest.Start(t)
	a := openValkey(t, s.URL(), kv.ValkeyOptions{Zone: "a"})
	b := openValkey(t, s.URL(), kv.ValkeyOptions{Zone: "b"})
	same := openValkey(t, s.URL(), kv.ValkeyOptions{Zone: "a"})
	for _, c := range []struct {
		name   string
		values kv.Values
		want   bool
	}{
		{"first", a, true},
		{"another process of the zone", same, false},
		{"another zone", b, true},
		{"a space", a.Space("orders"), true},
		{"the same space elsewhere", same.Space("orders"), false},
		{"another space", a.Space("users"), true},
	} {
		if got, err := c.values.SetNX(t.Context(), "nonce", time.Minute); err != nil || got != c.want {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

// A key of ours that holds something else is an error, not a fresh counter, and
// says nothing about the server.
func TestValkeyForeignKeys(t *testing.T) {
	s := valkeytest.Start(t)
	v := openValkey(t, s.URL(), kv.ValkeyOptions{})
	rate := zone.Rate{Count: 3, Window: time.Minute}
	take := func(key string) (kv.Result, error) { return v.Take(t.Context(), key, rate, time.Time{}) }
	if _, err := take("key"); err != nil {
		t.Fatal(err)
	}
	keys, _ := s.Do("KEYS", "*:c:*").([]any)
	for _, put := range [][]any{{"SET", keys[0], "short"}, {"DEL", keys[0]}, {"RPUSH", keys[0], "list"}} {
		s.Do(put...)
		r, err := take("key")
		if want := put[0] != "DEL"; errors.Is(err, kv.ErrUnavailable) != want || r.Allowed == want {
			t.Errorf("after %v: %+v, %v, want ErrUnavailable: %v", put[0], r, err, want)
		}
		if r, err := take("another"); err != nil || v.Away() {
			t.Errorf("another key after %v: %+v, %v, away %v, want none of it", put[0], r, err, v.Away())
		}
		s.Do("DEL", keys[0])
	}
}
