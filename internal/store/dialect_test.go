package store

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

func TestRebind(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"SELECT 1", "SELECT 1"},
		{"?", "$1"},
		{"a = ? AND b IN (?, ?)", "a = $1 AND b IN ($2, $3)"},
		{"a = 'why?' AND b = ?", "a = 'why?' AND b = $1"},
		{"a = 'it''s ?' AND b = ?", "a = 'it''s ?' AND b = $1"},
		{`"odd?" = ?`, `"odd?" = $1`},
		{"a -- ?\n = ?", "a -- ?\n = $1"},
		{"a /* ? */ = ?", "a /* ? */ = $1"},
		{"a /*/ ? */ = ?", "a /*/ ? */ = $1"},
		{"a - ? / ?", "a - $1 / $2"},
		{"'?", "'?"},
		{"-- ?", "-- ?"},
		{"/* ?", "/* ?"},
		{strings.Repeat("?", 10), "$1$2$3$4$5$6$7$8$9$10"},
	} {
		if got := (dialect{numbered: true}).rebind(c.in); got != c.want {
			t.Errorf("rebind(%q) = %q, want %q", c.in, got, c.want)
		}
		if got := (dialect{}).rebind(c.in); got != c.in {
			t.Errorf("rebind(%q) of an engine with ? = %q, want it unchanged", c.in, got)
		}
	}
}

func TestTranslate(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"CREATE TABLE a (\n    x INTEGER NOT NULL, -- INTEGER's\n    y BLOB,\n    z TEXT NOT NULL DEFAULT 'TEXT'\n) STRICT;",
			"CREATE TABLE a (\n    x BIGINT NOT NULL, -- INTEGER's\n    y BYTEA,\n    z TEXT COLLATE \"C\" NOT NULL DEFAULT 'TEXT'\n) ;"},
		{`SELECT my_text, "TEXT", textual, xBLOB /* BLOB */ FROM é`, `SELECT my_text, "TEXT", textual, xBLOB /* BLOB */ FROM é`},
		{"integer Text", `BIGINT TEXT COLLATE "C"`},
	} {
		if got := (dialect{types: pgType}).translate(c.in); got != c.want {
			t.Errorf("translate(%q) = %q, want %q", c.in, got, c.want)
		}
		if got := (dialect{}).translate(c.in); got != c.in {
			t.Errorf("translate(%q) of an engine with these types = %q, want it unchanged", c.in, got)
		}
	}
}

var (
	tableBody   = regexp.MustCompile(`(?s)CREATE TABLE[^(]*\((.*?)\n\)([^;]*);`)
	column      = regexp.MustCompile(`(?m)^\s+([a-z_]+)\s+([A-Z]+)`)
	notPortable = regexp.MustCompile(`(?i)\b(AUTOINCREMENT|WITHOUT ROWID|DATETIME|BOOLEAN|VARCHAR|INSERT OR|REPLACE INTO|PRAGMA|CAST|ROWID)\b`)
)

// Migrations keep to what the package document says, so that another engine
// can take them by renaming types.
func TestMigrationsArePortable(t *testing.T) {
	entries, err := fs.ReadDir(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 2 {
		t.Fatalf("%d migrations, want the first two at least", len(entries))
	}
	for _, e := range entries {
		data, err := fs.ReadFile(migrations, "migrations/"+e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range faults(e.Name(), string(data)) {
			t.Errorf("%s: %s", e.Name(), fault)
		}
	}
}

func faults(name, text string) (list []string) {
	if !migrationFile.MatchString(name) {
		list = append(list, "want a name like 00007_noun.sql")
	}
	if strings.Contains(text, "-- +goose Down") {
		list = append(list, "has a section Down: migrations go forward only")
	}
	if word := notPortable.FindString(text); word != "" {
		list = append(list, word+" is not portable")
	}
	tables := tableBody.FindAllStringSubmatch(text, -1)
	if len(tables) != strings.Count(text, "CREATE TABLE") {
		list = append(list, "CREATE TABLE is not written as in the first migration")
	}
	for _, table := range tables {
		if strings.TrimSpace(table[2]) != "STRICT" {
			list = append(list, "a table is not STRICT")
		}
		for _, c := range column.FindAllStringSubmatch(table[1], -1) {
			if typ := c[2]; typ != "TEXT" && typ != "INTEGER" && typ != "BLOB" {
				list = append(list, "column "+c[1]+" is "+typ+", want TEXT, INTEGER or BLOB")
			}
		}
	}
	return list
}

// The check above finds what it looks for.
func TestMigrationFaultsAreFound(t *testing.T) {
	const up = "-- Things.\n"
	for _, c := range []struct {
		name, text string
		faults     int
	}{
		{"00001_good.sql", up + "CREATE TABLE a (\n    x INTEGER NOT NULL\n) STRICT;\n", 0},
		{"1_name.sql", up, 1},
		{"00001_down.sql", up + "-- +goose Down\n", 1},
		{"00001_loose.sql", up + "CREATE TABLE a (\n    x INTEGER NOT NULL\n);\n", 1},
		{"00001_type.sql", up + "CREATE TABLE a (\n    x TIMESTAMP NOT NULL\n) STRICT;\n", 1},
		{"00001_line.sql", up + "CREATE TABLE a (x VARCHAR) STRICT;\n", 2},
		{"00001_auto.sql", up + "CREATE TABLE a (\n    x INTEGER PRIMARY KEY AUTOINCREMENT\n) STRICT;\n", 1},
	} {
		if got := faults(c.name, c.text); len(got) != c.faults {
			t.Errorf("%s: faults %q, want %d", c.name, got, c.faults)
		}
	}
}
