package mail

import (
	"context"
	"time"
)

const (
	beat          = time.Second / 2  // between two looks at what is due
	lanes         = 4                // deliveries at once, each over a connection of its own
	deliveryLimit = 30 * time.Second // of one delivery, and of making a connection
	lastDelivery  = 5 * time.Second  // how long one under way may go on when the process stops
	lastWrite     = 5 * time.Second  // to note what became of it
)

// Run sends what waits until ctx ends, and then returns nil. What fails is
// logged and done again in its time. It works at its own beat, and is not woken by
// who asks for a letter: what is done for an account that is there, and for no other,
// would slow down the very next request, which tells.
func (o *Outbox) Run(ctx context.Context) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		if err := o.turn(ctx); err != nil && ctx.Err() == nil {
			o.log.ErrorContext(ctx, "outbox not worked on", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.note)
			defer cancel()
			if err := o.payOwed(ctx); err != nil {
				o.log.ErrorContext(ctx, "sent letters not noted: they may be sent twice", "error", err)
			}
			return nil
		}
	}
}

// turn sweeps when it is time, and works while anything is due.
func (o *Outbox) turn(ctx context.Context) error {
	if err := o.sweepInTime(ctx); err != nil {
		return err
	}
	if due, err := o.anyDue(ctx); err != nil || !due {
		return err
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
