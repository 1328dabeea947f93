package identity

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/flow"
	"sallyport.dev/internal/guess"
	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/password"
	"sallyport.dev/internal/session"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
	"sallyport.dev/zone"
)

// world is an account service over real parts, with a clock that the test moves.
type world struct {
	t         testing.TB
	id        *Identity
	db        *store.DB
	root      *keys.Root
	passwords *password.Passwords
	sessions  *realSessions
	letters   *letters
	now       *stepClock
	count     *counts
	client    string // address that requests come from
	path      string // of the database
}

// lives are the lifetimes of a test's sessions.
var lives = zone.Sessions{Idle: 30 * time.Minute, Absolute: 12 * time.Hour, Remember: 30 * 24 * time.Hour}

func openZone() *zone.Zone {
	return &zone.Zone{Name: "shop.example", Identity: zone.Identity{Registration: zone.RegistrationOpen, Sessions: lives}}
}

func newWorld(t testing.TB, z *zone.Zone) *world {
	t.Helper()
	path := filepath.Join(t.TempDir(), "zone.db")
	empty, err := emptyDatabase()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, empty, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := pgtest.OpenAt(t, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{t: t, db: db, now: &stepClock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, client: "192.0.2.7", path: path}
	if w.root, err = keys.OpenRoot(filepath.Join(t.TempDir(), "root.key"), true); err != nil {
		t.Fatal(err)
	}
	if w.passwords, err = password.New(password.Config{Cost: cheap}); err != nil {
		t.Fatal(err)
	}
	w.count = &counts{passwords: w.passwords}
	w.letters = &letters{db: db}
	if z.Identity.Sessions == (zone.Sessions{}) {
		z.Identity.Sessions = lives
	}
	w.sessions = &realSessions{Sessions: session.New(db, z.Identity.Sessions, w.now.time)}
	factors, err := factor.New(t.Context(), factor.Config{
		DB: db, Root: w.root, Zone: z.Name, Clock: w.now.time, RPID: "shop.example", Origins: []string{"https://shop.example"},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.id, err = New(Config{
		DB: db, Root: w.root, Zone: z, Sessions: w.sessions, Passwords: w.passwords, Factors: factors,
		Flows:   flow.New(db, w.root, w.now.time),
		Guesses: newGuesses(w.now.time, w.count),
		Mail:    w.letters, Base: "https://shop.example", Clock: w.now.time,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.id.db = countedDatabase{sqlDatabase{db}, w.count}
	return w
}

// cheap is the least that package password takes.
var cheap = password.Cost{Memory: 19 << 10, Passes: 2, Threads: 1}

func newGuesses(clock func() time.Time, count *counts) *guess.Guesses {
	memory := countedKV{kv.NewMemory(clock, 1<<17), count}
	return guess.New(memory, memory, []byte("0123456789abcdef0123456789abcdef"), clock)
}

// countedKV counts what is asked of counters and values, by the kind of their keys.
type countedKV struct {
	kv.Store
	count *counts
}

func (c countedKV) Take(ctx context.Context, key string, rate zone.Rate, now time.Time) (kv.Result, error) {
	c.count.statement("TAKE " + kindOfKey(key))
	return c.Store.Take(ctx, key, rate, now)
}

func (c countedKV) Get(ctx context.Context, key string) ([]byte, bool, error) {
	c.count.statement("GET " + kindOfKey(key))
	return c.Store.Get(ctx, key)
}

func (c countedKV) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	c.count.statement("SET " + kindOfKey(key))
	return c.Store.Set(ctx, key, value, ttl)
}

// kindOfKey is a key without its subject.
func kindOfKey(key string) string { return key[:strings.LastIndexByte(key, '/')] }

// letters are those that were asked for, as they stand in the order of asking; a
// transaction that is rolled back takes its letter with it.
type letters struct {
	db   *store.DB
	mu   sync.Mutex
	jobs []mail.Job
	fail error
}

func (l *letters) Enqueue(_ context.Context, _ *store.Tx, job mail.Job) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	l.jobs = append(l.jobs, job)
	return nil
}

// take returns the kinds of the letters since the last time.
func (l *letters) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kinds []string
	for _, j := range l.jobs {
		kinds = append(kinds, j.Kind)
	}
	l.jobs = nil
	return kinds
}

func (w *world) addUser(email, password string, roles ...string) User {
	w.t.Helper()
	u, err := w.id.AddUser(w.t.Context(), email, obs.Secret(password), roles)
	if err != nil {
		w.t.Fatalf("AddUser(%q): %v", email, err)
	}
	return u
}

// emptyDatabase is a migrated database without rows: migrating one for every
// test would take most of the time.
var emptyDatabase = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "identity")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "zone.db")
	db, err := store.OpenSQLite(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil { // the write-ahead log goes into the file
		return nil, err
	}
	return os.ReadFile(path)
})

// number returns the one number that a query answers with.
func (w *world) number(query string, args ...any) (n int) {
	w.t.Helper()
	err := w.db.View(w.t.Context(), func(ctx context.Context, t *store.Tx) error {
		return t.QueryRow(ctx, query, args...).Scan(&n)
	})
	if err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	return n
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stepClock is a clock that moves when it is told to.
type stepClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *stepClock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *stepClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// counts is what a request cost.
type counts struct {
	passwords *password.Passwords

	mu         sync.Mutex
	since      uint64
	statements []string
	before     func() // called once before the next change of the store
}

func (c *counts) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since, c.statements = c.passwords.Hashes(), nil
}

func (c *counts) hashes() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passwords.Hashes() - c.since
}

func (c *counts) statement(query string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statements = append(c.statements, query)
}

func (c *counts) String() string {
	n := c.hashes()
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("%d hashes, statements %q", n, c.statements)
}

// free says whether a request cost nothing since the last reset.
func (c *counts) free() bool {
	n := c.hashes()
	c.mu.Lock()
	defer c.mu.Unlock()
	return n == 0 && len(c.statements) == 0
}

// countedDatabase counts every transaction and statement.
type countedDatabase struct {
	database
	count *counts
}

func (d countedDatabase) change(ctx context.Context, fn func(context.Context, tx) error) error {
	d.count.statement("BEGIN")
	if f := d.count.before; f != nil {
		d.count.before = nil
		f()
	}
	return d.database.change(ctx, func(ctx context.Context, t tx) error { return fn(ctx, countedTx{t, d.count}) })
}

func (d countedDatabase) view(ctx context.Context, fn func(context.Context, tx) error) error {
	d.count.statement("VIEW")
	return d.database.view(ctx, func(ctx context.Context, t tx) error { return fn(ctx, countedTx{t, d.count}) })
}

func (d countedDatabase) look(ctx context.Context, fn func(context.Context, tx) error) error {
	d.count.statement("LOOK")
	return d.database.look(ctx, func(ctx context.Context, t tx) error { return fn(ctx, countedTx{t, d.count}) })
}

type countedTx struct {
	tx
	count *counts
}

func (t countedTx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	t.count.statement(query)
	return t.tx.Exec(ctx, query, args...)
}

func (t countedTx) Query(ctx context.Context, query string, args ...any) (*store.Rows, error) {
	t.count.statement(query)
	return t.tx.Query(ctx, query, args...)
}

// whole counts what other packages do in the transaction as one statement.
func (t countedTx) whole() *store.Tx {
	t.count.statement("shared")
	return t.tx.whole()
}

func (t countedTx) QueryRow(ctx context.Context, query string, args ...any) *store.Row {
	t.count.statement(query)
	return t.tx.QueryRow(ctx, query, args...)
}

// realSessions are sessions as app hands them over, which can be made to fail.
type realSessions struct {
	*session.Sessions

	mu   sync.Mutex
	fail error        // what every method answers, when it is set
	made []NewSession // what CreateTx was asked for
}

func (m *realSessions) failing() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fail
}

func sessionOf(s session.Session) Session {
	return Session{
		ID: s.ID, User: s.User, Created: s.Created, AuthTime: s.AuthTime, LastUsed: s.LastUsed, Expires: s.Expires,
		Remember: s.Remember, Level: s.Level, Method: s.Method, Client: s.Client, Agent: s.Agent,
	}
}

func (m *realSessions) CreateTx(ctx context.Context, t *store.Tx, n NewSession) (string, Session, error) {
	if err := m.failing(); err != nil {
		return "", Session{}, err
	}
	m.mu.Lock()
	m.made = append(m.made, n)
	m.mu.Unlock()
	token, s, err := m.Sessions.CreateTx(ctx, t, session.NewSession(n))
	return token, sessionOf(s), err
}

func (m *realSessions) RaiseTx(ctx context.Context, t *store.Tx, user, id string, level int, method string) (string, Session, error) {
	if err := m.failing(); err != nil {
		return "", Session{}, err
	}
	token, s, err := m.Sessions.RaiseTx(ctx, t, user, id, level, method)
	return token, sessionOf(s), err
}

func (m *realSessions) LiveTx(ctx context.Context, t *store.Tx, user, id string) error {
	if err := m.failing(); err != nil {
		return err
	}
	return m.Sessions.LiveTx(ctx, t, user, id)
}

func (m *realSessions) List(ctx context.Context, user string) ([]Session, error) {
	if err := m.failing(); err != nil {
		return nil, err
	}
	list, err := m.Sessions.List(ctx, user)
	out := make([]Session, len(list))
	for i, s := range list {
		out[i] = sessionOf(s)
	}
	return out, err
}

func (m *realSessions) Revoke(ctx context.Context, user, id string) error {
	if err := m.failing(); err != nil {
		return err
	}
	return m.Sessions.Revoke(ctx, user, id)
}

func (m *realSessions) RevokeTx(ctx context.Context, t *store.Tx, user, id string) error {
	if err := m.failing(); err != nil {
		return err
	}
	return m.Sessions.RevokeTx(ctx, t, user, id)
}

func (m *realSessions) RevokeAll(ctx context.Context, user, except string) (int, error) {
	if err := m.failing(); err != nil {
		return 0, err
	}
	return m.Sessions.RevokeAll(ctx, user, except)
}

func (m *realSessions) RevokeAllTx(ctx context.Context, t *store.Tx, user, except string) (int, error) {
	if err := m.failing(); err != nil {
		return 0, err
	}
	return m.Sessions.RevokeAllTx(ctx, t, user, except)
}

// create makes a session past the account service.
func (m *realSessions) create(t testing.TB, user string, level int) (token string, s session.Session) {
	t.Helper()
	token, s, err := m.Create(t.Context(), session.NewSession{User: user, Level: level, Method: "password"})
	if err != nil {
		t.Fatal(err)
	}
	return token, s
}

func (m *realSessions) lookup(token string) (session.Session, bool) {
	s, err := m.Lookup(context.Background(), token)
	return s, err == nil
}

func (m *realSessions) of(user string) int {
	list, _ := m.Sessions.List(context.Background(), user)
	return len(list)
}

func (m *realSessions) asked() []NewSession {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.made)
}
