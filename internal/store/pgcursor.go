package store

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// pgCursor is an answer that is being read.
type pgCursor struct {
	pgx.Rows
	session *pgSession
	parent  context.Context //nolint:containedctx // of the caller, to tell its end from others
	cancel  context.CancelFunc
	batch   pgx.BatchResults // nil when the statement went alone
	err     error
	done    bool
}

func (s *pgSession) cursor(parent context.Context, rows pgx.Rows, err error, cancel context.CancelFunc, batch pgx.BatchResults) (cursor, error) {
	c := &pgCursor{Rows: rows, session: s, parent: parent, cancel: cancel, batch: batch}
	if err == nil {
		return c, nil
	}
	if rows != nil {
		rows.Close()
	}
	if batch != nil {
		_ = batch.Close()
	}
	cancel()
	return nil, s.fault(parent, err)
}

func (c *pgCursor) Next() bool {
	if !c.done && c.Rows.Next() {
		return true
	}
	c.end()
	return false
}

func (c *pgCursor) Err() error {
	if !c.done {
		return c.session.fault(c.parent, c.Rows.Err())
	}
	return c.err
}

func (c *pgCursor) Close() error {
	c.end()
	return c.err
}

func (c *pgCursor) end() {
	if c.done {
		return
	}
	c.done = true
	c.Rows.Close()
	err := c.Rows.Err()
	if c.batch != nil {
		if cerr := c.batch.Close(); err == nil {
			err = cerr
		}
	}
	c.err = c.session.fault(c.parent, err)
	c.cancel()
}

// Scan reads a truth from a number, as migrations keep it, besides what pgx does.
func (c *pgCursor) Scan(dest ...any) error {
	fields := c.FieldDescriptions()
	numbers := map[*bool]*int64{}
	for i := range min(len(dest), len(fields)) {
		if truth, ok := dest[i].(*bool); ok && fields[i].DataTypeOID == pgtype.Int8OID {
			numbers[truth] = new(int64)
			dest[i] = numbers[truth]
		}
	}
	err := c.Rows.Scan(dest...)
	for truth, n := range numbers {
		*truth = *n != 0
	}
	return err
}

// pgArgs writes truths as numbers.
func pgArgs(args []any) []any {
	for i, arg := range args {
		if truth, ok := arg.(bool); ok {
			n := int64(0)
			if truth {
				n = 1
			}
			args[i] = n
		}
	}
	return args
}
