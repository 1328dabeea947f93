package store

import (
	"context"
	"database/sql"
	"sync/atomic"
)

// DB is one open database. It is safe for concurrent use.
type DB struct {
	dialect dialect
	writer  *sql.DB // write transactions; one connection where the engine has one writer
	readers *sql.DB // views
	closed  atomic.Bool
	feed    feed
}

// Close ends the database. Transactions under way come to their end; later
// ones are refused with ErrUnavailable.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	err := db.readers.Close()
	if werr := db.writer.Close(); err == nil { // last: the engine tidies up with its last connection
		err = werr
	}
	return err
}

// Ping says whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	return db.View(ctx, func(ctx context.Context, tx *Tx) error {
		var one int
		return tx.QueryRow(ctx, "SELECT 1").Scan(&one)
	})
}

// Tx runs fn in a write transaction and commits it when fn returns nil. Any
// error, panic or end of ctx rolls everything back; fn's error is returned as it
// is. Write transactions follow one another: keep fn short, and do nothing in
// it that waits for the network. fn must use the context it is given, and not
// start another transaction with it.
//
// The commit itself cannot be cancelled, so that its outcome is always known:
// nil means committed and on disk, an error means that nothing was changed.
func (db *DB) Tx(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return db.run(ctx, db.writer, false, fn)
}

// View runs fn over one unchanging moment of the database. Writing fails.
func (db *DB) View(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return db.run(ctx, db.readers, true, fn)
}

// inside marks the context of a transaction of one database.
type inside struct{ db *DB }

func (db *DB) run(ctx context.Context, pool *sql.DB, view bool, fn func(context.Context, *Tx) error) error {
	if ctx.Value(inside{db}) != nil {
		return errNested // it would wait for itself
	}
	if db.closed.Load() {
		return errClosed
	}
	sqltx, end, err := begin(ctx, pool, view)
	if err != nil {
		return db.wrap("begin", err)
	}
	defer end()
	tx := &Tx{db: db, sql: sqltx, view: view}
	committed := false
	defer func() {
		if !committed { // an error, a panic or runtime.Goexit
			_ = sqltx.Rollback() // the engine may have rolled back already; the cause is what is told
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
	return db.feed.publish(tx.revoked, func() error {
		if err := sqltx.Commit(); err != nil {
			return db.wrap("commit", err)
		}
		committed = true
		return nil
	})
}

// begin starts a transaction. Waiting for it ends with ctx; once it has begun
// only its owner ends it: database/sql would roll back behind our back when ctx
// ends, even in the middle of a commit, and its outcome would be unknown.
func begin(ctx context.Context, pool *sql.DB, view bool) (*sql.Tx, context.CancelFunc, error) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	tx, err := pool.BeginTx(own, &sql.TxOptions{ReadOnly: view})
	if !stop() { // ctx ended first
		if err == nil {
			_ = tx.Rollback()
		}
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return tx, cancel, nil
}
