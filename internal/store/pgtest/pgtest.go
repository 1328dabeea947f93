// Package pgtest gives tests a real PostgreSQL server of their own: made in a
// temporary folder, reached by a unix socket and a loopback port, and gone with
// the test's process however that ends. Where PostgreSQL is not installed the
// test is skipped and says so.
//
// A test binary shares one server, on which each test has databases of its own
// (Database). A test that stops or kills a server starts one for itself (Start).
package pgtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sallyport.dev/internal/store"
)

// role owns the databases of tests. It may do nothing else, as in production.
const role = "sallyport"

// Database makes a migrated database on the shared server and returns its url.
// It is removed when t ends.
func Database(t testing.TB) (url string) {
	t.Helper()
	return Shared(t).Database(t)
}

// Shared returns the server of this test binary. It must not be stopped.
func Shared(t testing.TB) *Server {
	t.Helper()
	s, err := shared()
	return started(t, s, err)
}

var shared = sync.OnceValues(newServer)

// Start starts a server for one test.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := newServer()
	started(t, s, err)
	t.Cleanup(s.remove)
	return s
}

func started(t testing.TB, s *Server, err error) *Server {
	t.Helper()
	if errors.Is(err, errNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return s
}

var errNotInstalled = errors.New("PostgreSQL is not installed on this machine (scripts/setup installs it)")

// programs finds the folder of PostgreSQL's programs: the newest of Debian's
// packages, else the one in the path.
func programs() (string, error) {
	list, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }) // 9 before 15
	if len(list) > 0 {
		return filepath.Dir(list[len(list)-1]), nil
	}
	found, err := exec.LookPath("initdb")
	if err != nil {
		return "", errNotInstalled
	}
	found, err = filepath.EvalSymlinks(found)
	return filepath.Dir(found), err
}

// Database makes a migrated database and returns its url, by the server's unix
// socket. It is removed when t ends.
func (s *Server) Database(t testing.TB) (url string) {
	t.Helper()
	if err := s.template(); err != nil {
		t.Fatalf("pgtest: make the template: %v", err)
	}
	return s.create(t, "TEMPLATE "+templateName)
}

// Empty makes a database that nothing has migrated.
func (s *Server) Empty(t testing.TB) (url string) {
	t.Helper()
	return s.create(t, "TEMPLATE template0")
}

func (s *Server) create(t testing.TB, how string) string {
	t.Helper()
	name := s.name()
	if err := s.Admin(t.Context(), "CREATE DATABASE "+name+" OWNER "+role+" "+how); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		err := s.drop(ctx, name)
		for inUse(err) && ctx.Err() == nil { // a backend that was stopped for long goes when it runs again
			err = s.drop(ctx, name)
		}
		if err != nil && s.running() {
			t.Errorf("pgtest: %v", err)
		}
	})
	return s.URL(name)
}

// drop waits five seconds for those who are connected.
func (s *Server) drop(ctx context.Context, name string) error {
	return s.Admin(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
}

// inUse is object_in_use.
func inUse(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "55006"
}

// name is the name of the next database. It tells processes apart that share a
// server, as the child of a test does.
func (s *Server) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.databases++
	return fmt.Sprintf("test_%d_%d", os.Getpid(), s.databases)
}

// templateName is the database that the others are copied from: to migrate one
// for every test would take most of the time.
const templateName = "migrated"

func (s *Server) template() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.migrated {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := s.Admin(ctx, "CREATE DATABASE "+templateName+" OWNER "+role+" TEMPLATE template0"); err != nil {
		return err
	}
	db, err := store.OpenPostgres(ctx, s.URL(templateName), patient())
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	// Connections end a moment after they are closed, and a template has none.
	err = s.Admin(ctx, "ALTER DATABASE "+templateName+" ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '"+templateName+"'")
	s.migrated = err == nil
	return err
}

// URL is the url of a database, by the server's unix socket.
func (s *Server) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, s.password), Path: "/" + database}
	u.RawQuery = url.Values{"host": {s.dir}, "port": {fmt.Sprint(s.port)}, "sslmode": {"disable"}}.Encode()
	return u.String()
}

// TCP is the url of a database by the server's loopback port, where it asks for
// the password.
func (s *Server) TCP(database, password string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", role, url.PathEscape(password), s.port, database)
}

// Password is the password of the role that owns the databases.
func (s *Server) Password() string { return s.password }

// Admin runs statements one by one as the superuser, in no database of a test.
func (s *Server) Admin(ctx context.Context, statements ...string) error {
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/postgres"}
	u.RawQuery = url.Values{"host": {s.dir}, "port": {fmt.Sprint(s.port)}, "sslmode": {"disable"}}.Encode()
	conn, err := pgx.Connect(ctx, u.String())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, statement := range statements {
		if _, err := conn.PgConn().Exec(ctx, statement).ReadAll(); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}
