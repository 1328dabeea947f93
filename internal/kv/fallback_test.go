package kv_test

import (
	"testing"
	"time"

	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/kv/valkeytest"
	"sallyport.dev/zone"
)

// Whoever is refused by what this process counted itself is let in when it says so,
// by the server too: whenever the process began.
func TestFallbackReset(t *testing.T) {
	s := valkeytest.Start(t)
	v := openValkey(t, s.URL(), kv.ValkeyOptions{})
	v.UseCallerTime()
	began := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	for i, late := range []time.Duration{0, time.Millisecond, 200 * time.Millisecond, 374 * time.Millisecond, time.Second} {
		start := began.Add(late)
		f := kv.NewFallback(v, kv.NewMemory(func() time.Time { return start }, 1000))
		rate := zone.Rate{Count: 2, Window: 3 * time.Second}
		key, now := string(rune('a'+i)), start.Add(333*time.Millisecond)
		for range rate.Count {
			if r, err := f.Take(t.Context(), key, rate, now); err != nil || !r.Allowed {
				t.Fatalf("%v: within the rate: %+v, %v", late, r, err)
			}
		}
		refused, err := f.Take(t.Context(), key, rate, now)
		if err != nil || refused.Allowed {
			t.Fatalf("%v: over the rate: %+v, %v", late, refused, err)
		}
		if r, err := f.Take(t.Context(), key, rate, now.Add(refused.Reset-time.Microsecond)); err != nil || r.Allowed {
			t.Errorf("%v: just before %v are over: %+v, %v, want refused", late, refused.Reset, r, err)
		}
		if r, err := f.Take(t.Context(), key, rate, now.Add(refused.Reset)); err != nil || !r.Allowed {
			t.Errorf("%v: after %v: %+v, %v, want allowed", late, refused.Reset, r, err)
		}
	}
}

// What is counted here counts from when the server has counted it: a request that was
// long under way does not free its place here before it does there.
func TestFallbackCountsNoSooner(t *testing.T) {
	s := valkeytest.Start(t)
	v := openValkey(t, s.URL(), kv.ValkeyOptions{})
	v.UseCallerTime()
	came := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	clock := came
	f := kv.NewFallback(v, kv.NewMemory(func() time.Time { return clock }, 1000))
	rate := zone.Rate{Count: 1, Window: 8 * time.Second}
	clock = came.Add(3 * time.Second)
	if r, err := f.Take(t.Context(), "a", rate, came); err != nil || !r.Allowed {
		t.Fatalf("%+v, %v", r, err)
	}
	r, err := f.Take(t.Context(), "a", rate, clock)
	if err != nil || r.Allowed || r.Reset < rate.Window {
		t.Errorf("after 3 s under way: %+v, %v, want refused for the whole window", r, err)
	}
}
