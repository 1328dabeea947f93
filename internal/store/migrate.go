package store

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
)

// migrations are numbered, applied in order, each in a transaction of its own,
// and never changed or undone once released: a mistake is mended by the next.
//
//go:embed migrations/*.sql
var migrations embed.FS

// A migration is one file.
type migration struct {
	version int64
	oldest  int64 // programs that know this version run over it
	script  string
}

var (
	migrationFile = regexp.MustCompile(`^(\d{5})_[a-z_]+\.sql$`)
	oldestLine    = regexp.MustCompile(`(?m)^-- oldest: (\d+)$`)
)

// readMigrations reads the files in the order of their numbers. One that says
// nothing of older programs is not for them.
func readMigrations(files fs.FS) ([]migration, error) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, fmt.Errorf("store: read migrations: %w", err)
	}
	var list []migration
	for _, e := range entries {
		name := migrationFile.FindStringSubmatch(e.Name())
		text, err := fs.ReadFile(files, e.Name())
		if err != nil || name == nil {
			return nil, fmt.Errorf("store: read migration %s: %w", e.Name(), cmp.Or(err, errors.New("want a name like 00007_noun.sql")))
		}
		m := migration{script: string(text)}
		m.version, err = strconv.ParseInt(name[1], 10, 64)
		m.oldest = m.version
		if declared := oldestLine.FindSubmatch(text); declared != nil && err == nil {
			m.oldest, err = strconv.ParseInt(string(declared[1]), 10, 64)
		}
		if err != nil || m.oldest < 1 || m.oldest > m.version {
			return nil, fmt.Errorf("store: migration %s: its number, or that of the oldest program, is none", e.Name())
		}
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b migration) int { return cmp.Compare(a.version, b.version) })
	for i, m := range list {
		if i > 0 && list[i-1].version == m.version {
			return nil, fmt.Errorf("store: two migrations have number %d", m.version)
		}
	}
	return list, nil
}

// What a database says of itself. The first table has the form that a library
// gave it in the first databases, so that their programs refuse newer ones.
const makeSchemaTables = `
CREATE TABLE schema_version (
    version_id INTEGER NOT NULL,
    is_applied INTEGER NOT NULL
);
`
const makeOldestTable = `CREATE TABLE schema_oldest (version INTEGER NOT NULL);`

// schema is which migrations a database has.
type schema struct {
	version int64 // 0: none
	oldest  int64 // programs that know this version run over it
	tables  [2]bool
}

func (tx *Tx) schema(ctx context.Context) (s schema, err error) {
	for i, name := range []string{"schema_version", "schema_oldest"} {
		n := 0
		if err := tx.QueryRow(ctx, tx.db.dialect.hasTable, name).Scan(&n); err != nil {
			return schema{}, err
		}
		s.tables[i] = n > 0
	}
	if s.tables[0] {
		if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM schema_version").Scan(&s.version); err != nil {
			return schema{}, err
		}
	}
	s.oldest = s.version
	if s.tables[1] {
		err = tx.QueryRow(ctx, "SELECT COALESCE(MAX(version), ?) FROM schema_oldest", s.version).Scan(&s.oldest)
	}
	return s, err
}

// migrate brings the database to the version of this program. One that a newer
// program has migrated is left as it is, and refused unless the newer migrations
// say that this program may run over them.
func (db *DB) migrate(ctx context.Context, files fs.FS) error {
	list, err := readMigrations(files)
	if err != nil {
		return err
	}
	known := int64(0)
	for _, m := range list {
		known = m.version
	}
	var has schema
	if err := db.View(ctx, func(ctx context.Context, tx *Tx) (err error) {
		has, err = tx.schema(ctx)
		return err
	}); err != nil {
		return fmt.Errorf("store: read schema version: %w", err)
	}
	if err := has.bears(known); err != nil {
		return err
	}
	for _, m := range list {
		if m.version <= has.version {
			continue
		}
		if err := db.run(ctx, forMigration, func(ctx context.Context, tx *Tx) error { return tx.apply(ctx, m, known) }); err != nil {
			return fmt.Errorf("store: migrate to version:%d: %w", m.version, err)
		}
	}
	return nil
}

// bears refuses a program that knows the migrations up to a version, unless the
// newer ones say that it may run over them.
func (s schema) bears(known int64) error {
	if s.version <= known || s.oldest <= known {
		return nil
	}
	return fmt.Errorf("store: %w: its schema is version %d and for programs that know %d, this one knows %d; run the newer program, or restore the backup made before the upgrade",
		ErrNewer, s.version, s.oldest, known)
}

// apply does one migration, unless another process has done it meanwhile, maybe
// one that knows more: this transaction is the only one that writes.
func (tx *Tx) apply(ctx context.Context, m migration, known int64) error {
	has, err := tx.schema(ctx)
	if err != nil {
		return err
	}
	if has.version >= m.version {
		return has.bears(known)
	}
	for i, table := range []string{makeSchemaTables, makeOldestTable} {
		if has.tables[i] {
			continue
		}
		if err := tx.script(ctx, table); err != nil {
			return err
		}
	}
	if err := tx.script(ctx, m.script); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO schema_version (version_id, is_applied) VALUES (?, 1)", m.version); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO schema_oldest (version) VALUES (?)", m.oldest)
	return err
}

func (tx *Tx) script(ctx context.Context, text string) error {
	if err := tx.ready(); err != nil {
		return err
	}
	if err := tx.session.script(ctx, tx.db.dialect.translate(text)); err != nil {
		return tx.fail(tx.db.wrap("script", err))
	}
	return nil
}
