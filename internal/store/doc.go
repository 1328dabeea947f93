// Package store is where state lives that must survive: one SQL database behind
// transactions, with the tables of every part in one numbered set of
// migrations. The engine is SQLite in the data folder, or PostgreSQL, which
// several processes may share; dialect.go and the files named after an engine
// are all that know which. The suite in storetest is what both have to pass.
//
// It promises that a transaction is all or nothing, on an error, a panic, a
// cancelled context or kill -9; that a transaction that was acknowledged is on
// disk; that write transactions follow one another; that a reader sees one
// moment in time, and everything acknowledged before that moment; and that a
// revocation has its number, is committed and was told to every subscriber of
// this process before its transaction returns. Other processes hear of it
// through their Follower, in the same order.
//
// It refuses a database whose schema is not for this program, a file that others
// may read, a server that is reached over an open network without its
// certificate or that may lose what it acknowledges, a transaction inside a
// transaction, a statement while rows are open, a text that is not UTF-8, and to
// commit after a statement failed. Half of these one engine would let pass and
// the other would not: code that works on one works on the other.
//
// It repeats nothing that had an effect: a lock that cannot be had in time, a
// full disk or a lost connection is ErrUnavailable, and the caller says so.
//
// # One writer
//
// SQLite has one writer at a time, and every part was written for that. On
// PostgreSQL each write transaction begins with one advisory lock of the
// database, so that it is the same there, over all processes: read, decide,
// write needs no thought about who else does, the numbers of revocations are
// given in the order of commits, and a function runs once. The price is that a
// zone makes as many write transactions a second as the server can commit one
// after the other. That is far above what logins, changes of rights and roll-ups
// need; requests only read. SERIALIZABLE would let some run side by side, but
// all that matter write the one row that numbers revocations, each would have to
// be fit to run twice, and views would have to be SERIALIZABLE too.
//
// A process that is frozen in the middle keeps the others from writing for ten
// seconds; then the server ends its transaction.
//
// # Writing SQL
//
// Placeholders are `?`, values are always parameters, columns are always named.
// Migrations use the types TEXT, INTEGER (64 bits) and BLOB only, in STRICT
// tables, so that they can be renamed mechanically for another engine: no word
// of these may stand for anything else. Texts compare by their bytes. Times are
// INTEGER unix microseconds (see Micros), zero meaning never; truths are INTEGER
// 1 and 0. A conflict that is expected is written as ON CONFLICT, not caught.
//
// # Migrations
//
// They go forward only and are never changed once released. A program migrates
// the database that it opens; of several at once one does, in the writer's turn.
// In a rolling upgrade the programs before a migration go on while it is made,
// and may start again after it. A migration declares this with a line of its own:
//
//	-- oldest: 7
//
// Programs that know migration 7 run over this one: it adds tables, columns that
// are nullable or have a default, or indexes, and changes nothing that they read
// or write. Without the line it is for programs that know it, and older ones are
// refused with ErrNewer. What older programs cannot bear (a column dropped, its
// type or its meaning changed) is a migration of a later release, made when none
// of them runs any more: those that run already are not stopped by it.
package store
