package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// The errors that callers tell apart, with errors.Is. Whatever else a
// transaction returns is a defect of the statement, or the caller's own error.
var (
	// ErrNotFound: a row that was asked for is not there.
	ErrNotFound = errors.New("not found")
	// ErrConflict: a unique or primary key is taken.
	ErrConflict = errors.New("conflict")
	// ErrUnavailable: the database cannot be reached, read or written now.
	ErrUnavailable = errors.New("store unavailable")
	// ErrNewer: the database was migrated by a newer program.
	ErrNewer = errors.New("database is newer than this program")
)

// Misuse is reported, never worked around: these are defects of the caller.
var (
	errNested   = errors.New("store: transaction inside a transaction")
	errRowsOpen = errors.New("store: rows of this transaction are still open")
	errOnce     = errors.New("store: a look is one statement")
	errReadOnly = errors.New("store: a view cannot write")
	errText     = errors.New("store: a text is not UTF-8 or holds a zero byte")
	errClosed   = fmt.Errorf("%w: closed", ErrUnavailable)
)

// errNoHead is damage, not an answer to anybody's question.
var errNoHead = fmt.Errorf("store: %w: the head of the revocations is missing", ErrUnavailable)

// wrap names the operation that failed and gives the error its kind. An ended
// context stays what it is: the caller gave up, the store did not.
func (db *DB) wrap(op string, err error) error {
	if kind := db.kind(err); kind != nil {
		return fmt.Errorf("store: %s: %w: %w", op, kind, err)
	}
	return fmt.Errorf("store: %s: %w", op, err)
}

// kind returns the error that callers tell err by, nil when it has none.
func (db *DB) kind(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case db.closed.Load(), errors.Is(err, sql.ErrConnDone):
		return ErrUnavailable
	}
	return db.dialect.kind(err)
}
