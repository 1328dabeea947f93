package doctor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/kv/valkeytest"
	"sallyport.dev/internal/store/pgtest"
)

func makeDatabase(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"PRAGMA journal_mode=WAL", "CREATE TABLE t (a TEXT)", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 2000) INSERT INTO t SELECT hex(randomblob(50)) FROM n"} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// writing has a table in the database's log while do runs.
func writing(t *testing.T, path string, do func()) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE u (a TEXT)"); err != nil {
		t.Fatal(err)
	}
	do()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// listing is the folder of a file with sizes and times.
func listing(t *testing.T, path string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprint(e.Name(), info.Size(), info.ModTime()))
	}
	sort.Strings(list)
	return strings.Join(list, "\n")
}

// refuses wants an error of each URL, and no password in it.
func refuses[T any](t *testing.T, ask func(context.Context, string) (T, error), bad map[string]string) {
	t.Helper()
	for what, url := range bad {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		got, err := ask(ctx, url)
		cancel()
		if err == nil {
			t.Errorf("%s: got %+v, want an error", what, got)
			continue
		}
		if text := without(err, url); strings.Contains(text, "geheim") {
			t.Errorf("%s: the password is shown: %s", what, text)
		}
	}
}

// askPatiently asks a server again that did not answer in the time it has.
func askPatiently(t *testing.T, url string) (v Valkey, err error) {
	t.Helper()
	for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(10 * time.Millisecond) {
		v, err = AskValkey(t.Context(), url)
		if late, is := errors.AsType[net.Error](err); err == nil && v.Name != "" || err != nil && !(is && late.Timeout()) {
			break // its name comes with its second answer
		}
	}
	return v, err
}

// TestValkeyReal asks a real server.
func TestValkeyReal(t *testing.T) {
	s := valkeytest.Start(t, "--requirepass", "geheim", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes")
	url := "unix://:geheim@" + s.Socket()
	v, err := askPatiently(t, url)
	if err != nil || v.Name != "Redis" && v.Name != "Valkey" || v.Version == "" || v.Policy != "allkeys-lru" || v.Most != 64<<20 || v.Used == 0 ||
		v.Role != "master" || v.Open || v.Cluster || !v.Kept {
		t.Errorf("got %+v, %v", v, err)
	}
	refuses(t, AskValkey, map[string]string{
		"a wrong password": "unix://:geheimnis@" + s.Socket(), "no password": "unix://" + s.Socket(), "nobody there": "unix://:geheim@" + s.Socket() + ".none",
		"no url": "zone:geheim@kv", "in clear to another host": "redis://:geheim@192.0.2.1:6379",
	})
}

// TestValkeyWithout asks one that has neither password nor log nor limit.
func TestValkeyWithout(t *testing.T) {
	s := valkeytest.Start(t)
	v, err := askPatiently(t, s.URL())
	if err != nil || !v.Open || v.Policy != "noeviction" || v.Most != 0 {
		t.Errorf("got %+v, %v", v, err)
	}
}

// TestPostgresReal asks a real server as the owner of a database, and as a role
// that may only look.
func TestPostgresReal(t *testing.T) {
	s := pgtest.Shared(t)
	url := s.Database(t)
	p, err := AskPostgres(t.Context(), url)
	if err != nil || p.Version < oldestPostgres || p.Superuser || !p.MayCreate || p.TLS || p.Standby || p.ReadOnly || p.Fsync != "on" || p.Sync != "on" ||
		p.Encoding != "UTF8" || p.Connections == 0 || p.Most != 200 || p.Ahead.Abs() > clocksApart {
		t.Errorf("owner: %+v, %v", p, err)
	}
	for _, as := range []string{"looker", "boss"} {
		attributes := map[string]string{"looker": "NOSUPERUSER", "boss": "SUPERUSER"}[as]
		if err := s.Admin(t.Context(), "CREATE ROLE "+as+" LOGIN "+attributes+" PASSWORD 'geheim'", "ALTER ROLE "+as+" SET default_transaction_read_only = on", "ALTER ROLE "+as+" SET synchronous_commit = off"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Admin(context.WithoutCancel(t.Context()), "DROP ROLE "+as); err != nil {
				t.Error(err)
			}
		})
		other := strings.Replace(url, "sallyport:"+s.Password()+"@", as+":geheim@", 1)
		if p, err = AskPostgres(t.Context(), other); err != nil || p.Superuser != (as == "boss") || p.MayCreate != (as == "boss") || !p.ReadOnly || p.Sync != "off" {
			t.Errorf("%s: %+v, %v", as, p, err)
		}
	}
	refuses(t, AskPostgres, map[string]string{
		"a wrong password": s.TCP("postgres", "geheim"), "no database": strings.Replace(url, "/test_", "/none_", 1), "no url": "zone:geheim@db",
		"in clear to another host": "postgres://zone:geheim@192.0.2.1/zone", "unverified": "postgres://zone:geheim@192.0.2.1/zone?sslmode=require",
	})
}
