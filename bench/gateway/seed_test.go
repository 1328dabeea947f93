package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// TestSeed: what the load sends are sessions that live, and what it does not is none.
func TestSeed(t *testing.T) {
	b := &bed{dir: t.TempDir(), workload: workload{sessions: 2 * session.MaxPerUser, used: 3}}
	if err := b.certificate(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.path("zone.yaml"), []byte(benchMap), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.seed(t.Context()); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(b.path("tokens"))
	if err != nil {
		t.Fatal(err)
	}
	tokens := strings.Fields(string(raw))
	if len(tokens) != b.used {
		t.Fatalf("%d tokens, want %d", len(tokens), b.used)
	}
	db, err := store.OpenSQLite(t.Context(), b.path("data/zone.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	z, err := zone.Load(b.path("zone.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	lived := session.New(db, z.Identity.Sessions, time.Now)
	for _, token := range tokens {
		if _, err := lived.Lookup(t.Context(), token); err != nil {
			t.Errorf("a seeded session: %v", err)
		}
	}
	if _, err := lived.Lookup(t.Context(), tokens[0][:len(tokens[0])-4]+"AAAA"); err == nil {
		t.Error("another token is a session")
	}
}
