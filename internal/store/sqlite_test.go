package store_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, storetest.Engine{
		New: func(t *testing.T) string {
			empty, err := emptyDatabase()
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "store.db")
			if err := os.WriteFile(path, empty, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		},
		Open: store.OpenSQLite,
	})
}

// emptyDatabase is a database that was made and migrated here: doing so for
// every test would take most of the time.
var emptyDatabase = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "store.db")
	db, err := store.OpenSQLite(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil { // the write-ahead log goes into the file
		return nil, err
	}
	return os.ReadFile(path)
})
