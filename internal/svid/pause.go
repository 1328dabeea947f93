package svid

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	retryFirst = 100 * time.Millisecond // after the first failure; doubles with each
	retryMost  = 10 * time.Second
)

// pause returns how long to wait after so many failures in a row, at least one.
func pause(failures int) time.Duration {
	return spread(min(retryFirst<<min(failures-1, 10), retryMost))
}

// spread moves a time by up to a fifth to both sides, so that the workloads of a
// zone do not act in step.
func spread(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5+1) // #nosec G404 -- a spread, not a secret
}

// sleep waits; the error is that of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sleepUntil waits for a time of the clock. It looks at the clock again and
// again: a host that slept wakes up late, and its timers do not know.
func sleepUntil(ctx context.Context, clock func() time.Time, at time.Time) error {
	for {
		left := at.Sub(clock())
		if left <= 0 {
			return ctx.Err()
		}
		if err := sleep(ctx, min(left, recheck)); err != nil {
			return err
		}
	}
}
