package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// pgSession is one transaction on PostgreSQL. A view begins with its first
// statement, in the same trip, and is ended behind its owner's back: what it
// read is complete, so nobody has to wait for that.
type pgSession struct {
	conn  *pgConn
	limit time.Duration // for the answer to one statement; 0: none
	lazy  bool          // a view that has not begun
	kept  bool          // its connection may have died since it was used last
	view  bool
	once  bool // a view of one statement, without a transaction around it
}

// beginView and beginWrite are the whole of what is sent without parameters.
// The lock is taken by the first statement of a READ COMMITTED transaction, so
// that each later one sees everything that the writers before it committed; in
// a REPEATABLE READ one the wait for the lock would be read as of its beginning.
const (
	beginView  = "begin isolation level repeatable read read only"
	beginWrite = "begin isolation level read committed; select pg_advisory_xact_lock(" + pgWriterLock + ")"
	// A migration waits for writers and for other migrations however long they
	// take; for tables in use it does not, as everybody else then waits behind it.
	beginMigration = "begin isolation level read committed; set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0;" +
		" set local lock_timeout = 0; select pg_advisory_xact_lock(" + pgWriterLock + "); set local lock_timeout = '10s'"
)

// start sends the statements that begin a transaction, on another connection
// when the one that was kept has died: nothing was done on it yet.
func (s *pgSession) start(ctx context.Context, statements string) error {
	err := s.simple(ctx, statements)
	if !s.stale(err) {
		return err
	}
	if err := s.renew(ctx); err != nil {
		return err
	}
	return s.simple(ctx, statements)
}

// stale says whether a first statement failed because the connection had died
// before: the network says so, or the last words of the server that are read
// only now.
func (s *pgSession) stale(err error) bool {
	return err != nil && s.kept && s.conn.IsClosed() && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

func (s *pgSession) renew(ctx context.Context) (err error) {
	s.kept = false
	s.conn, err = s.conn.renew(ctx)
	return err
}

// simple runs constant statements without parameters or answers.
func (s *pgSession) simple(parent context.Context, statements string) error {
	ctx, cancel := s.bounded(parent)
	defer cancel()
	_, err := s.conn.PgConn().Exec(ctx, statements).ReadAll()
	return s.fault(parent, err)
}

func (s *pgSession) exec(parent context.Context, query string, args []any) (int64, error) {
	ctx, cancel := s.bounded(parent)
	defer cancel()
	tag, err := s.conn.Exec(ctx, query, pgArgs(args)...)
	return tag.RowsAffected(), s.fault(parent, err)
}

func (s *pgSession) query(parent context.Context, query string, args []any) (cursor, error) {
	args = pgArgs(args)
	if !s.lazy {
		ctx, cancel := s.bounded(parent)
		rows, err := s.conn.Query(ctx, query, args...)
		return s.cursor(parent, rows, err, cancel, nil)
	}
	s.lazy = false
	c, err := s.first(parent, query, args)
	if s.stale(err) {
		if err := s.renew(parent); err != nil {
			return nil, err
		}
		c, err = s.first(parent, query, args)
	}
	return c, err
}

// first begins the view and asks in one trip. A statement that is all there is
// needs no beginning.
func (s *pgSession) first(parent context.Context, query string, args []any) (cursor, error) {
	ctx, cancel := s.bounded(parent)
	var b pgx.Batch // of one too: its first answer shows whether the connection lives
	if !s.once {
		b.Queue(beginView)
	}
	b.Queue(query, args...)
	answers := s.conn.SendBatch(ctx, &b)
	if !s.once {
		if _, err := answers.Exec(); err != nil {
			_ = answers.Close() // the error is the same
			cancel()
			return nil, s.fault(parent, err)
		}
	}
	rows, err := answers.Query()
	return s.cursor(parent, rows, err, cancel, answers)
}

func (s *pgSession) script(ctx context.Context, text string) error { return s.simple(ctx, text) }

func (s *pgSession) commit() error {
	if s.view {
		s.endView()
		return nil
	}
	defer s.conn.release()
	ctx, cancel := context.WithTimeout(context.Background(), max(s.limit, pgEndLimit))
	defer cancel()
	tags, err := s.conn.PgConn().Exec(ctx, "commit").ReadAll()
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Severity != "FATAL" {
		return err
	}
	if err != nil {
		return pgLost{"the connection was lost during the commit, which may have been done: " + err.Error()}
	}
	if len(tags) != 1 || tags[0].CommandTag.String() != "COMMIT" {
		return errors.New("the server rolled back")
	}
	return nil
}

func (s *pgSession) rollback() {
	switch {
	case s.conn == nil: // it died and could not be replaced
	case s.view:
		s.endView()
	default:
		s.finish("rollback")
	}
}

// endView ends a view in the background. Its connection keeps its place in the
// pool meanwhile, which bounds how many there are.
func (s *pgSession) endView() {
	switch {
	case s.conn == nil:
	case s.lazy || s.once || s.conn.IsClosed():
		s.conn.release()
	default:
		go s.finish("commit")
	}
}

// finish ends the transaction where nothing depends on the answer: what fails
// here closes the connection, and with it the transaction.
func (s *pgSession) finish(statement string) {
	defer s.conn.release()
	if s.conn.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), pgEndLimit)
	defer cancel()
	_, _ = s.conn.PgConn().Exec(ctx, statement).ReadAll()
}

// bounded bounds the wait for an answer: a server that says nothing, not even
// that it has given up the statement, counts as lost.
func (s *pgSession) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, s.limit)
}

// fault tells apart who ended a statement: its caller, the server or the network.
func (s *pgSession) fault(parent context.Context, err error) error {
	if err == nil {
		return nil
	}
	if parent.Err() != nil { // also when the server says that it was asked to stop
		return fmt.Errorf("%w: %s", parent.Err(), err.Error())
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return pgLost{fmt.Sprintf("no answer in %s", s.limit)}
	}
	if s.conn.IsClosed() {
		return pgLost{err.Error()}
	}
	return err
}
