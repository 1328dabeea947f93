package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
)

func open(t *testing.T, url string, o store.PostgresOptions) *store.DB {
	t.Helper()
	o.Patience = time.Minute // a slow machine decides nothing
	db, err := store.OpenPostgres(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func revoke(ctx context.Context, db *store.DB, subject string) error {
	return db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.Revoke(ctx, store.Revocation{Kind: store.KindSubject, Subject: subject, At: time.Unix(1, 0)})
	})
}

// What the server refuses or breaks off is told apart from what the caller did.
func TestPostgresErrors(t *testing.T) {
	db := open(t, pgtest.Database(t), store.PostgresOptions{})
	query := func(ctx context.Context, tx *store.Tx, query string) error {
		rows, err := tx.Query(ctx, query)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() { //nolint:revive // to the end
		}
		return rows.Err()
	}
	for _, c := range []struct {
		name string
		run  func(ctx context.Context, tx *store.Tx) error
		want error // nil: none of the kinds
	}{
		{"statement_timeout", func(ctx context.Context, tx *store.Tx) error {
			if err := query(ctx, tx, "SELECT set_config('statement_timeout', '20ms', true)"); err != nil {
				return err
			}
			return query(ctx, tx, "SELECT pg_sleep(60)")
		}, store.ErrUnavailable},
		{"disconnected", func(ctx context.Context, tx *store.Tx) error {
			return query(ctx, tx, "SELECT pg_terminate_backend(pg_backend_pid())")
		}, store.ErrUnavailable},
		{"read only", func(ctx context.Context, tx *store.Tx) error {
			if err := query(ctx, tx, "SELECT set_config('transaction_read_only', 'on', true)"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "UPDATE revocation_head SET number = 777")
			return err
		}, store.ErrUnavailable},
		{"no such table", func(ctx context.Context, tx *store.Tx) error { return query(ctx, tx, "SELECT x FROM absent") }, nil},
		{"no number", func(ctx context.Context, tx *store.Tx) error { return query(ctx, tx, "SELECT 'x'::bigint") }, nil},
		{"division", func(ctx context.Context, tx *store.Tx) error { return query(ctx, tx, "SELECT 1/0") }, nil},
		{"two statements", func(ctx context.Context, tx *store.Tx) error { return query(ctx, tx, "SELECT 1; SELECT 2") }, nil},
	} {
		err := db.Tx(t.Context(), c.run)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if c.want == nil && (errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound)) {
			t.Errorf("%s: %v, want a plain error", c.name, err)
		}
		if err := revoke(t.Context(), db, "u"); err != nil {
			t.Errorf("after %s: %v", c.name, err)
		}
		if n, err := db.LastRevocation(t.Context()); err != nil || n == 777 {
			t.Errorf("after %s: last %d, %v", c.name, n, err)
		}
	}
}

// The turn that another process keeps is waited for, for so long, and then
// said; it keeps nobody from reading, nor the writers of another database.
func TestPostgresTurnIsTaken(t *testing.T) {
	url := pgtest.Database(t)
	db := open(t, url, store.PostgresOptions{LockWait: 30 * time.Millisecond})
	holder := open(t, url, store.PostgresOptions{})
	stranger := open(t, pgtest.Database(t), store.PostgresOptions{})
	err := holder.Tx(t.Context(), func(context.Context, *store.Tx) error {
		err := db.Tx(t.Context(), func(context.Context, *store.Tx) error {
			t.Error("a transaction without its turn ran")
			return nil
		})
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("write beside another process's: %v, want ErrUnavailable", err)
		}
		if _, err := db.LastRevocation(t.Context()); err != nil {
			t.Errorf("read beside another process's write: %v, want none", err)
		}
		if err := revoke(t.Context(), stranger, "u"); err != nil {
			t.Errorf("write to another database: %v, want none", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := revoke(t.Context(), db, "u"); err != nil {
		t.Errorf("write after it: %v, want none", err)
	}
}

// Who waits is let go when the context ends, and a statement under way stops.
func TestPostgresWaitingEndsWithTheContext(t *testing.T) {
	url := pgtest.Database(t)
	a, b := open(t, url, store.PostgresOptions{LockWait: time.Hour}), open(t, url, store.PostgresOptions{LockWait: time.Hour})
	wait := func(name string, run func(context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := run(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v, want only that the deadline is exceeded", name, err)
		}
	}
	ran := func(context.Context, *store.Tx) error {
		t.Error("it ran")
		return nil
	}
	if err := a.Tx(t.Context(), func(context.Context, *store.Tx) error {
		wait("behind this process's writer", func(ctx context.Context) error { return a.Tx(ctx, ran) })
		wait("behind another's", func(ctx context.Context) error { return b.Tx(ctx, ran) })
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, run := range []func(context.Context, func(context.Context, *store.Tx) error) error{a.Tx, a.View} {
		wait("an endless statement", func(ctx context.Context) error {
			return run(ctx, func(ctx context.Context, tx *store.Tx) error {
				var nothing any
				return tx.QueryRow(ctx, "SELECT pg_sleep(60)").Scan(&nothing)
			})
		})
	}
	for _, db := range []*store.DB{a, b} {
		if err := revoke(t.Context(), db, "u"); err != nil {
			t.Errorf("control: %v", err)
		}
	}
}

// A process has as many connections as it may, and waits for one as long as its
// context lets it; the writer and the follower wait for no view.
func TestPostgresConnectionsAreBounded(t *testing.T) {
	db := open(t, pgtest.Database(t), store.PostgresOptions{Readers: 2})
	f, err := db.Follow(t.Context(), store.FollowConfig{Look: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var most int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 10 {
				err := db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
					var n int64
					err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'").Scan(&n)
					mu.Lock()
					defer mu.Unlock()
					most = max(most, n)
					return err
				})
				if err := errors.Join(err, revoke(t.Context(), db, "u")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if most < 2 || most > 2+2 {
		t.Errorf("up to %d connections, want 2 to read, one to write and one to follow", most)
	}
	nothing := func(context.Context, *store.Tx) error { return nil }
	err = db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error { // both are taken
		return db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			waiting, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if err := db.View(waiting, nothing); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUnavailable) {
				t.Errorf("a third view: %v, want only that the deadline is exceeded", err)
			}
			return errors.Join(revoke(t.Context(), db, "u"), f.Look(t.Context()))
		})
	})
	if err != nil {
		t.Errorf("beside all views: %v", err)
	}
	if err := db.View(t.Context(), nothing); err != nil {
		t.Errorf("control: %v", err)
	}
}

// Connections that an administrator ends are replaced without anybody noticing,
// as long as nothing was under way on them.
func TestPostgresDeadConnectionsAreReplaced(t *testing.T) {
	url := pgtest.Database(t)
	db, other := open(t, url, store.PostgresOptions{}), open(t, url, store.PostgresOptions{})
	for range 3 {
		if err := revoke(t.Context(), db, "u"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.LastRevocation(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := other.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			var n int64
			return tx.QueryRow(ctx, `SELECT COUNT(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := db.LastRevocation(t.Context()); err != nil || n != 3 {
		t.Errorf("last = %d, %v, want 3", n, err)
	}
}

// The password shows nowhere.
func TestPostgresPasswordIsNotShown(t *testing.T) {
	s := pgtest.Shared(t)
	name := strings.Split(strings.TrimPrefix(s.Database(t), "postgres://"), "/")[1]
	name, _, _ = strings.Cut(name, "?")
	const wrong = "hunter2"
	_, err := store.OpenPostgres(t.Context(), s.TCP(name, wrong), store.PostgresOptions{})
	if !errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), wrong) {
		t.Errorf("wrong password: %v, want ErrUnavailable without it", err)
	}
	db := open(t, s.TCP(name, s.Password()), store.PostgresOptions{}) // control
	if err := revoke(t.Context(), db, "u"); err != nil {
		t.Error(err)
	}
	for _, place := range []string{"absent", "postgres"} { // none, and one that is not ours to write
		_, err := store.OpenPostgres(t.Context(), s.TCP(place, s.Password()), store.PostgresOptions{})
		if err == nil || strings.Contains(err.Error(), s.Password()) {
			t.Errorf("database %s: %v, want an error without the password", place, err)
		}
	}
	if shown := fmt.Sprintf("%v %+v", db, slog.AnyValue(db)); strings.Contains(shown, s.Password()) {
		t.Error("a printed DB shows the password")
	}
}

// The server is killed in the middle of writes, stopped, and started again:
// what it acknowledged is there, revocations go on without a gap, the follower
// notices its absence and its return, and nothing hangs.
func TestPostgresServerGoesAndReturns(t *testing.T) {
	s := pgtest.Start(t)
	url := s.Database(t)
	a, b := open(t, url, store.PostgresOptions{}), open(t, url, store.PostgresOptions{})
	var log lockedBuffer
	var mu sync.Mutex
	var told []int64
	b.Subscribe(func(r store.Revocation) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, r.Number)
	})
	f, err := b.Follow(t.Context(), store.FollowConfig{Every: 5 * time.Millisecond, Look: time.Minute, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = f.Run(ctx) }()
	defer func() { stop(); <-done }()

	acknowledged := int64(0)
	for round, end := range []func(testing.TB){s.Kill, s.Stop, s.Kill} {
		first := make(chan struct{})
		failed := make(chan error)
		go func() {
			for n := 0; ; n++ {
				if err := revoke(t.Context(), a, fmt.Sprint(round, "-", n)); err != nil {
					failed <- err
					return
				}
				if acknowledged++; n == 20 {
					close(first)
				}
			}
		}()
		<-first
		end(t)
		if err := <-failed; !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("round %d: write while the server went: %v, want ErrUnavailable", round, err)
		}
		_, err := a.LastRevocation(t.Context())
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("round %d: read without a server: %v, want ErrUnavailable", round, err)
		}
		for range 5 { // it does not count as heard
			_ = f.Look(t.Context())
		}
		if since := f.Heard(); f.Look(t.Context()) == nil || !f.Heard().Equal(since) {
			t.Errorf("round %d: the follower heard without a server", round)
		}
		s.Restart(t)
		last, err := a.LastRevocation(t.Context())
		if err != nil || last != acknowledged && last != acknowledged+1 {
			t.Fatalf("round %d: last is %d, %v, want %d, the last acknowledged, or one more", round, last, err, acknowledged)
		}
		acknowledged = last
		list, err := b.RevocationsAfter(t.Context(), 0, 10_000)
		if err != nil || int64(len(list)) != last {
			t.Errorf("round %d: %d revocations, %v, want %d", round, len(list), err, last)
		}
		if err := f.Look(t.Context()); err != nil { // with the one of which nobody knew whether it was committed
			t.Errorf("round %d: the follower after the return: %v", round, err)
		}
		mu.Lock()
		for i, n := range told {
			if n != int64(i)+1 {
				t.Fatalf("round %d: told %v, want 1, 2, 3 and so on", round, told)
			}
		}
		if int64(len(told)) != last {
			t.Errorf("round %d: told %d, want %d", round, len(told), last)
		}
		mu.Unlock()
	}
	if text := log.String(); !strings.Contains(text, "cannot be heard") || strings.Contains(text, s.Password()) {
		t.Errorf("the follower logged %q, want that it hears nothing, and no password", text)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
