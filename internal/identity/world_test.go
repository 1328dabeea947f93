package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
	"sallyport.dev/zone"
)

// world is an account service over a real store, with sessions kept in memory,
// a clock that the test moves and cheap hashes that are counted.
type world struct {
	t        testing.TB
	id       *Identity
	db       *store.DB
	sessions *memorySessions
	now      *stepClock
	count    *counts
	client   string // address that requests come from
	path     string // of the database
}

// cheap is the current cost of a test's hashes.
var cheap = cost{memory: 8, passes: 1, threads: 1}

func openZone() *zone.Zone {
	return &zone.Zone{Name: "shop.example", Identity: zone.Identity{Registration: zone.RegistrationOpen}}
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
	w := &world{t: t, db: db, now: &stepClock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, count: &counts{}, client: "192.0.2.7", path: path}
	w.sessions = &memorySessions{clock: w.now.time, byToken: map[string]Session{}}
	if w.id, err = New(Config{DB: db, Zone: z, Sessions: w.sessions, Clock: w.now.time}); err != nil {
		t.Fatal(err)
	}
	w.id.db = countedDatabase{sqlDatabase{db}, w.count}
	w.id.hasher = newHasher(cheap, w.count.derive)
	return w
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
	mu         sync.Mutex
	hashes     []cost
	statements []string
}

func (c *counts) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hashes, c.statements = nil, nil
}

func (c *counts) derive(password, salt []byte, k cost) []byte {
	c.mu.Lock()
	c.hashes = append(c.hashes, k)
	c.mu.Unlock()
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %d %d %x", k.memory, k.passes, k.threads, len(salt), salt)
	h.Write(password)
	return h.Sum(nil)
}

func (c *counts) statement(query string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statements = append(c.statements, query)
}

func (c *counts) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("hashes %v, statements %q", c.hashes, c.statements)
}

// countedDatabase counts every transaction and statement.
type countedDatabase struct {
	database
	count *counts
}

func (d countedDatabase) change(ctx context.Context, fn func(context.Context, tx) error) error {
	d.count.statement("BEGIN")
	return d.database.change(ctx, func(ctx context.Context, t tx) error { return fn(ctx, countedTx{t, d.count}) })
}

func (d countedDatabase) view(ctx context.Context, fn func(context.Context, tx) error) error {
	d.count.statement("VIEW")
	return d.database.view(ctx, func(ctx context.Context, t tx) error { return fn(ctx, countedTx{t, d.count}) })
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

func (t countedTx) QueryRow(ctx context.Context, query string, args ...any) *store.Row {
	t.count.statement(query)
	return t.tx.QueryRow(ctx, query, args...)
}

// memorySessions keeps sessions as the interface promises, in memory.
type memorySessions struct {
	clock func() time.Time

	mu       sync.Mutex
	byToken  map[string]Session
	made     int
	fail     error            // what every method answers, when it is set
	onCreate func(NewSession) // called before a session is made
	asked    []NewSession     // what Create was asked for
}

func (m *memorySessions) Create(_ context.Context, n NewSession) (string, Session, error) {
	if m.onCreate != nil {
		m.onCreate(n)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return "", Session{}, m.fail
	}
	m.made++
	token := "sps_" + base64.RawURLEncoding.EncodeToString(randomBytes(32))
	now := m.clock()
	life := 12 * time.Hour
	if n.Remember {
		life = 30 * 24 * time.Hour
	}
	s := Session{ID: fmt.Sprintf("session-%d", m.made), User: n.User, Created: now, LastUsed: now, Expires: now.Add(life),
		Level: n.Level, Method: n.Method, Client: n.Client, Agent: n.Agent}
	m.byToken[token] = s
	m.asked = append(m.asked, n)
	return token, s, nil
}

func (m *memorySessions) List(_ context.Context, user string) ([]Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Session
	for _, s := range m.byToken {
		if s.User == user {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b Session) int { return strings.Compare(a.ID, b.ID) })
	return list, m.fail
}

func (m *memorySessions) Revoke(_ context.Context, user, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	for token, s := range m.byToken {
		if s.User == user && s.ID == id {
			delete(m.byToken, token)
			return nil
		}
	}
	return problem.New(problem.AccountUnknown, nil)
}

func (m *memorySessions) RevokeAll(_ context.Context, user, except string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for token, s := range m.byToken {
		if s.User == user && s.ID != except {
			delete(m.byToken, token)
			n++
		}
	}
	return n, m.fail
}

func (m *memorySessions) RevokeAllTx(ctx context.Context, _ *store.Tx, user string) error {
	if m.fail != nil {
		return m.fail
	}
	_, err := m.RevokeAll(ctx, user, "")
	return err
}

func (m *memorySessions) lookup(token string) (Session, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.byToken[token]
	return s, ok
}

func (m *memorySessions) of(user string) int {
	list, _ := m.List(context.Background(), user)
	return len(list)
}
