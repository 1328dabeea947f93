package mail

import (
	"context"
	"time"
)

const (
	poll          = time.Second      // other processes' rows, and those to be tried again
	lanes         = 4                // deliveries at once, each over a connection of its own
	deliveryLimit = 30 * time.Second // of one delivery, and of making a connection
	lastDelivery  = 5 * time.Second  // how long one under way may go on when the process stops
	lastWrite     = 5 * time.Second  // to note what became of it
)

// Run sends what waits until ctx ends, and then returns nil. What fails is
// logged and done again in its time.
func (o *Outbox) Run(ctx context.Context) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	woken := true // there may be rows of an earlier life
	for {
		if err := o.turn(ctx, woken); err != nil && ctx.Err() == nil {
			o.log.ErrorContext(ctx, "outbox not worked on", "error", err)
		}
		select {
		case <-o.wake:
			woken = true
		case <-tick.C:
			woken = false
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
			defer cancel()
			if err := o.payOwed(ctx); err != nil {
				o.log.ErrorContext(ctx, "sent letters not noted: they may be sent twice", "error", err)
			}
			return nil
		}
	}
}

// turn sweeps when it is time, and works while anything is due.
func (o *Outbox) turn(ctx context.Context, woken bool) error {
	if err := o.sweepInTime(ctx); err != nil {
		return err
	}
	if !woken {
		if due, err := o.anyDue(ctx); err != nil || !due {
			return err
		}
	}
	return o.Flush(ctx)
}

// Flush works until nothing is due, or the server is away. Run does it by
// itself; tests and tools call it.
func (o *Outbox) Flush(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := o.round(ctx)
		if err != nil || n == 0 {
			return err
		}
	}
	return ctx.Err()
}
