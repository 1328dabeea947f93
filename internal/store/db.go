package store

import (
	"context"
	"sync/atomic"
)

// DB is one open database. It is safe for concurrent use.
type DB struct {
	dialect dialect
	engine  engine
	closed  atomic.Bool
	feed    feed
}

// Close ends the database. Transactions under way come to their end; later
// ones are refused with ErrUnavailable.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	return db.engine.close()
}

// Ping says whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	return db.View(ctx, func(ctx context.Context, tx *Tx) error {
		var one int
		return tx.QueryRow(ctx, "SELECT 1").Scan(&one)
	})
}

// Tx runs fn, once, in a write transaction and commits it when fn returns nil.
// Any error, panic or end of ctx rolls everything back; fn's error is returned
// as it is. Write transactions follow one another, those of other processes too:
// keep fn short, and do nothing in it that waits for the network. fn must use
// the context it is given, and not start another transaction with it.
//
// The commit itself cannot be cancelled. nil means committed and on disk. An
// error means that nothing was changed, with one exception: when the connection
// to a server is lost in the middle of the commit nobody knows, and the error,
// ErrUnavailable, says so. A revocation among it is told if it was committed
// (see Follower).
func (db *DB) Tx(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return db.run(ctx, forWrite, fn)
}

// View runs fn over one unchanging moment of the database. Writing fails.
func (db *DB) View(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return db.run(ctx, forView, fn)
}

// Look is View for one statement that finds something by its key: it sees one
// moment by itself and so needs no transaction, which is half of the cost. A second
// statement fails. The end of ctx may leave the statement running to its own end.
func (db *DB) Look(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return db.run(ctx, forLook, fn)
}

// inside marks the context of a transaction of one database.
type inside struct{ db *DB }

func (db *DB) run(ctx context.Context, m mode, fn func(context.Context, *Tx) error) error {
	if ctx.Value(inside{db}) != nil {
		return errNested // it would wait for itself
	}
	if db.closed.Load() {
		return errClosed
	}
	if err := ctx.Err(); err != nil {
		return db.wrap("begin", err)
	}
	s, err := db.engine.begin(ctx, m)
	if err != nil {
		return db.wrap("begin", err)
	}
	tx := &Tx{db: db, session: s, view: m.reads(), once: m == forLook}
	committing := false
	defer func() {
		if !committing { // an error, a panic or runtime.Goexit
			s.rollback()
		}
	}()

	if err := fn(context.WithValue(ctx, inside{db}, tx), tx); err != nil {
		return err
	}
	if tx.failed != nil {
		return tx.failed
	}
	if tx.open != nil {
		return errRowsOpen
	}
	if err := ctx.Err(); err != nil {
		return db.wrap("commit", err)
	}
	return db.feed.publish(ctx, tx, func() error {
		committing = true
		if err := s.commit(); err != nil {
			return db.wrap("commit", err)
		}
		return nil
	})
}
