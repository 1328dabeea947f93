package doctor

import (
	"context"
	"database/sql"
	"errors"
	"net/url"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// maxFaults bounds what is told of a damaged database.
const maxFaults = 5

// AskSQLite reads every page of a database file and changes nothing. clean says
// that nobody has it open and that it has no log beside it: then not even the
// files are made that readers share.
func AskSQLite(ctx context.Context, path string, clean bool) (s SQLite, err error) {
	q := url.Values{"mode": {"ro"}, "_query_only": {"1"}, "_busy_timeout": {"2000"}}
	if clean {
		q.Set("immutable", "1")
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String())
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	rows, err := db.QueryContext(ctx, "PRAGMA quick_check(5)")
	if err != nil {
		return s, err
	}
	defer func() { _ = rows.Close() }() // read to the end below
	for rows.Next() && len(s.Faults) < maxFaults {
		var line string
		if err := rows.Scan(&line); err != nil {
			return s, err
		}
		if line != "ok" {
			s.Faults = append(s.Faults, line)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return s, err
	}
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'").Scan(&s.Tables); err != nil {
		return s, err
	}
	s.WAL, err = inWAL(path)
	return s, err
}

// inWAL reads the format of the file's header (sqlite.org/fileformat2.html,
// section 1.3.1): an immutable connection calls every one "delete".
func inWAL(path string) (bool, error) {
	b, err := readHead(path, 20)
	if err != nil {
		return false, err
	}
	return b[18] == 2 && b[19] == 2, nil
}
