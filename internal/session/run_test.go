package session_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
)

// stored returns the last use as the database has it.
func (f *fixture) stored(id string) time.Time {
	f.t.Helper()
	return store.FromMicros(int64(f.count("SELECT last_used_at FROM sessions WHERE id = ?", id)))
}

// A lookup neither writes nor waits for a writer.
func TestLookupDoesNotWaitForWriters(t *testing.T) {
	f := newFixture(t)
	token, s := f.login("u")
	f.pass(10 * time.Minute)
	err := f.db.Tx(t.Context(), func(context.Context, *store.Tx) error { // the one writer is taken
		got := f.want(token, problem.OK, "beside a writer")
		if !got.LastUsed.Equal(f.clock()) || !got.ValidUntil.Equal(f.clock().Add(lives.Idle)) {
			t.Errorf("used %v, valid until %v, want now and the idle time later", got.LastUsed, got.ValidUntil)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.stored(s.ID); !got.Equal(s.LastUsed) {
		t.Errorf("stored use %v, want %v: nothing was written yet", got, s.LastUsed)
	}
}

// Run writes uses within seconds, at most one a minute of a session, and what
// is left when it ends: another process knows of them.
func TestRunWritesUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store.db")
		db, err := store.OpenSQLite(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		f := &fixture{t: t, db: db, path: path, Sessions: session.New(db, lives, time.Now)}
		token, s := f.login("u")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx, slog.New(slog.DiscardHandler)) }()

		written := map[time.Time]bool{}
		for range 60 { // ten minutes of use, every ten seconds
			time.Sleep(10 * time.Second)
			synctest.Wait()
			f.want(token, problem.OK, "in use")
			written[f.stored(s.ID)] = true
		}
		if n := len(written); n < 9 || n > 11 {
			t.Errorf("%d different uses were stored in ten minutes, want one a minute", n)
		}
		time.Sleep(2 * time.Minute)
		f.want(token, problem.OK, "the last use")
		used := time.Now()
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if got := f.stored(s.ID); !got.Equal(used.UTC()) {
			t.Errorf("stored when Run ended: %v, want %v", got, used.UTC())
		}
		other := session.New(db, lives, time.Now) // a new process remembers nothing
		time.Sleep(29*time.Minute + 59*time.Second)
		if _, err := other.Lookup(t.Context(), token); err != nil {
			t.Errorf("after a restart: %v, want it to live", err)
		}
	})
}

// Rows of sessions that ended stay for a day, then they go, a bounded number at a time.
func TestPurge(t *testing.T) {
	f := newFixture(t)
	revoked, s := f.login("u1")
	if err := f.Revoke(t.Context(), "u1", s.ID); err != nil {
		t.Fatal(err)
	}
	expired, _ := f.login("u2")
	remembered, _ := f.create(session.NewSession{User: "u3", Level: 1, Method: "password", Remember: true})
	for _, c := range []struct {
		pass             time.Duration
		purged           int64
		revoked, expired problem.Reason
	}{
		{24 * time.Hour, 0, problem.AuthRevoked, problem.AuthExpired},
		{time.Second, 1, problem.AuthInvalid, problem.AuthExpired}, // a day after the revocation
		{12 * time.Hour, 1, problem.AuthInvalid, problem.AuthInvalid},
		{0, 0, problem.AuthInvalid, problem.AuthInvalid},
	} {
		f.pass(c.pass)
		n, err := f.Purge(t.Context())
		if err != nil || n != c.purged {
			t.Errorf("after %v more: purged %d, %v, want %d", c.pass, n, err, c.purged)
		}
		f.want(revoked, c.revoked, "the revoked one")
		f.want(expired, c.expired, "the expired one")
	}
	f.want(remembered, problem.OK, "the one that lives")
}

func TestPurgeOfMany(t *testing.T) {
	f := newFixture(t)
	const many = 10_703 // more than one purge once took
	if err := f.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for i := range many {
			hash := session.Hash(fmt.Sprint(i))
			if _, err := tx.Exec(ctx, `INSERT INTO sessions (id, token_hash, user_id, created_at, authenticated_at, last_used_at,
				expires_at, idle, remembered, level, method, client, agent) VALUES (?, ?, 'u', 1, 1, 1, 2, 1, 0, 1, 'password', '', '')`,
				fmt.Sprint(i), hash[:]); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	live, _ := f.login("u")
	if n, err := f.Purge(t.Context()); n != many || err != nil {
		t.Errorf("purged %d, %v, want %d", n, err, many)
	}
	f.want(live, problem.OK, "the one that lives")
}
