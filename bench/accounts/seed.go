package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"sallyport.dev/internal/password"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
)

// What is seeded is known by its number: nothing of a million sessions is kept.

// emailOf is the address of an account that is there. Those of strangers lie
// between them, so that to look for either walks the same index.
func emailOf(n int) string    { return fmt.Sprintf("user%08d@bench.example", 2*n) }
func strangerOf(n int) string { return fmt.Sprintf("user%08d@bench.example", 2*n+1) }

func userOf(n int) string {
	id := uuid.UUID(sum("user", n)[:16])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // version 4
	return id.String()
}

func sessionOf(n int) string { return hex.EncodeToString(sum("session", n)[:13]) }
func tokenOf(n int) string {
	return session.Prefix + base64.RawURLEncoding.EncodeToString(sum("token", n))
}

func sum(kind string, n int) []byte {
	s := sha256.Sum256(fmt.Appendf(nil, "%s %d", kind, n))
	return s[:]
}

// batch is how many rows one statement inserts: SQLite binds 32,766 values at most.
const batch = 500

// seed writes accounts and their sessions into a migrated database that nobody
// has open, without the store's care for what a crash would leave.
func seed(ctx context.Context, path string, accounts, sessions int, hash string) (err error) {
	settings := url.Values{"_pragma": {"journal_mode(OFF)", "synchronous(OFF)", "locking_mode(EXCLUSIVE)", "cache_size(-524288)", "foreign_keys(OFF)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: settings.Encode()}).String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(), flushed(path)) }()
	db.SetMaxOpenConns(1)

	now := time.Now()
	at, end := store.Micros(now), store.Micros(now.Add(12*time.Hour))
	err = insert(ctx, db, "users (id, email, email_key, password, password_form, password_at, roles, verified_at, created_at)", accounts, func(n int) []any {
		return []any{userOf(n), emailOf(n), emailOf(n), hash, password.FormNFC, at, "", at, at}
	})
	if err != nil {
		return err
	}
	return insert(ctx, db, "sessions (id, token_hash, user_id, created_at, authenticated_at, last_used_at, expires_at, idle, remembered, level, method, client, agent)", sessions, func(n int) []any {
		hash := session.Hash(tokenOf(n))
		return []any{sessionOf(n), hash[:], userOf(n % accounts), at, at, at, end, lives.Idle.Microseconds(), 0, 1, "password", "192.0.2.7", agent}
	})
}

// insert writes n rows in one transaction.
func insert(ctx context.Context, db *sql.DB, into string, n int, row func(int) []any) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	columns := 1 + strings.Count(into, ",")
	one := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	for from := 0; from < n; from += batch {
		rows := min(batch, n-from)
		args := make([]any, 0, rows*columns)
		for i := range rows {
			args = append(args, row(from+i)...)
		}
		text := "INSERT INTO " + into + " VALUES " + one + strings.Repeat(","+one, rows-1)
		if _, err := tx.ExecContext(ctx, text, args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// flushed has the file on disk: what is left to write would slow what is measured.
func flushed(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
