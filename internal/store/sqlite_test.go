package store_test

import (
	"path/filepath"
	"testing"

	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, storetest.Engine{
		New:  func(t *testing.T) string { return filepath.Join(t.TempDir(), "store.db") },
		Open: store.OpenSQLite,
	})
}
