package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

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
	var tokens strings.Builder
	n := 0
	made := session.New(db, z.Identity.Sessions, time.Now)
	for i := range max(1, b.sessions/session.MaxPerUser) {
		user, email, at := uuid.NewString(), fmt.Sprintf("user%d@bench.example", i), store.Micros(time.Now())
		if err := db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO users (id, email, email_key, password, password_form, password_at, roles, verified_at, created_at)
				VALUES (?, ?, ?, '', '', 0, '', ?, ?)`, user, email, email, at, at) // nobody logs in: there are sessions
			return err
		}); err != nil {
			return err
		}
		for range session.MaxPerUser {
			token, _, err := made.Create(ctx, session.NewSession{User: user, Level: 1, Method: "password"})
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
