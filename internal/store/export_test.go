package store

import (
	"context"
	"io/fs"
)

// What tests outside the package need of its inside: a server's tests cannot
// be inside it, as the package that starts servers imports it.

func OpenPostgresFiles(ctx context.Context, url string, o PostgresOptions, files fs.FS) (*DB, error) {
	return openPostgres(ctx, url, o, files)
}

const WriterLock = pgWriterLock

// Look looks for news once.
func (f *Follower) Look(ctx context.Context) error { return f.look(ctx) }

func OpenSQLiteFiles(ctx context.Context, path string, files fs.FS) (*DB, error) {
	return openSQLite(ctx, path, busyTimeout, files)
}
