package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStoreFaults plants one fault each; TestNothingIsWrong has the good twins.
func TestStoreFaults(t *testing.T) {
	for _, c := range []struct {
		check string
		plant func(p *patient)
		want  State
		found string
		mend  string
	}{
		{"postgres url", func(p *patient) { p.remove("pg.url") }, Fail, "no such file", "write it there"},
		{"postgres url", func(p *patient) { p.write("pg.url", "\n", 0o600) }, Fail, "empty", "URL"},
		{"postgres url", func(p *patient) { p.chmod("pg.url", 0o644) }, Fail, "mode 0644", "chmod 600"},
		{"valkey url", func(p *patient) { p.Zone.Store.Valkey.File, p.Zone.Store.Valkey.Env = "", "VALKEY_URL" }, Unknown, "not in this one", "VALKEY_URL"},
		{"postgres", func(p *patient) { p.dead["postgres"] = errors.New("connection refused") }, Fail, "refused", "runs"},
		{"postgres", func(p *patient) { p.postgres.Version = 130012 }, Fail, "13.12 is too old", "15"},
		{"postgres", func(p *patient) { p.postgres.Standby = true }, Fail, "no writes", "primary"},
		{"postgres", func(p *patient) { p.postgres.ReadOnly = true }, Fail, "no writes", "primary"},
		{"postgres", func(p *patient) { p.Engines.Postgres = nil }, Unknown, "nothing can ask", ""},
		{"postgres role", func(p *patient) { p.postgres.MayCreate = false }, Fail, "migrations fail", "GRANT CREATE"},
		{"postgres role", func(p *patient) { p.postgres.Superuser = true }, Warn, "superuser", "NOSUPERUSER"},
		{"postgres tls", func(p *patient) { p.postgres.TLS = false }, Fail, "in clear", "verify-full"},
		{"postgres durability", func(p *patient) { p.postgres.Fsync = "off" }, Fail, "fsync is off", "fsync = on"},
		{"postgres durability", func(p *patient) { p.postgres.Sync = "off" }, Fail, "revocations", "synchronous_commit = on"},
		{"postgres encoding", func(p *patient) { p.postgres.Encoding = "SQL_ASCII" }, Fail, "SQL_ASCII", "UTF8"},
		{"postgres connections", func(p *patient) { p.postgres.Connections = 95 }, Warn, "95 of 100", "max_connections"},
		{"postgres connections", func(p *patient) { p.postgres.Most = 0 }, Unknown, "does not say", ""},
		{"postgres clock", func(p *patient) { p.postgres.Ahead = -time.Minute }, Warn, "1m0s", "source of time"},
		{"valkey", func(p *patient) { p.dead["valkey"] = errors.New("connection refused") }, Fail, "refused", "runs"},
		{"valkey", func(p *patient) { p.valkey.Role = "slave" }, Fail, "replica", "primary"},
		{"valkey", func(p *patient) { p.valkey.Cluster = true }, Fail, "cluster", "alone"},
		{"valkey", func(p *patient) { p.valkey.Version = "5.0.3" }, Fail, "too old", "6.2"},
		{"valkey", func(p *patient) { p.valkey.Version = "6.0.16" }, Fail, "too old", "6.2"},
		{"valkey", func(p *patient) { p.valkey.Version = "" }, Unknown, "does not say", "INFO"},
		{"valkey memory", func(p *patient) { p.valkey.Policy = "allkeys-lru" }, Fail, "replayed", "noeviction"},
		{"valkey memory", func(p *patient) { p.valkey.Policy = "" }, Unknown, "does not say", "INFO"},
		{"valkey memory", func(p *patient) { p.valkey.Used = p.valkey.Most }, Warn, "1024 of 1024 MiB", "maxmemory"},
		{"valkey memory", func(p *patient) { p.valkey.Most = 0 }, Warn, "without a limit", "maxmemory"},
		{"valkey durability", func(p *patient) { p.valkey.Kept = false }, Warn, "restart", "appendonly"},
		{"valkey access", func(p *patient) { p.write("valkey.url", "redis://:geheim@kv.example:6379", 0o600) }, Fail, "in clear", "rediss"},
		{"valkey access", func(p *patient) { p.valkey.Open = true }, Fail, "no password", "ACL"},
		{"valkey access", func(p *patient) {
			p.valkey.Open = true
			p.write("valkey.url", "redis://127.0.0.1:6379", 0o600)
		}, Warn, "every process", "ACL"},
		{"sqlite", func(p *patient) { p.sqlite.Faults = []string{"row 1 missing"} }, Fail, "row 1 missing", "copy"},
		{"sqlite", func(p *patient) { p.sqlite.Tables = 0 }, Warn, "no tables", "serve"},
		{"sqlite", func(p *patient) { p.sqlite.WAL = false }, Warn, "not in the mode", "serve"},
		{"sqlite", func(p *patient) { p.Engines.SQLite = nil }, Unknown, "nothing can read", ""},
		{"sqlite", func(p *patient) { p.serves(); p.Running.Waiting = []string{"store"} }, Fail, "does not answer", "log"},
	} {
		t.Run(c.check+" "+c.found, func(t *testing.T) {
			p := newPatient(t)
			if c.check == "sqlite" {
				p.Zone.Store.Postgres = nil
				if f := p.examine("store", "sqlite"); f.State != OK {
					t.Fatalf("good twin: %s, %s", f.State, f.Found)
				}
			}
			c.plant(p)
			f := p.examine("store", c.check)
			if f.State != c.want || !strings.Contains(f.Found, c.found) || !strings.Contains(f.Mend, c.mend) {
				t.Errorf("got %s, found %q, mend %q; want %s with %q and %q", f.State, f.Found, f.Mend, c.want, c.found, c.mend)
			}
		})
	}
}

// TestDeepOnly: the whole database of a running zone is read only when asked.
func TestDeepOnly(t *testing.T) {
	for _, deep := range []bool{false, true} {
		p := newPatient(t)
		p.serves()
		p.Zone.Store.Postgres, p.Deep = nil, deep
		p.sqlite.Faults = []string{"damage"}
		if f := p.examine("store", "sqlite"); (f.State == Fail) != deep {
			t.Errorf("deep %t: %s, %s", deep, f.State, f.Found)
		}
	}
}

func TestLocalURL(t *testing.T) {
	for at, want := range map[string]bool{
		"postgres://u:p@127.0.0.1/db": true, "postgres://u:p@localhost/db": true, "postgres://u@[::1]:5432/db": true,
		"postgres:///db?host=/run/postgresql": true, "unix:///run/valkey.sock": true, "redis://localhost:6379": true,
		"postgres://u:p@10.0.0.1/db": false, "postgres://u:p@db.example/db": false, "postgres:///db?host=db.example": false,
		"postgres://127.0.0.1/db?host=db.example": false, "redis://kv.example": false, "": false, "://": false,
		"postgres:///db":                         false, // where the library's defaults lead is not ours to know
		"postgres://u:p@127.0.0.1,db.example/db": false,
	} {
		if got := localURL(at); got != want {
			t.Errorf("%q: got %t, want %t", at, got, want)
		}
	}
}

// TestErrorsShowNoPassword: neither as written nor as decoded.
func TestErrorsShowNoPassword(t *testing.T) {
	const at = "postgres://zone:ge%2Fheim@db.example/zone?password=andere"
	for _, text := range []string{"ge/heim", "ge%2Fheim", "andere", at} {
		if got := without(errors.New("failed with "+text+"."), at); strings.Contains(got, text) || !strings.HasPrefix(got, "failed with ***") {
			t.Errorf("%q: got %q", text, got)
		}
	}
	if got := without(errors.New("geheim"), "zone:geheim@db.example"); strings.Contains(got, "geheim") {
		t.Errorf("an URL that cannot be read: %q", got)
	}
}

// TestSQLiteReal reads real files, changes nothing, and finds a damaged page.
func TestSQLiteReal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone.db")
	makeDatabase(t, path)
	before := listing(t, path)
	s, err := AskSQLite(t.Context(), path, true)
	if err != nil || len(s.Faults) > 0 || s.Tables != 1 || !s.WAL {
		t.Fatalf("sound: %+v, %v", s, err)
	}
	if after := listing(t, path); after != before {
		t.Errorf("looking changed the folder: %s, was %s", after, before)
	}
	writing(t, path, func() {
		if s, err := AskSQLite(t.Context(), path, false); err != nil || len(s.Faults) > 0 || s.Tables != 2 {
			t.Errorf("beside a writer, with a log: %+v, %v; want what the log holds too", s, err)
		}
	})
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(b)-4096; i++ { // all pages but the first and the last
		b[i] ^= 0x5a
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := AskSQLite(t.Context(), path, true); err == nil && len(s.Faults) == 0 {
		t.Errorf("damaged: %+v, want a fault", s)
	}
	if err := os.WriteFile(path, []byte("this is no database, and it is long enough to be looked at as one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := AskSQLite(t.Context(), path, true); err == nil {
		t.Errorf("no database: %+v, want an error", s)
	}
}
