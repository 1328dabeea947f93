package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// migrations are numbered, applied in order, each in a transaction of its own,
// and never changed or undone once released: a mistake is mended by the next.
//
//go:embed migrations/*.sql
var migrations embed.FS

// versionTable records which migrations a database has.
const versionTable = "schema_version"

// migrate brings the database to the version of this program and refuses one
// that is newer: what a newer program wrote an older one may misread.
func migrate(ctx context.Context, d dialect, pool *sql.DB, files fs.FS) error {
	p, err := goose.NewProvider(d.migrations, pool, files,
		goose.WithTableName(versionTable),
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("store: read migrations: %w", err)
	}
	// p is not closed: that would close the pool.
	has, known, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("store: read schema version: %w", err)
	}
	if has > known {
		return fmt.Errorf("store: %w: its schema is version %d, this program knows %d; run the newer program, or restore the backup made before the upgrade",
			ErrNewer, has, known)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	return nil
}
