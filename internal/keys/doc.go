// Package keys holds the root key of a zone and what is sealed under it: the
// rings of signing keys, named secrets and the values that other parts seal.
//
// The root is a Tink AES256-GCM keyset in one file outside the data folder, so
// that the folder alone (a backup, a stolen disk, a dump of the database) opens
// nothing. It promises:
//   - a private key or secret reaches the database sealed only, and bound to its
//     place there: a value moved to another row, name or version does not open;
//   - a public key is published only if its private part opened under the root:
//     who can write to the database cannot plant a key;
//   - a root that does not fit is an error that names the file and the mend, and
//     changes nothing;
//   - a ring has one active key, however many processes share the database; each
//     key is published before it signs and until the last token it signed is dead.
//
// It refuses a root file that another user may read or owns, that is a symbolic
// link, or that lies in the data folder; it never makes one unasked and never
// overwrites one.
//
// What it cannot do: tell an old copy of the whole database from the newest; keep
// the root from Go's memory. Go copies memory as it likes: buffers
// that this package owns (encoded keys, file contents) are cleared, the parsed
// keys stay in the process for its life. Whoever is root on the host or runs
// under the same uid can read the root key.
package keys
