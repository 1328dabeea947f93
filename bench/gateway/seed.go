package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"sallyport.dev/internal/identity"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// noSessions stands in for the sessions that the account service would make:
// the seed makes them itself, without a thousand password hashes.
type noSessions struct{ identity.Sessions }

// seed writes a user and its sessions' tokens into the data folder, before the
// zone runs on it.
func (b *bed) seed(ctx context.Context) error {
	if err := os.Mkdir(b.path("data"), 0o700); err != nil {
		return err
	}
	db, err := store.OpenSQLite(ctx, b.path("data/zone.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	z, err := zone.Load(b.path("zone.yaml"))
	if err != nil {
		return err
	}
	accounts, err := identity.New(identity.Config{DB: db, Zone: z, Sessions: noSessions{}})
	if err != nil {
		return err
	}
	var tokens strings.Builder
	n := 0
	made := session.New(db, z.Identity.Sessions, time.Now)
	for i := range max(1, b.sessions/session.MaxPerUser) {
		u, err := accounts.AddUser(ctx, fmt.Sprintf("user%d@bench.example", i), "a long enough passphrase", nil)
		if err != nil {
			return err
		}
		for range session.MaxPerUser {
			token, _, err := made.Create(ctx, session.NewSession{User: u.ID, Level: 1, Method: "password"})
			if err != nil {
				return err
			}
			if n++; n <= b.used {
				tokens.WriteString(token + "\n")
			}
		}
	}
	return os.WriteFile(b.path("tokens"), []byte(tokens.String()), 0o600)
}
