package mail

import (
	"context"
	"time"

	"sallyport.dev/internal/store"
)

const (
	sweepEvery = 30 * time.Second
	keepDead   = 30 * 24 * time.Hour // how long it is kept why a letter was given up
	maxDead    = 10_000              // of how many
	sweepRows  = 500                 // of one transaction: other writers wait for it
	farthest   = 2 * lastRetry       // no row waits longer for its next try
)

// The causes that are no code of SMTP's.
const (
	causeExpired   = "expired"
	causeInvalid   = "invalid"   // address or letter cannot be sent
	causeAltered   = "altered"   // the row is not as it was written
	causeUnwritten = "unwritten" // Render failed, or the seal cannot be opened now
)

// sweepInTime sweeps every half minute.
func (o *Outbox) sweepInTime(ctx context.Context) error {
	now := o.clock()
	o.mu.Lock()
	due := o.swept.IsZero() || now.Sub(o.swept) >= sweepEvery || now.Before(o.swept)
	if due {
		o.swept = now
	}
	o.mu.Unlock()
	if !due {
		return nil
	}
	return o.Sweep(ctx)
}

// Sweep ends the letters that are of no use any more, forgets those that were given
// up long ago or before ten thousand others, has those tried that a clock which was
// put back would let wait for too long, and counts what waits. Run does it by
// itself.
func (o *Outbox) Sweep(ctx context.Context) error {
	now := o.clock()
	expired, err := o.inParts(ctx, `UPDATE mail_outbox SET state = 'dead', cause = 'expired', sealed = NULL, lease = '', ended_at = ?
		WHERE id IN (SELECT id FROM mail_outbox WHERE ended_at = 0 AND expires_at <= ? LIMIT ?)`, store.Micros(now), store.Micros(now), sweepRows)
	if expired > 0 {
		o.metrics.ended.WithLabelValues(causeExpired).Add(float64(expired))
		o.log.WarnContext(ctx, "letters expired unsent", "letters", expired)
	}
	if err != nil {
		return err
	}
	// Earlier versions left the rows of sent letters for a day.
	if _, err := o.inParts(ctx, `DELETE FROM mail_outbox WHERE id IN (SELECT id FROM mail_outbox
		WHERE ended_at > 0 AND (ended_at <= ? OR state <> 'dead') LIMIT ?)`, store.Micros(now.Add(-keepDead)), sweepRows); err != nil {
		return err
	}
	if _, err := o.inParts(ctx, `DELETE FROM mail_outbox WHERE id IN (SELECT id FROM mail_outbox
		WHERE ended_at > 0 ORDER BY ended_at DESC LIMIT ? OFFSET ?)`, sweepRows, o.maxDead); err != nil {
		return err
	}
	if _, err := o.inParts(ctx, `UPDATE mail_outbox SET due_at = ? WHERE id IN (SELECT id FROM mail_outbox
		WHERE ended_at = 0 AND lease = '' AND due_at > ? LIMIT ?)`, store.Micros(now), store.Micros(now.Add(farthest)), sweepRows); err != nil {
		return err
	}
	s, err := o.Status(ctx)
	if err != nil {
		return err
	}
	o.counted(s.Waiting, now)
	o.metrics.show(s, now)
	return nil
}

// inParts runs a statement that changes sweepRows rows at most until nothing is
// left to change, each time in a transaction of its own: other writers come
// between. Each pass takes rows away from the next; none makes any.
func (o *Outbox) inParts(ctx context.Context, statement string, args ...any) (total int64, err error) {
	for ctx.Err() == nil {
		var n int64
		err := o.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = tx.Exec(ctx, statement, args...)
			return err
		})
		if err != nil {
			return total, err
		}
		total += n
		if n < sweepRows {
			return total, nil
		}
	}
	return total, ctx.Err()
}
