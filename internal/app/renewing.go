package app

import (
	"context"
	"log/slog"
	"time"
)

// renewing keeps an identity of this process fresh: the next one is made at half
// of the life of the one in use.
type renewing struct {
	name  string
	clock func() time.Time
	log   *slog.Logger
	ends  func() time.Time // of the identity in use
	renew func(context.Context) error
}

// lookAgain bounds how long a timer is believed: a host that slept wakes up late,
// and its timers do not know.
const lookAgain = time.Minute

// run renews until ctx ends.
func (r *renewing) run(ctx context.Context) error {
	at := r.half()
	for {
		if wait := at.Sub(r.clock()); wait > 0 {
			timer := time.NewTimer(min(wait, lookAgain))
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil
			case <-timer.C:
			}
			continue
		}
		if err := r.renew(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			r.log.ErrorContext(ctx, "identity not renewed", "name", r.name, "error", err)
			now := r.clock()
			at = now.Add(max(r.ends().Sub(now)/10, time.Second))
			continue
		}
		at = r.half()
	}
}

// half is the middle of what is left of the identity; a moment from now at the
// earliest, so that nothing can make it a busy loop.
func (r *renewing) half() time.Time {
	now := r.clock()
	return now.Add(max(r.ends().Sub(now)/2, time.Second/10))
}
