package mail

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/mail/mailtest"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
	"sallyport.dev/zone"
)

// patience is what a delivery may take where a test is not about that.
const patience = time.Minute

// world is an outbox over a real store and a real SMTP server, with a clock that
// the test moves.
type world struct {
	t       testing.TB
	db      *store.DB
	path    string
	root    *keys.Root
	zone    *zone.Zone
	server  *mailtest.Server
	now     *stepClock
	log     *safeBuffer
	metrics *obs.Metrics
	box     *Outbox
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	return newWorldWith(t, mailtest.Start(t), change...)
}

func newWorldWith(t testing.TB, server *mailtest.Server, change ...func(*Config)) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{
		t: t, path: filepath.Join(dir, "zone.db"), server: server, log: &safeBuffer{}, metrics: obs.NewMetrics(),
		now:  &stepClock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
		zone: testZone(),
	}
	empty, err := emptyDatabase()
	must(t, err)
	must(t, os.WriteFile(w.path, empty, 0o600))
	w.db = w.open()
	w.root, err = keys.OpenRoot(filepath.Join(dir, "root.key"), true)
	must(t, err)
	w.box = w.outbox(w.db, append(change, func(c *Config) { c.Metrics = w.metrics })...)
	return w
}

func testZone() *zone.Zone {
	return &zone.Zone{
		Name:      "shop.example",
		Listeners: []*zone.Listener{{Name: "public", Address: "0.0.0.0:8443", Hosts: []string{"www.shop.example"}}},
		Identity:  zone.Identity{Listener: "public", Mail: &zone.Mail{From: "no-reply@shop.example"}},
	}
}

// open opens the world's database once more.
func (w *world) open() *store.DB {
	w.t.Helper()
	db, err := pgtest.OpenAt(w.t, w.path)
	must(w.t, err)
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

// outbox makes one more worker.
func (w *world) outbox(db *store.DB, change ...func(*Config)) *Outbox {
	w.t.Helper()
	c := Config{
		DB: db, Root: w.root, Zone: w.zone, URL: obs.Secret(w.server.URL()), Roots: w.server.Roots(), Clock: w.now.time,
		Log: obs.NewLogger(w.log, slog.LevelDebug, true), Jitter: func() float64 { return 0.5 },
	}
	for _, f := range change {
		f(&c)
	}
	box, err := New(c)
	must(w.t, err)
	box.dialer.limit, box.last, box.note = patience, patience, patience
	return box
}

// enqueue asks for a letter that is there in any case.
func (w *world) enqueue(address string) {
	w.t.Helper()
	must(w.t, w.add(w.box, Job{Kind: Deleted, Address: address, Data: map[string]string{"at": "2026-03-01T11:00:00Z"}}))
}

func (w *world) add(box *Outbox, job Job) error {
	return w.db.Tx(w.t.Context(), func(ctx context.Context, tx *store.Tx) error { return box.Enqueue(ctx, tx, job) })
}

func (w *world) flush() {
	w.t.Helper()
	must(w.t, w.box.Flush(w.t.Context()))
}

// states are the states of all rows with their cause, by how many there are.
func (w *world) states() string {
	w.t.Helper()
	counts := map[string]int{}
	must(w.t, w.db.View(w.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT state, cause, COUNT(*) FROM mail_outbox GROUP BY state, cause`)
		if err != nil {
			return err
		}
		for rows.Next() {
			var state, cause string
			var n int
			if err := rows.Scan(&state, &cause, &n); err != nil {
				return err
			}
			if cause != "" {
				state += " " + cause
			}
			counts[state] = n
		}
		return rows.Err()
	}))
	return fmt.Sprint(counts)
}

func (w *world) wantStates(want string) {
	w.t.Helper()
	if got := w.states(); got != "map["+want+"]" {
		w.t.Errorf("rows are %s, want map[%s]\n%s", got, want, w.log.String())
	}
}

// metric is the value of a metric of that name and outcome.
func (w *world) metric(name, outcome string) float64 {
	w.t.Helper()
	families, err := w.metrics.Registry.Gather()
	must(w.t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != name || outcome != "" && m.GetLabel()[0].GetValue() != outcome {
				continue
			}
			if m.GetCounter() != nil {
				return m.GetCounter().GetValue()
			}
			return m.GetGauge().GetValue()
		}
	}
	w.t.Fatalf("no metric %s %s", name, outcome)
	return 0
}

// emptyDatabase is a migrated database without rows: migrating one for every
// test would take most of the time.
var emptyDatabase = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "mail")
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

// safeBuffer is written by several.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
