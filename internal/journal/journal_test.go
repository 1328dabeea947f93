package journal

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

var testStages = []string{"accept", "route", "forward"}

// testTime is when the records of tests begin. It is not now: nothing may depend on the clock.
var testTime = time.Date(2026, 3, 14, 15, 9, 26, 535898000, time.UTC)

func testClock() time.Time { return testTime }

// record makes record i: all fields set, all records different.
func record(i int) *Record {
	return &Record{
		Kind:          KindRequest,
		Time:          testTime.Add(time.Duration(i) * time.Millisecond),
		CorrelationID: correlation(i),
		TraceID:       fmt.Sprintf("%032x", i+1),
		Listener:      "public",
		Service:       fmt.Sprintf("service-%d", i%5),
		Route:         "GET /things/{id}",
		Method:        "GET",
		Client:        netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}),
		Principal:     fmt.Sprintf("00000000-0000-4000-8000-%012x", i%40),
		Reason:        "ok",
		Status:        200 + i%4,
		BytesIn:       int64(i),
		BytesOut:      int64(i) * 3,
		Duration:      time.Duration(i) * time.Microsecond,
		Stages:        []uint32{uint32(i), 2, 300},
		Tags:          []string{"tag"},
	}
}

func correlation(i int) string { return fmt.Sprintf("3f2b8c1e-9d4a-4c7b-8e21-%012x", i) }

// options are those of a small journal: segments of 64 KiB, 1 MiB in all.
func options() Options {
	return Options{Zone: "shop.example", Stages: testStages, Size: 1 << 20, Retain: math.MaxInt64, Clock: testClock}
}

func open(t testing.TB, dir string, o Options) *Journal {
	t.Helper()
	if o.disk == nil {
		o.disk = quick{folder(dir)}
	}
	j, err := Open(dir, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func closeJournal(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// write appends the records [from, to).
func write(t testing.TB, j *Journal, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := j.Append(record(i)); err != nil {
			t.Fatalf("Append of record %d: %v", i, err)
		}
	}
}

// filled makes a closed journal of n records, about 90 in a segment. All
// segments but the last are sealed.
func filled(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	o := options()
	o.SegmentSize = 16 << 10
	j := open(t, dir, o)
	for i := range n {
		write(t, j, i, i+1)
		j.rotateIfDue(false) // at once: the same segments every time
	}
	waitSealed(t, j)
	closeJournal(t, j)
	return dir
}

// waitSealed seals what is closed in the test's own goroutine, where no pause slows it down.
func waitSealed(t testing.TB, j *Journal) {
	t.Helper()
	for j.shelf.waits() {
		j.sealOldest(context.Background())
		runtime.Gosched() // the journal's own goroutine may be at the last one
	}
}

func (s *shelf) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.books, func(b book) bool { return !b.Sealed && !b.damaged })
}

// entries reads a whole journal.
func entries(t testing.TB, dir string) []*Entry {
	t.Helper()
	c := NewReader(dir).Cursor(0)
	defer func() { _ = c.Close() }()
	return drain(t, c)
}

func drain(t testing.TB, c *Cursor) (list []*Entry) {
	t.Helper()
	var b Buffer
	var v View
	var names Names
	for {
		err := c.Next(&b, math.MaxUint64)
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatalf("Next at %d: %v", c.Position(), err)
		}
		for i := range b.Len() {
			if err := v.Parse(b.At(i)); err != nil {
				t.Fatalf("Parse: %v", err)
			}
			e, err := b.Entry(i, &v, &names)
			if err != nil {
				t.Fatalf("Entry: %v", err)
			}
			list = append(list, e)
		}
	}
}

// verify checks a journal and wants it whole.
func verify(t testing.TB, dir string, anchors ...Head) *Report {
	t.Helper()
	r, err := Verify(t.Context(), dir, anchors...)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	for _, f := range r.Findings {
		t.Errorf("Verify of a whole journal finds: %s", f)
	}
	return r
}

// findings checks a journal and wants it damaged.
func findings(t testing.TB, dir string, anchors ...Head) []Finding {
	t.Helper()
	r, err := Verify(t.Context(), dir, anchors...)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return r.Findings
}

// copyDir copies a folder, to be spoilt.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func segments(t testing.TB, dir string) []Info {
	t.Helper()
	list, err := Segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func readFile(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}
