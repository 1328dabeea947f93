package pgtest

import (
	"errors"
	"io/fs"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/store"
)

// again is the test under which a package runs tests of its own once more.
const again = "TestPostgres"

// Run runs tests of a package once more, over PostgreSQL: what they open with
// OpenAt lies there. It is called by a test of the name TestPostgres.
// Tests belong here whose SQL could mean something else there.
func Run(t *testing.T, tests ...func(*testing.T)) {
	t.Helper()
	if t.Name() != again {
		t.Fatalf("pgtest: want a test of the name %s", again)
	}
	Shared(t) // skips all of them, once, where there is no server
	for _, test := range tests {
		name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
		t.Run(name[strings.LastIndexByte(name, '.')+1:], test)
	}
}

// Wanted says whether t is run over PostgreSQL.
func Wanted(t testing.TB) bool { return strings.HasPrefix(t.Name(), again+"/") }

// patient are options under which a slow machine decides no test.
func patient() store.PostgresOptions {
	return store.PostgresOptions{LockWait: time.Minute, Patience: time.Minute}
}

// OpenAt opens the database of a test at a path: the file itself, or the
// database that stands for it where t is run over PostgreSQL. The first who
// opens it there makes it.
func OpenAt(t testing.TB, path string) (*store.DB, error) {
	t.Helper()
	if !Wanted(t) {
		return store.OpenSQLite(t.Context(), path)
	}
	note := path + ".url"
	url, err := os.ReadFile(note) // #nosec G304 -- of the test
	if errors.Is(err, fs.ErrNotExist) {
		url = []byte(Database(t))
		err = os.WriteFile(note, url, 0o600)
	}
	if err != nil {
		return nil, err
	}
	return store.OpenPostgres(t.Context(), string(url), patient())
}
