package session_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
	"sallyport.dev/zone"
)

var lives = zone.Sessions{Idle: 30 * time.Minute, Absolute: 12 * time.Hour, Remember: 30 * 24 * time.Hour}

// fixture is a set of sessions on a real database and a clock that only tests move.
type fixture struct {
	*session.Sessions
	t    testing.TB
	db   *store.DB
	path string

	mu  sync.Mutex
	now time.Time
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, path: filepath.Join(t.TempDir(), "store.db"), now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	empty, err := emptyDatabase()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.path, empty, 0o600); err != nil {
		t.Fatal(err)
	}
	if f.db, err = pgtest.OpenAt(t, f.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.db.Close() })
	f.Sessions = session.New(f.db, lives, f.clock)
	return f
}

// emptyDatabase is a migrated database without rows: migrating one for every
// test would take most of the time.
var emptyDatabase = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "session")
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

func (f *fixture) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

func (f *fixture) login(user string) (string, session.Session) {
	f.t.Helper()
	return f.create(session.NewSession{User: user, Level: 1, Method: "password"})
}

func (f *fixture) create(n session.NewSession) (string, session.Session) {
	f.t.Helper()
	token, s, err := f.Create(f.t.Context(), n)
	if err != nil {
		f.t.Fatal(err)
	}
	return token, s
}

// want looks a token up and compares the reason.
func (f *fixture) want(token string, reason problem.Reason, what string) session.Session {
	f.t.Helper()
	s, err := f.Lookup(f.t.Context(), token)
	if got := problem.ReasonOf(err); got != reason {
		f.t.Errorf("%s: lookup = %v (%v), want %v", what, got, err, reason)
	}
	if err != nil && s != (session.Session{}) {
		f.t.Errorf("%s: a refusal came with the session %+v", what, s)
	}
	return s
}

func (f *fixture) count(query string, args ...any) (n int) {
	f.t.Helper()
	if err := f.db.View(f.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, query, args...).Scan(&n)
	}); err != nil {
		f.t.Fatal(err)
	}
	return n
}

func TestCreateAndLookup(t *testing.T) {
	f := newFixture(t)
	n := session.NewSession{
		User: "u1", Level: 2, Method: "passkey",
		Client: netip.MustParseAddr("::ffff:192.0.2.7"), Agent: "Browser/1.0\r\nX-Evil: \x00\xff" + strings.Repeat("é", 300),
	}
	token, made := f.create(n)
	now := f.clock()
	want := session.Session{
		ID: made.ID, User: "u1", Created: now, AuthTime: now, LastUsed: now,
		Expires: now.Add(12 * time.Hour), ValidUntil: now.Add(30 * time.Minute),
		Level: 2, Reached: 2, Method: "passkey", Client: netip.MustParseAddr("192.0.2.7"), Agent: made.Agent,
	}
	if made != want {
		t.Errorf("created %+v, want %+v", made, want)
	}
	if got := f.want(token, problem.OK, "new session"); got != want {
		t.Errorf("looked up %+v, want %+v", got, want)
	}
	if !strings.HasPrefix(made.Agent, "Browser/1.0X-Evil: éé") || len(made.Agent) > 256 || !utf8.ValidString(made.Agent) {
		t.Errorf("agent %q, want it clean and short", made.Agent)
	}
	if strings.Contains(token, made.ID) || len(made.ID) < 26 {
		t.Errorf("public id %q of the token %q", made.ID, token)
	}
	if _, other := f.login("u1"); other.Client.IsValid() || other.Agent != "" {
		t.Errorf("session of an unknown client %+v, want none", other)
	}
}

// TestFind: a session is found by its user and public id while it lives, and is not
// kept alive by that.
func TestFind(t *testing.T) {
	f := newFixture(t)
	token, made := f.login("u1")
	find := func(user, id string, want problem.Reason, what string) {
		t.Helper()
		got, err := f.Find(t.Context(), user, id)
		if problem.ReasonOf(err) != want || err == nil && got.ID != made.ID || err != nil && got != (session.Session{}) {
			t.Errorf("%s: %+v, %v; want %v", what, got, err, want)
		}
		if want == problem.AuthUnavailable {
			return
		}
		if err := f.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			if err := f.LiveTx(ctx, tx, user, id); problem.ReasonOf(err) != want {
				t.Errorf("%s, in a transaction: %v, want %v", what, err, want)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	find("u1", made.ID, problem.OK, "its own")
	find("u2", made.ID, problem.AuthInvalid, "another user's")
	find("u1", "nowhere", problem.AuthInvalid, "none")
	find("u1", token, problem.AuthInvalid, "by its token")
	if s, err := f.Find(t.Context(), "u1", made.ID); err != nil || !s.LastUsed.Equal(made.LastUsed) || !s.ValidUntil.Equal(made.ValidUntil) {
		t.Errorf("found %+v, %v; made %+v", s, err, made)
	}
	f.pass(29 * time.Minute)
	find("u1", made.ID, problem.OK, "rested")
	f.pass(2 * time.Minute)
	find("u1", made.ID, problem.AuthExpired, "rested too long: to be found is no use")
	_, other := f.login("u1")
	if err := f.Revoke(t.Context(), "u1", other.ID); err != nil {
		t.Fatal(err)
	}
	find("u1", other.ID, problem.AuthRevoked, "revoked")
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	find("u1", other.ID, problem.AuthUnavailable, "without the store")
}

func TestCreateRefuses(t *testing.T) {
	f := newFixture(t)
	good := session.NewSession{User: "u", Level: 1, Method: "password"}
	for name, change := range map[string]func(*session.NewSession){
		"no user":     func(n *session.NewSession) { n.User = "" },
		"long user":   func(n *session.NewSession) { n.User = strings.Repeat("u", 129) },
		"no level":    func(n *session.NewSession) { n.Level = 0 },
		"no method":   func(n *session.NewSession) { n.Method = "" },
		"long method": func(n *session.NewSession) { n.Method = strings.Repeat("m", 33) },
	} {
		n := good
		change(&n)
		if token, _, err := f.Create(t.Context(), n); err == nil || token != "" {
			t.Errorf("%s: token %q, %v, want an error", name, token, err)
		}
	}
	f.create(good)
}

func TestLifetimes(t *testing.T) {
	for _, c := range []struct {
		name     string
		remember bool
		life     zone.Sessions // of the map when it is looked up
		use      time.Duration // looked up every so often
		ends     time.Duration
	}{
		{"idle", false, lives, 0, 30 * time.Minute},
		{"used", false, lives, 29 * time.Minute, 12 * time.Hour},
		{"remembered and idle", true, lives, 0, 30 * 24 * time.Hour},
		{"remembered and used", true, lives, 24 * time.Hour, 30 * 24 * time.Hour},
		{"map shortens idle", false, zone.Sessions{Idle: 5 * time.Minute, Absolute: 12 * time.Hour}, 0, 5 * time.Minute},
		{"map shortens absolute", false, zone.Sessions{Idle: 30 * time.Minute, Absolute: time.Hour}, 20 * time.Minute, time.Hour},
		{"map shortens remember", true, zone.Sessions{Idle: time.Hour, Absolute: time.Hour, Remember: 24 * time.Hour}, 0, 24 * time.Hour},
		{"map lengthens", false, zone.Sessions{Idle: 24 * time.Hour, Absolute: 48 * time.Hour, Remember: 48 * time.Hour}, 0, 30 * time.Minute},
		{"map lengthens, used", false, zone.Sessions{Idle: 24 * time.Hour, Absolute: 48 * time.Hour}, 29 * time.Minute, 12 * time.Hour},
		{"map without lives", false, zone.Sessions{}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			token, _ := f.create(session.NewSession{User: "u", Level: 1, Method: "password", Remember: c.remember})
			f.Sessions = session.New(f.db, c.life, f.clock)
			var at time.Duration
			for c.use > 0 && at+c.use < c.ends {
				f.pass(c.use)
				at += c.use
				f.want(token, problem.OK, at.String())
			}
			if at < c.ends { // a microsecond before the end and at the end, without use in between
				f.pass(c.ends - at - time.Microsecond)
				list, err := f.List(t.Context(), "u")
				if err != nil || len(list) != 1 || !list[0].ValidUntil.Equal(f.clock().Add(time.Microsecond)) {
					t.Errorf("just before the end: %+v, %v, want one that ends in a microsecond", list, err)
				}
				f.pass(time.Microsecond)
			}
			f.want(token, problem.AuthExpired, "at the end")
			f.pass(time.Minute)
			f.want(token, problem.AuthExpired, "after the end")
			if list, err := f.List(t.Context(), "u"); err != nil || len(list) != 0 {
				t.Errorf("list after the end: %+v, %v, want none", list, err)
			}
		})
	}
}

// Whatever the times of use, a session never lives past its idle bound, and
// never ends more than a minute before it.
func TestIdleIsExactToAMinute(t *testing.T) {
	f := newFixture(t)
	token, s := f.login("u")
	lastUse := s.LastUsed
	ended := 0
	for i := range 400 {
		gap := time.Duration(i*i%37) * 7 * time.Second // 0 to 4 min, irregular
		if i%40 == 39 {
			gap = 28*time.Minute + time.Duration(i/40)*30*time.Second // 28 to 32.5 min
		}
		f.pass(gap)
		idle := f.clock().Sub(lastUse)
		got, err := f.Lookup(t.Context(), token)
		switch {
		case err == nil:
			if idle >= 30*time.Minute {
				t.Fatalf("use %d: lives after %v without use", i, idle)
			}
			lastUse = f.clock()
			if behind := lastUse.Sub(got.LastUsed); behind < 0 || behind >= time.Minute {
				t.Fatalf("use %d: last use is %v behind", i, behind)
			}
		case problem.ReasonOf(err) == problem.AuthExpired:
			if idle <= 29*time.Minute && f.clock().Before(s.Expires) {
				t.Fatalf("use %d: ended after %v without use", i, idle)
			}
			ended++
			token, s = f.login("u")
			lastUse = s.LastUsed
		default:
			t.Fatal(err)
		}
	}
	if ended < 3 { // control
		t.Errorf("%d sessions idled out, want some", ended)
	}
}

func TestListIsSortedAndBounded(t *testing.T) {
	f := newFixture(t)
	first, firstSession := f.login("u")
	second, secondSession := f.login("u")
	f.pass(2 * time.Minute)
	for _, c := range []struct {
		token string
		id    string
	}{{second, secondSession.ID}, {first, firstSession.ID}} {
		f.pass(time.Second)
		f.want(c.token, problem.OK, "used")
		list, err := f.List(t.Context(), "u")
		if err != nil || len(list) != 2 || list[0].ID != c.id || !list[0].LastUsed.Equal(f.clock()) {
			t.Errorf("list %+v, %v, want two, first %s, used now", list, err, c.id)
		}
	}
	if list, err := f.List(t.Context(), "nobody"); err != nil || len(list) != 0 {
		t.Errorf("list of nobody %+v, %v, want none", list, err)
	}
	for range session.MaxPerUser - 1 { // one too many
		f.pass(time.Second)
		f.login("u")
	}
	if list, err := f.List(t.Context(), "u"); err != nil || len(list) != session.MaxPerUser {
		t.Errorf("%d sessions, %v, want %d", len(list), err, session.MaxPerUser)
	}
	f.want(second, problem.AuthRevoked, "the stalest")
	f.want(first, problem.OK, "the one used since")
}
