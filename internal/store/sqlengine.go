package store

import (
	"context"
	"database/sql"
)

// sqlEngine is an engine behind database/sql.
type sqlEngine struct {
	writer  *sql.DB // one connection where the engine has one writer
	readers *sql.DB
}

func (e *sqlEngine) close() error {
	err := e.readers.Close()
	if werr := e.writer.Close(); err == nil { // last: the engine tidies up with its last connection
		err = werr
	}
	return err
}

// begin starts a transaction. Waiting for it ends with ctx; once it has begun
// only its owner ends it: database/sql would roll back behind our back when ctx
// ends, even in the middle of a commit, and its outcome would be unknown.
func (e *sqlEngine) begin(ctx context.Context, m mode) (session, error) {
	pool := e.writer
	if m.reads() {
		pool = e.readers
	}
	if m == forLook {
		conn, err := pool.Conn(ctx)
		if err != nil {
			return nil, err
		}
		return &sqlLook{conn: conn}, nil
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	tx, err := pool.BeginTx(own, &sql.TxOptions{ReadOnly: m.reads()})
	if !stop() { // ctx ended first
		if err == nil {
			_ = tx.Rollback()
		}
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &sqlSession{tx, cancel}, nil
}

// sqlSession is a transaction behind database/sql.
type sqlSession struct {
	tx  *sql.Tx
	end context.CancelFunc
}

func (s *sqlSession) exec(ctx context.Context, query string, args []any) (int64, error) {
	res, err := s.tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (s *sqlSession) query(ctx context.Context, query string, args []any) (cursor, error) {
	rows, err := s.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err // not rows: a nil pointer in an interface is not nil
	}
	return rows, nil
}

func (s *sqlSession) script(ctx context.Context, text string) error {
	_, err := s.tx.ExecContext(ctx, text)
	return err
}

func (s *sqlSession) commit() error {
	defer s.end()
	return s.tx.Commit()
}

func (s *sqlSession) rollback() {
	_ = s.tx.Rollback() // the engine may have rolled back already; the cause is what is told
	s.end()
}

// sqlLook is one statement on a connection, which begins and ends by itself.
// Neither database/sql nor the driver is told when its owner's context ends: each
// would start a goroutine to hear of it, for a statement that takes microseconds.
type sqlLook struct {
	conn *sql.Conn
	rows *sql.Rows
}

func (s *sqlLook) query(ctx context.Context, query string, args []any) (cursor, error) {
	rows, err := s.conn.QueryContext(context.WithoutCancel(ctx), query, args...)
	if err != nil {
		return nil, err // not rows: a nil pointer in an interface is not nil
	}
	s.rows = rows
	return rows, nil
}

func (s *sqlLook) exec(context.Context, string, []any) (int64, error) { return 0, errReadOnly }
func (s *sqlLook) script(context.Context, string) error               { return errReadOnly }

func (s *sqlLook) commit() error {
	if s.rows != nil {
		_ = s.rows.Close() // or the connection would wait for them; what they met was told
	}
	return s.conn.Close()
}

func (s *sqlLook) rollback() { _ = s.commit() }
