package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/store"
)

// Source is the journal that a Roller counts.
type Source interface {
	ID() string
	Durable() journal.Head
}

// RollerConfig says what is counted and for how long.
type RollerConfig struct {
	DB     *store.DB
	Log    *Log          // of the journal's folder
	Source Source        // only what it has synced is counted: a loss of power takes nothing back
	Retain time.Duration // how long counts are kept; default 30 days
	Every  time.Duration // default 10 s
	Clock  func() time.Time
	Logger *slog.Logger
}

const (
	defaultRetain = 30 * 24 * time.Hour
	defaultEvery  = 10 * time.Second
	purgeEvery    = time.Hour
)

// Roller adds up requests by minute in the database. Counts and the position
// up to which records were counted are changed in one transaction.
type Roller struct {
	c      RollerConfig
	known  map[series]int64
	at     uint64        // the position in the database
	passed atomic.Uint64 // sequence number: records before it are counted
	retain atomic.Int64  // RollerConfig.Retain, or what has come in its place; nanoseconds
}

// NewRoller returns a roller; Run makes it work.
func NewRoller(c RollerConfig) *Roller {
	if c.Every == 0 {
		c.Every = defaultEvery
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Roller{c: c}
	r.SetRetain(c.Retain)
	return r
}

// SetRetain has counts kept for another time; 0 is the default.
func (r *Roller) SetRetain(d time.Duration) {
	if d == 0 {
		d = defaultRetain
	}
	r.retain.Store(int64(d))
}

// Run rolls up and purges until ctx ends. Failures are logged and tried again.
func (r *Roller) Run(ctx context.Context) error {
	tick := time.NewTicker(r.c.Every)
	defer tick.Stop()
	var purged time.Time
	for {
		if _, err := r.Roll(ctx); err != nil && ctx.Err() == nil {
			r.c.Logger.Error("log roll-up failed; it is tried again", "error", err)
		}
		if now := time.Now(); now.Sub(purged) >= purgeEvery {
			purged = now
			if _, err := r.Purge(ctx); err != nil && ctx.Err() == nil {
				r.c.Logger.Error("log roll-ups cannot be purged", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Passed returns the sequence number before which all records are counted.
func (r *Roller) Passed() uint64 { return r.passed.Load() }

// Roll counts everything that is synced and not counted yet, and returns how
// many records that were.
func (r *Roller) Roll(ctx context.Context) (int, error) {
	head := r.c.Source.Durable()
	from, err := r.begin(ctx, head)
	if err != nil {
		return 0, fmt.Errorf("logs: roll up: %w", err)
	}
	c := r.c.Log.reader.Cursor(from)
	total := 0
	for err == nil && c.Position() < head.Sequence {
		var n int
		n, err = r.step(ctx, c, head)
		total += n
		if n == 0 {
			break
		}
	}
	if err = errors.Join(err, c.Close()); err != nil {
		return total, fmt.Errorf("logs: roll up: %w", err)
	}
	return total, nil
}

// begin reads the position and the series.
func (r *Roller) begin(ctx context.Context, head journal.Head) (from uint64, err error) {
	err = r.c.DB.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		if r.at, err = r.position(ctx, tx); err != nil {
			return err
		}
		r.known, err = readSeries(ctx, tx)
		return err
	})
	if err != nil {
		return 0, err
	}
	from = r.at
	if from > head.Sequence {
		r.c.Logger.Error("the journal ends before records that were counted; was an older copy put in its place?",
			"counted", from, "end", head.Sequence)
		from = head.Sequence
	}
	r.passed.Store(from)
	return from, nil
}

func (r *Roller) position(ctx context.Context, tx *store.Tx) (uint64, error) {
	var at int64
	err := tx.QueryRow(ctx, `SELECT sequence FROM log_positions WHERE journal = ?`, r.c.Source.ID()).Scan(&at)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read position: %w", err)
	}
	return uint64(max(at, 0)), nil
}

// step counts one transaction's worth of records.
func (r *Roller) step(ctx context.Context, c *journal.Cursor, head journal.Head) (int, error) {
	from := c.Position()
	t := newTally()
	var b journal.Buffer
	for !t.full() {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		before := c.Position()
		err := c.Next(&b, head.Sequence)
		if err == io.EOF {
			break
		}
		if errors.Is(err, journal.ErrDamaged) {
			r.c.Logger.Error("damaged records are not counted", "after", before, "error", err)
			continue
		}
		if err != nil {
			return 0, err
		}
		if b.First > before {
			r.c.Logger.Warn("records were gone before they were counted", "from", before, "to", b.First)
		}
		for i := range b.Len() {
			if err := t.add(b.At(i)); err != nil {
				r.c.Logger.Error("a damaged record is not counted", "sequence", b.First+uint64(i), "error", err)
			}
		}
	}
	to := c.Position()
	if to == from {
		return 0, nil
	}
	known := maps.Clone(r.known) // a series is known when its transaction is committed
	err := r.c.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := t.write(ctx, tx, known); err != nil {
			return err
		}
		return r.move(ctx, tx, to, head)
	})
	if err != nil {
		return 0, err
	}
	r.known, r.at = known, to
	r.passed.Store(to)
	return t.records, nil
}

// move sets the position, which must still be what this roller made it.
func (r *Roller) move(ctx context.Context, tx *store.Tx, to uint64, head journal.Head) error {
	at, err := r.position(ctx, tx)
	if err != nil {
		return err
	}
	if at != r.at {
		return fmt.Errorf("the position is at %d, not at %d: something else counts this journal", at, r.at)
	}
	anchor, err := head.MarshalText()
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO log_positions (journal, sequence, head, moved_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (journal) DO UPDATE SET sequence = excluded.sequence, head = excluded.head, moved_at = excluded.moved_at`,
		r.c.Source.ID(), int64(to), string(anchor), store.Micros(r.c.Clock()))
	if err != nil {
		return fmt.Errorf("move position: %w", err)
	}
	return nil
}

// Purge removes the counts that are older than Retain, an hour's worth in each
// transaction, and returns how many rows that were.
func (r *Roller) Purge(ctx context.Context) (int64, error) {
	end := r.c.Clock().Add(-time.Duration(r.retain.Load())).Unix() / 60
	var total int64
	for {
		n, more, err := r.purgeHour(ctx, end)
		total += n
		if err != nil {
			return total, fmt.Errorf("logs: purge roll-ups: %w", err)
		}
		if !more {
			return total, nil
		}
	}
}

// purgeHour removes the oldest hour of counts before the minute end.
func (r *Roller) purgeHour(ctx context.Context, end int64) (n int64, more bool, err error) {
	err = r.c.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		first := end
		if err := tx.QueryRow(ctx, `SELECT COALESCE(MIN(minute), ?) FROM log_service_minutes`, end).Scan(&first); err != nil {
			return err
		}
		if first >= end {
			return nil
		}
		more = true
		until := min(first+60, end)
		small, err := tx.Exec(ctx, `DELETE FROM log_service_minutes WHERE minute < ?`, until)
		if err != nil {
			return err
		}
		large, err := tx.Exec(ctx, `DELETE FROM log_minutes WHERE slot < ?`, until*slotsOfMinute)
		n = small + large
		return err
	})
	return n, more, err
}
