package store

import (
	"context"
	"database/sql"
	"strings"
	"unicode/utf8"
)

// Tx is one transaction. It belongs to the function it was handed to, and to
// one goroutine at a time.
//
// The first statement that fails dooms it: later statements return the same
// error and it is rolled back whatever its function returns. ErrNotFound is an
// answer, not a failure.
type Tx struct {
	db      *DB
	session session
	view    bool
	once    bool         // one statement is all
	asked   bool         // it has run
	open    *Rows        // rows that were not read to the end or closed yet
	failed  error        // the first failure
	revoked []Revocation // told to subscribers after the commit
}

// Exec runs a statement and returns how many rows it changed.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := tx.ready(); err != nil {
		return 0, err
	}
	if tx.view {
		return 0, tx.fail(errReadOnly)
	}
	if !texts(args) {
		return 0, tx.fail(errText)
	}
	n, err := tx.session.exec(ctx, tx.db.dialect.rebind(query), args)
	if err != nil {
		return 0, tx.fail(tx.db.wrap("exec", err))
	}
	return n, nil
}

// Query runs a statement that answers with rows. They must be read to the end
// or closed before the next statement.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*Rows, error) {
	if err := tx.ready(); err != nil {
		return nil, err
	}
	if !texts(args) {
		return nil, tx.fail(errText)
	}
	rows, err := tx.session.query(ctx, tx.db.dialect.rebind(query), args)
	if err != nil {
		return nil, tx.fail(tx.db.wrap("query", err))
	}
	tx.open = &Rows{tx: tx, answer: rows}
	return tx.open, nil
}

// QueryRow runs a statement of which the first row matters. Errors show in Scan.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *Row {
	rows, err := tx.Query(ctx, query, args...)
	return &Row{rows: rows, err: err}
}

// texts says whether every text is one that each engine can keep.
func texts(args []any) bool {
	for _, arg := range args {
		if s, ok := arg.(string); ok && (!utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0) {
			return false
		}
	}
	return true
}

// ready says why no statement may run now.
func (tx *Tx) ready() error {
	if tx.failed != nil {
		return tx.failed
	}
	if tx.open != nil {
		return tx.fail(errRowsOpen)
	}
	if tx.once && tx.asked {
		return tx.fail(errOnce)
	}
	tx.asked = true
	return nil
}

// fail dooms the transaction with its first failure and returns err.
func (tx *Tx) fail(err error) error {
	if tx.failed == nil {
		tx.failed = err
	}
	return err
}

// Rows are the answer of a query, read forward once.
type Rows struct {
	tx     *Tx
	answer cursor
}

// Next moves to the next row; false at the end, after which Err says whether
// it was reached. The end closes the rows.
func (r *Rows) Next() bool {
	if r.answer.Next() {
		return true
	}
	r.release()
	return false
}

// Scan copies the columns of the row into dest.
func (r *Rows) Scan(dest ...any) error {
	if err := r.answer.Scan(dest...); err != nil {
		return r.tx.fail(r.tx.db.wrap("scan", err))
	}
	return nil
}

// Err returns what ended the rows early; nil when all were read.
func (r *Rows) Err() error {
	if err := r.answer.Err(); err != nil {
		return r.tx.fail(r.tx.db.wrap("query", err))
	}
	return nil
}

// Close ends the rows. It may be called more than once.
func (r *Rows) Close() error {
	r.release()
	if err := r.answer.Close(); err != nil {
		return r.tx.fail(r.tx.db.wrap("query", err))
	}
	return nil
}

func (r *Rows) release() {
	if r.tx.open == r {
		r.tx.open = nil
	}
}

// Row is the first row of an answer.
type Row struct {
	rows *Rows
	err  error
}

// Scan copies the columns of the row into dest; ErrNotFound when there is no
// row. It must be called, once.
func (r *Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return r.rows.tx.db.wrap("query", sql.ErrNoRows)
	}
	if err := r.rows.Scan(dest...); err != nil {
		_ = r.rows.Close() // the transaction is doomed by the scan
		return err
	}
	return r.rows.Close()
}
