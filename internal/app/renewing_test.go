package app

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestRenewing: an identity is renewed at half of its life by the clock, also
// when the host slept meanwhile and its timers did not see it; what fails is tried
// again soon.
func TestRenewing(t *testing.T) {
	for _, c := range []struct {
		what  string
		slept time.Duration // what the clock moves on at once
		fails int           // so many times at first
		after time.Duration // of the timers
		want  int           // identities made
	}{
		{"before half", 0, 0, 29 * time.Minute, 0},
		{"at half", 0, 0, 31 * time.Minute, 1},
		{"twice", 0, 0, 61 * time.Minute, 2},
		{"the host slept", 2 * time.Hour, 0, 2 * time.Minute, 1},
		{"the host slept a little", 10 * time.Minute, 0, 2 * time.Minute, 0},
		{"fails once", 0, 1, 36 * time.Minute, 1},
		{"slept, and fails", 2 * time.Hour, 3, 2 * time.Minute, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			var offset atomic.Int64
			clock := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
			ends := clock().Add(time.Hour)
			made, asked := 0, 0
			r := renewing{
				name: "gateway", clock: clock, log: slog.New(slog.DiscardHandler),
				ends: func() time.Time { return ends },
				renew: func(context.Context) error {
					if asked++; asked <= c.fails {
						return errors.New("made by the test")
					}
					made++
					ends = clock().Add(time.Hour)
					return nil
				},
			}
			ctx, stop := context.WithCancel(t.Context())
			over := make(chan error)
			go func() { over <- r.run(ctx) }()
			synctest.Wait()
			offset.Add(int64(c.slept))
			time.Sleep(c.after)
			stop()
			if err := <-over; err != nil || made != c.want {
				t.Errorf("%s: %d identities made, %v, want %d", c.what, made, err, c.want)
			}
		})
	}
}
