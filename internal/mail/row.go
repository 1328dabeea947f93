package mail

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"sallyport.dev/internal/store"
)

// The states of a row.
const (
	intent  = "intent"  // a job; what to send is not known yet
	ready   = "ready"   // a letter
	sent    = "sent"    // the server took it: the row goes at once
	dropped = "dropped" // there was nothing to send: likewise
	dead    = "dead"    // it was given up; why is kept for a while, and not for whom
)

const (
	batch     = 12               // rows of one round
	leaseLife = 2 * time.Minute  // more than a round takes: three deliveries in each lane
	reserve   = 40 * time.Second // of a lease: less is not enough for a delivery and its commit
)

// row is one that this process has leased.
type row struct {
	id      string
	kind    string
	state   string // intent or ready
	sealed  []byte
	tries   int
	created time.Time
	expires time.Time
	lease   string
	until   time.Time // end of the lease
}

// ending is what becomes of a leased row.
type ending struct {
	row     *row
	state   string    // sent, dropped or dead; else as it was
	cause   string    // of a failure
	due     time.Time // of a row that goes on
	counted bool      // as a try that failed
	noted   bool      // nothing is left to write
	delay   time.Duration
}

func (e ending) ended() bool { return e.state == sent || e.state == dropped || e.state == dead }

// anyDue says whether a row is due, without a write transaction.
func (o *Outbox) anyDue(ctx context.Context) (bool, error) {
	err := o.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		var one int
		return tx.QueryRow(ctx, `SELECT 1 FROM mail_outbox WHERE ended_at = 0 AND due_at <= ? LIMIT 1`, store.Micros(o.clock())).Scan(&one)
	})
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// take leases rows that are due, the longest first. A lease that was not ended
// in its time is anybody's again.
func (o *Outbox) take(ctx context.Context, limit int) ([]*row, error) {
	var list []*row
	lease := strings.ToLower(rand.Text())
	err := o.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		now := o.clock()
		until := now.Add(leaseLife)
		rows, err := tx.Query(ctx, `SELECT id, kind, state, sealed, tries, created_at, expires_at FROM mail_outbox
			WHERE ended_at = 0 AND due_at <= ? ORDER BY due_at LIMIT ?`, store.Micros(now), limit)
		if err != nil {
			return err
		}
		for rows.Next() {
			r := &row{lease: lease, until: until}
			var created, expires int64
			if err := rows.Scan(&r.id, &r.kind, &r.state, &r.sealed, &r.tries, &created, &expires); err != nil {
				return err
			}
			r.created, r.expires = store.FromMicros(created), store.FromMicros(expires)
			list = append(list, r)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for _, r := range list {
			if _, err := tx.Exec(ctx, `UPDATE mail_outbox SET lease = ?, due_at = ? WHERE id = ?`, lease, store.Micros(until), r.id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// end writes what became of rows, in one transaction. A row that another has
// leased since is left to it.
func (o *Outbox) end(ctx context.Context, list ...ending) error {
	return o.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, e := range list {
			if _, err := o.write(ctx, tx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// write returns how many rows were still ours: 1 or 0. Nothing is kept of a letter
// that was sent: that somebody got one, and when, is nobody's business.
func (o *Outbox) write(ctx context.Context, tx *store.Tx, e ending) (int64, error) {
	switch e.state {
	case sent, dropped:
		return tx.Exec(ctx, `DELETE FROM mail_outbox WHERE id = ? AND lease = ? AND ended_at = 0`, e.row.id, e.row.lease)
	case dead:
		return tx.Exec(ctx, `UPDATE mail_outbox SET state = 'dead', cause = ?, sealed = NULL, lease = '', ended_at = ? WHERE id = ? AND lease = ? AND ended_at = 0`,
			e.cause, store.Micros(o.clock()), e.row.id, e.row.lease)
	}
	failed := 0
	if e.counted {
		failed = 1
	}
	return tx.Exec(ctx, `UPDATE mail_outbox SET lease = '', cause = ?, tries = tries + ?, due_at = ? WHERE id = ? AND lease = ? AND ended_at = 0`,
		e.cause, failed, store.Micros(e.due), e.row.id, e.row.lease)
}

// keep seals a letter in the row of its job. It says whether the row is still
// ours: if not the transaction must not be committed.
func (o *Outbox) keep(ctx context.Context, tx *store.Tx, r *row, l *Letter) error {
	text, err := encode(l)
	if err != nil {
		return err
	}
	sealed, err := o.root.Seal(place(r.id, ready), text)
	if err != nil {
		return err
	}
	n, err := tx.Exec(ctx, `UPDATE mail_outbox SET state = ?, sealed = ? WHERE id = ? AND lease = ? AND state = ?`, ready, sealed, r.id, r.lease, intent)
	if err == nil && n != 1 {
		err = errLost
	}
	return err
}

var (
	// errLost says that the lease of a row ended and somebody else has it.
	errLost = errors.New("mail: the lease was lost")
	// errInvalid says that Render wrote a letter that can never be sent.
	errInvalid = errors.New("mail: no letter")
)

// countWaiting counts the rows that wait, up to a bound.
func countWaiting(ctx context.Context, tx *store.Tx, limit int) (n int, err error) {
	err = tx.QueryRow(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM mail_outbox WHERE ended_at = 0 LIMIT ?) AS waiting`, limit).Scan(&n)
	return n, err
}
