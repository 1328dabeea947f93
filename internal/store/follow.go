package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Defaults of FollowConfig.
const (
	followEvery = 250 * time.Millisecond
	lookLimit   = 2 * time.Second
)

// FollowConfig says how revocations of other processes are heard of.
type FollowConfig struct {
	Every time.Duration // default 250 ms
	Look  time.Duration // how long one look may take; default 2 s
	Clock func() time.Time
	Log   *slog.Logger

	// Committed is called with the last number after this process has committed
	// and told revocations of its own: the moment to give the other processes a
	// hint. It must be quick and must not start a write transaction.
	Committed func(last int64)
}

// Follower tells subscribers the revocations that other processes commit, and
// knows since when it has heard nothing.
//
// The embedded store has one process: nothing is to be heard, and what it
// knows is always fresh.
type Follower struct {
	db    *DB
	c     FollowConfig
	alone bool
	hint  chan struct{}
	heard atomic.Pointer[time.Time]
}

// Follow begins to follow the revocations of a database from its last one on,
// and must come before anything is remembered that a revocation may end. Run
// does the work. A database is followed once.
func (db *DB) Follow(ctx context.Context, c FollowConfig) (*Follower, error) {
	if c.Every <= 0 {
		c.Every = followEvery
	}
	if c.Look <= 0 {
		c.Look = lookLimit
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	f := &Follower{db: db, c: c, alone: db.dialect.alone, hint: make(chan struct{}, 1)}
	db.feed.order.Lock()
	defer db.feed.order.Unlock()
	if db.feed.followed || db.feed.committed != nil {
		return nil, errors.New("store: this database is followed already")
	}
	now := c.Clock()
	if !f.alone {
		ctx, cancel := context.WithTimeout(ctx, c.Look)
		defer cancel()
		head, err := db.head(ctx)
		if err != nil {
			return nil, fmt.Errorf("store: follow revocations: %w", err)
		}
		db.feed.followed, db.feed.told = true, history{Revocation{Number: head}}
	}
	db.feed.committed = c.Committed
	f.heard.Store(&now)
	return f, nil
}

// Run looks for news until ctx ends, and returns nil. The database may go away
// and come back meanwhile.
func (f *Follower) Run(ctx context.Context) error {
	if f.alone {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(f.c.Every)
	defer tick.Stop()
	deaf := false
	for {
		err := f.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !deaf:
			f.c.Log.WarnContext(ctx, "revocations of other processes cannot be heard", "error", err)
		case err == nil && deaf:
			f.c.Log.InfoContext(ctx, "revocations of other processes are heard again")
		}
		deaf = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-f.hint:
		}
	}
}

// Nudge says that there may be news, so that it looks at once. It never waits.
func (f *Follower) Nudge() {
	select {
	case f.hint <- struct{}{}:
	default: // it will look already
	}
}

// Heard returns the time up to which every revocation was told.
func (f *Follower) Heard() time.Time { return *f.heard.Load() }

// Fresh says whether what this process remembers may still be believed: no
// longer than grace ago every revocation was known. Both clocks have to say so:
// the monotonic one stands still while the host sleeps, the other may be set back.
func (f *Follower) Fresh(now time.Time, grace time.Duration) bool {
	if f.alone {
		return true
	}
	heard := f.Heard()
	return now.Sub(heard) <= grace && now.Round(0).Sub(heard.Round(0)) <= grace
}

// look asks once and tells what is new.
func (f *Follower) look(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, f.c.Look)
	defer cancel()
	began := f.c.Clock() // what is committed later may be missing in the answer
	feed := &f.db.feed
	feed.order.Lock()
	before := feed.told
	feed.order.Unlock()

	head, rows, err := f.db.since(ctx, before.last.Number)
	if err != nil {
		return err
	}
	defer func() { // a subscriber's defect must not end the following, nor count as heard
		if v := recover(); v != nil {
			err = fmt.Errorf("store: a subscriber of revocations panicked: %v", v)
		}
	}()
	feed.order.Lock()
	defer feed.order.Unlock()
	if feed.told == before { // else a transaction of our own has told all that there was since
		if news := before.news(head, rows, began); len(news) > 0 {
			feed.told = before.after(head, rows)
			feed.tell(news)
		} else if before.last.Kind == "" {
			feed.told = before.after(head, rows) // the row of the number
		}
	}
	f.heard.Store(&began)
	return nil
}

// head returns the last number, on the follower's own connection.
func (db *DB) head(ctx context.Context) (n int64, err error) {
	err = db.run(ctx, forFollower, func(ctx context.Context, tx *Tx) error {
		return tx.QueryRow(ctx, "SELECT number FROM revocation_head WHERE id = 1").Scan(&n)
	})
	return n, err
}

// since returns the last number and the rows from number n on, in one statement.
func (db *DB) since(ctx context.Context, n int64) (head int64, list []Revocation, err error) {
	err = db.run(ctx, forFollower, func(ctx context.Context, tx *Tx) error {
		rows, err := tx.Query(ctx, `SELECT h.number, COALESCE(r.number, 0), COALESCE(r.kind, ''), r.credential, COALESCE(r.subject, ''), COALESCE(r.revoked_at, 0)
			FROM revocation_head h LEFT JOIN revocations r ON r.number >= ? WHERE h.id = 1 ORDER BY r.number LIMIT ?`, n, maxBehind+2)
		if err != nil {
			return err
		}
		found := false
		for rows.Next() {
			var r Revocation
			var kind string
			var credential []byte
			var at int64
			if err := rows.Scan(&head, &r.Number, &kind, &credential, &r.Subject, &at); err != nil {
				return err
			}
			if found = true; r.Number == 0 {
				continue
			}
			r.Kind, r.At = Kind(kind), FromMicros(at)
			copy(r.Credential[:], credential)
			list = append(list, r)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if !found {
			return tx.fail(errNoHead)
		}
		return nil
	})
	return head, list, err
}
