// Package logs reads the journal: it searches, follows and counts, and writes
// records for people and programs. The journal is the log: nothing is copied,
// but for counts by minute, which are in SQL.
//
// It promises that a search finds every whole record that matches, in the
// journal of this or of another process, written an instant or a month ago;
// that it reads no block which cannot hold one, as far as the footers of sealed
// segments tell; that damage is passed over and told, never fatal; that a
// follower misses nothing between the past and the present; that each synced
// record counts once in the roll-ups, whatever ends the process when; and that
// no record can write anything but its own line on a terminal.
//
// It refuses nothing to its caller: whoever may read the folder may read the
// log, so access is decided before.
package logs
