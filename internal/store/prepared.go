package store

import (
	"context"
	"database/sql/driver"
)

// preparedMost bounds the statements that one connection keeps prepared. The
// program has a few hundred; what is over is prepared for its one use.
const preparedMost = 512

// preparing opens connections that keep their statements prepared: to prepare one
// costs SQLite as much as a look-up by key.
type preparing struct {
	driver driver.Driver
	name   string
	begin  string // how a transaction begins
}

// Driver implements driver.Connector.
func (p preparing) Driver() driver.Driver { return p.driver }

// Connect implements driver.Connector.
func (p preparing) Connect(context.Context) (driver.Conn, error) {
	c, err := p.driver.Open(p.name)
	if err != nil {
		return nil, err
	}
	inner, ok := c.(innerConn)
	if !ok {
		_ = c.Close()
		return nil, driver.ErrSkip
	}
	return &preparedConn{innerConn: inner, begin: p.begin, idle: make(map[string]driver.Stmt)}, nil
}

// innerConn is what the driver's connections can do, all of which is passed on.
type innerConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// preparedConn is one connection. database/sql gives it to one goroutine at a
// time, rows that are being read included, so it has no lock.
type preparedConn struct {
	innerConn
	begin string
	idle  map[string]driver.Stmt // those that nobody uses now, by their text
}

// take returns a statement for one use: of the same text another may be in use, by
// rows that are still being read.
func (c *preparedConn) take(ctx context.Context, query string) (driver.Stmt, error) {
	if s := c.idle[query]; s != nil {
		delete(c.idle, query)
		return s, nil
	}
	return c.PrepareContext(ctx, query)
}

// give takes it back.
func (c *preparedConn) give(query string, s driver.Stmt) error {
	if c.idle[query] != nil || len(c.idle) >= preparedMost {
		return s.Close()
	}
	c.idle[query] = s
	return nil
}

// BeginTx implements driver.ConnBeginTx. What isolation there is the engine has
// by itself; that a transaction only reads, the connection's settings say.
func (c *preparedConn) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	if err := c.run(ctx, c.begin); err != nil {
		// That ctx ended may be told of a BEGIN which took effect: the next
		// transaction of this connection must find none.
		_ = c.run(context.Background(), "ROLLBACK")
		return nil, err
	}
	return preparedTx{c}, nil
}

// run executes a statement without arguments.
func (c *preparedConn) run(ctx context.Context, query string) error {
	s, err := c.take(ctx, query)
	if err != nil {
		return err
	}
	if _, err := s.(driver.StmtExecContext).ExecContext(ctx, nil); err != nil {
		_ = s.Close()
		return err
	}
	return c.give(query, s)
}

// preparedTx ends a transaction.
type preparedTx struct{ conn *preparedConn }

// Commit implements driver.Tx. What could not be committed is rolled back, since
// the next transaction comes on the same connection.
func (t preparedTx) Commit() error {
	err := t.conn.run(context.Background(), "COMMIT")
	if err != nil {
		_ = t.Rollback() // the engine may have done so
	}
	return err
}

// Rollback implements driver.Tx.
func (t preparedTx) Rollback() error { return t.conn.run(context.Background(), "ROLLBACK") }

// ExecContext implements driver.ExecerContext. A statement without arguments may be
// a script, which is many.
func (c *preparedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) == 0 {
		return c.innerConn.ExecContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := s.(driver.StmtExecContext).ExecContext(ctx, args)
	if err != nil {
		_ = s.Close() // what it left behind is not known; the error is told
		return nil, err
	}
	return result, c.give(query, s)
}

// QueryContext implements driver.QueryerContext.
func (c *preparedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if len(args) == 0 {
		return c.innerConn.QueryContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return &preparedRows{Rows: rows, conn: c, query: query, stmt: s}, nil
}

// Close ends the connection and what it keeps.
func (c *preparedConn) Close() error {
	for _, s := range c.idle {
		_ = s.Close() // the connection goes in any case
	}
	clear(c.idle)
	return c.innerConn.Close()
}

// preparedRows give their statement back when they have been read.
type preparedRows struct {
	driver.Rows
	conn  *preparedConn
	query string
	stmt  driver.Stmt
}

// Close implements driver.Rows.
func (r *preparedRows) Close() error {
	if r.stmt == nil {
		return nil
	}
	s := r.stmt
	r.stmt = nil
	if err := r.Rows.Close(); err != nil {
		_ = s.Close()
		return err
	}
	return r.conn.give(r.query, s)
}
