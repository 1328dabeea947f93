package store

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// pgLost says that the server could not be reached or was lost. It wraps
// nothing: the deadline that ended a connection is ours, not the caller's.
type pgLost struct{ text string }

func (e pgLost) Error() string { return e.text }

// pgKind sorts PostgreSQL's error codes (PostgreSQL manual, appendix A).
func pgKind(err error) error {
	if _, ok := errors.AsType[pgLost](err); ok {
		return ErrUnavailable
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return nil
	}
	switch e.Code {
	case "23505": // unique_violation
		return ErrConflict
	case "25006", // read_only_sql_transaction: a standby, or a full disk at some hosts
		"25P03", "25P04", // we were too slow for the server's bounds
		"40001", "40P01", // a lock that is not of this package
		"55P03",          // lock_not_available: not in time
		"57014",          // query_canceled: statement_timeout, or an administrator
		"3D000", "55006": // the database is gone, or in use by an administrator
		return ErrUnavailable
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "08", // connection exception
		"28",       // the role is refused
		"53",       // insufficient resources: connections, disk, memory
		"57",       // operator intervention: shutdown, starting up
		"58", "XX": // the machine, or damage
		return ErrUnavailable
	}
	return nil
}
