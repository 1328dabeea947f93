package store

import "context"

// mode is what a transaction is begun for.
type mode int

const (
	forView      mode = iota // reads one moment, writes nothing
	forLook                  // a view of one statement
	forWrite                 // sees and follows every write transaction before it
	forFollower              // a view that waits for no other view
	forMigration             // a write transaction of the schema, which may last
)

// reads says whether a transaction may only read.
func (m mode) reads() bool { return m == forView || m == forLook || m == forFollower }

// An engine keeps connections to one database and begins transactions on them.
type engine interface {
	// begin waits for a connection, and in a writing mode for its turn, as long
	// as ctx lets it. Nothing else ends the session but commit and rollback.
	begin(ctx context.Context, m mode) (session, error)
	close() error
}

// session is one transaction of an engine. Its methods are called one after
// another; queries come with the engine's own placeholders.
type session interface {
	exec(ctx context.Context, query string, args []any) (changed int64, err error)
	query(ctx context.Context, query string, args []any) (cursor, error)
	// script runs a text of several statements without parameters.
	script(ctx context.Context, text string) error
	commit() error
	rollback()
}

// cursor is the answer of a query; database/sql describes its methods.
type cursor interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}
