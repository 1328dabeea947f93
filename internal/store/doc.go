// Package store is where state lives that must survive: one SQL database behind
// transactions, with the tables of every part in one numbered set of
// migrations. The engine is SQLite in the data folder; the dialect is the only
// place that knows it, and the suite in storetest is what another engine has to
// pass.
//
// It promises that a transaction is all or nothing, on an error, a panic, a
// cancelled context or kill -9; that a transaction that was acknowledged is on
// disk; that a reader sees one moment in time, and everything acknowledged
// before that moment; and that a revocation has its number, is committed and
// was told to every subscriber of this process before its transaction returns.
//
// It refuses a database that a newer program has migrated, a file that others
// may read, a transaction inside a transaction, a statement while rows are
// open, and to commit after a statement failed. The last three SQLite would
// let pass and PostgreSQL would not: code that works on one works on the other.
//
// It repeats nothing by itself: a lock that cannot be had in time, a full disk
// or a lost connection is ErrUnavailable, and the caller says so.
//
// # Writing SQL
//
// Placeholders are `?`, values are always parameters, columns are always named.
// Migrations use the types TEXT, INTEGER (64 bits) and BLOB only, in STRICT
// tables, so that they can be renamed mechanically for another engine. Times
// are INTEGER unix microseconds (see Micros), zero meaning never. A conflict
// that is expected is written as ON CONFLICT, not caught.
package store
