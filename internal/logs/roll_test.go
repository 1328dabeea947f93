package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/journal"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
)

// source is a journal that nobody writes.
type source struct {
	id   string
	head journal.Head
}

func (s source) ID() string            { return s.id }
func (s source) Durable() journal.Head { return s.head }

func openDB(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := pgtest.OpenAt(t, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func roller(t testing.TB, dir string, s Source) *Roller {
	t.Helper()
	return NewRoller(RollerConfig{DB: openDB(t, filepath.Join(t.TempDir(), "test.db")), Log: New(dir), Source: s, Clock: func() time.Time { return testTime }})
}

// counted are all minutes of a database, summed up.
func counted(t testing.TB, db *store.DB, service string) (sum Minute, minutes int) {
	t.Helper()
	list, err := Counts(t.Context(), db, testTime.Add(-time.Hour), testTime.Add(24*time.Hour), service)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range list {
		if i > 0 && !m.Time.After(list[i-1].Time) {
			t.Errorf("minute %v after %v", m.Time, list[i-1].Time)
		}
		sum.Requests += m.Requests
		for c, n := range m.Classes {
			sum.Classes[c] += n
		}
		sum.BytesIn += m.BytesIn
		sum.BytesOut += m.BytesOut
		sum.DurationSum += m.DurationSum
		sum.DurationMax = max(sum.DurationMax, m.DurationMax)
	}
	return sum, len(list)
}

// expected is what counting the records [0, n) of a service by hand gives.
func expected(n int, service string) (sum Minute, minutes int) {
	seen := map[int64]bool{}
	for i := range n {
		r := record(i)
		if service != "" && r.Service != service {
			continue
		}
		seen[r.Time.Unix()/60] = true
		sum.Requests++
		sum.Classes[r.Status/100]++
		sum.BytesIn += r.BytesIn
		sum.BytesOut += r.BytesOut
		sum.DurationSum += r.Duration
		sum.DurationMax = max(sum.DurationMax, r.Duration)
	}
	return sum, len(seen)
}

func TestRollUp(t *testing.T) {
	const n = 4000
	dir := t.TempDir()
	j := open(t, dir, options())
	r := roller(t, dir, j)
	total := 0
	for i := 0; i < n; i += 500 {
		write(t, j, i, i+499)
		if err := j.AppendSync(record(i + 499)); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second finds nothing new
			k, err := r.Roll(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			total += k
		}
	}
	if total != n || r.Passed() != n {
		t.Errorf("%d records counted, passed %d; want %d", total, r.Passed(), n)
	}
	for _, service := range []string{"", "service-1", "rare", "none"} {
		got, minutes := counted(t, r.c.DB, service)
		want, wantMinutes := expected(n, service)
		if got != want || minutes != wantMinutes {
			t.Errorf("service %q: %d minutes, %+v\nwant %d minutes, %+v", service, minutes, got, wantMinutes, want)
		}
	}
	checkDetail(t, r.c.DB, n)

	anchors, err := Anchors(t.Context(), r.c.DB, j.ID())
	if err != nil || len(anchors) != 1 || anchors[0].Sequence != n {
		t.Errorf("Anchors = %v, %v; want one at %d", anchors, err, n)
	}
	report, err := journal.Verify(t.Context(), dir, anchors...)
	if err != nil || len(report.Findings) > 0 {
		t.Errorf("Verify with the anchor: %v, %v", report.Findings, err)
	}
}

// checkDetail compares the counts by route, class and reason.
func checkDetail(t *testing.T, db *store.DB, n int) {
	t.Helper()
	want := map[series]int64{}
	for i := range n {
		r := record(i)
		want[series{r.Service, r.Route, r.Reason, r.Status / 100}]++
	}
	err := db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT s.service, s.route, s.reason, s.class, SUM(m.requests)
			FROM log_minutes m JOIN log_series s ON s.id = m.slot % 1048576 GROUP BY s.id`)
		if err != nil {
			return err
		}
		for rows.Next() {
			var s series
			var got int64
			if err := rows.Scan(&s.service, &s.route, &s.reason, &s.class, &got); err != nil {
				return err
			}
			if got != want[s] {
				t.Errorf("%+v: %d requests, want %d", s, got, want[s])
			}
			delete(want, s)
		}
		return rows.Err()
	})
	if err != nil || len(want) > 0 {
		t.Errorf("no counts of %v (%v)", want, err)
	}
}

// What is not synced is not counted: a loss of power would take it back.
func TestRollUpCountsWhatIsDurable(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, options())
	write(t, j, 0, 10)
	at := j.Head()
	write(t, j, 10, 20)
	r := roller(t, dir, source{j.ID(), at})
	if n, err := r.Roll(t.Context()); n != 10 || err != nil {
		t.Errorf("Roll = %d, %v; want 10", n, err)
	}
}

// A stream is one request when it opens; what it carried counts when it ends. A
// mark of the journal is no request, an act of administration is.
func TestRollUpKinds(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, options())
	for i, k := range []journal.Kind{journal.KindOpen, journal.KindEnd, journal.KindAdmin, journal.KindMark} {
		rec := record(1)
		rec.Kind, rec.Status, rec.Service, rec.Route = k, 200, "live", "GET /live"
		rec.BytesOut, rec.Duration = int64(i), time.Duration(i)*time.Second
		if k == journal.KindOpen {
			rec.BytesIn = 0
		}
		if err := j.AppendSync(rec); err != nil {
			t.Fatal(err)
		}
	}
	r := roller(t, dir, j)
	if _, err := r.Roll(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, _ := counted(t, r.c.DB, "live")
	if got.Requests != 2 || got.BytesOut != 1+2 || got.DurationSum != 3*time.Second || got.DurationMax != 2*time.Second {
		t.Errorf("got %+v, want 2 requests, 3 bytes, 3s in sum, 2s at most", got)
	}
}

// A journal that ends before what was counted is an older copy: it is said, and
// counting goes on at its end.
func TestRollUpOfAnOlderCopy(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, options())
	write(t, j, 0, 100)
	at := j.Head()
	write(t, j, 100, 200)
	db := openDB(t, filepath.Join(t.TempDir(), "test.db"))
	with := func(h journal.Head) *Roller {
		return NewRoller(RollerConfig{DB: db, Log: New(dir), Source: source{j.ID(), h}})
	}
	if n, err := with(j.Head()).Roll(t.Context()); n != 200 || err != nil {
		t.Fatalf("Roll = %d, %v", n, err)
	}
	if n, err := with(at).Roll(t.Context()); n != 0 || err != nil {
		t.Errorf("Roll of the older copy = %d, %v; want 0", n, err)
	}
	if got, _ := counted(t, db, ""); got.Requests != 200 {
		t.Errorf("%d requests counted, want 200", got.Requests)
	}
}

// Two that count the same journal do not count twice: the second is refused.
func TestRollUpOnce(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, options())
	if err := j.AppendSync(record(0)); err != nil {
		t.Fatal(err)
	}
	r := roller(t, dir, j)
	if _, err := r.Roll(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := r.c.DB.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { // somebody else moved on
		_, err := tx.Exec(ctx, `UPDATE log_positions SET sequence = sequence + 1`)
		if err != nil {
			return err
		}
		return r.move(ctx, tx, 5, j.Durable())
	})
	if err == nil {
		t.Error("a position that another has moved was moved again")
	}
}

func TestPurge(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, options())
	for h := range 72 {
		rec := record(0)
		rec.Time = testTime.Add(-time.Duration(h) * time.Hour)
		if err := j.Append(rec); err != nil {
			t.Fatal(err)
		}
	}
	r := NewRoller(RollerConfig{DB: openDB(t, filepath.Join(t.TempDir(), "test.db")), Log: New(dir), Source: source{j.ID(), j.Head()},
		Clock: func() time.Time { return testTime }, Retain: 24 * time.Hour})
	if _, err := r.Roll(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, err := r.Purge(t.Context())
	if err != nil || n != 2*(72-25) {
		t.Errorf("Purge = %d, %v; want %d rows: two for each hour but the last 25", n, err, 2*(72-25))
	}
	list, err := Counts(t.Context(), r.c.DB, testTime.Add(-96*time.Hour), testTime.Add(time.Hour), "")
	if err != nil || len(list) != 25 {
		t.Errorf("%d minutes are left, %v; want 25", len(list), err)
	}
}

func TestCountsAreBounded(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "test.db"))
	if _, err := Counts(t.Context(), db, testTime, testTime.Add(367*24*time.Hour), ""); err == nil {
		t.Error("more than a year was answered")
	}
}

// Beyond the bound of series a new one is counted under a route of its own.
func TestSeriesAreBounded(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "test.db"))
	known := map[series]int64{}
	for i := range maxSeries - 1 {
		known[series{service: fmt.Sprint(i)}] = int64(i)
	}
	err := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		last, err := seriesID(ctx, tx, known, series{"s", "GET /1", "ok", 2})
		if err != nil {
			return err
		}
		a, err := seriesID(ctx, tx, known, series{"s", "GET /2", "ok", 2})
		if err != nil {
			return err
		}
		b, err := seriesID(ctx, tx, known, series{"s", "GET /3", "ok", 2})
		if a != b || a == last {
			t.Errorf("series %d, %d and %d; want the last two the same", last, a, b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

const childEnv = "SALLYPORT_TEST_ROLLER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		rollUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// killedRecords is the number of records that the killed rollers count.
const killedRecords = 20_000

// rollUntilKilled counts in steps of a few records and says when it has begun.
func rollUntilKilled(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	db, err := store.OpenSQLite(context.Background(), filepath.Join(dir, "test.db"))
	if err != nil {
		fail(err)
	}
	id, err := os.ReadFile(filepath.Join(dir, "id"))
	if err != nil {
		fail(err)
	}
	for end := uint64(100); ; end += 100 {
		end = min(end, killedRecords)
		r := NewRoller(RollerConfig{DB: db, Log: New(filepath.Join(dir, "journal")), Source: source{string(id), journal.Head{Sequence: end}}})
		if _, err := r.Roll(context.Background()); err != nil {
			fail(err)
		}
		fmt.Println(r.Passed())
	}
}

// A roller is killed again and again; in the end each record has counted once.
func TestRollUpIsExactAfterKills(t *testing.T) {
	dir := t.TempDir()
	j := open(t, filepath.Join(dir, "journal"), options())
	write(t, j, 0, killedRecords)
	if err := j.AppendSync(record(killedRecords)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "id"), []byte(j.ID()), 0o600); err != nil {
		t.Fatal(err)
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for range 8 {
		child := exec.CommandContext(t.Context(), binary)
		child.Env = append(os.Environ(), childEnv+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err == nil {
			err = child.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 1 + rand.IntN(20); n > 0 && lines.Scan(); n-- {
			said = lines.Text()
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // killed
	}
	r := NewRoller(RollerConfig{DB: openDB(t, filepath.Join(dir, "test.db")), Log: New(filepath.Join(dir, "journal")),
		Source: source{j.ID(), journal.Head{Sequence: killedRecords}}})
	left, err := r.Roll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left == 0 || left == killedRecords {
		t.Errorf("the killed rollers left %d records: too few or too many for this test", left)
	}
	got, _ := counted(t, r.c.DB, "")
	if want, _ := expected(killedRecords, ""); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	t.Logf("killed rollers counted up to %s, %d were left", strings.TrimSpace(said), left)
}

func TestRunEnds(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, options())
	r := roller(t, dir, j)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
}
