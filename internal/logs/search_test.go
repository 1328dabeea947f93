package logs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/journal"
)

// find returns the sequence numbers that a search gives.
func find(t testing.TB, l *Log, q Query) (list []int) {
	t.Helper()
	err := l.Search(t.Context(), q, func(e *journal.Entry) bool {
		if e.BytesIn != int64(e.Sequence) {
			t.Fatalf("record %d at %d", e.BytesIn, e.Sequence)
		}
		list = append(list, int(e.Sequence))
		return true
	})
	if err != nil {
		t.Fatalf("Search(%+v): %v", q, err)
	}
	return list
}

// world is what filled writes.
func world(n int) (list []*journal.Record) {
	for i := range n {
		list = append(list, record(i))
	}
	return list
}

// naive is what a query means, said in the plainest way.
func naive(q Query, world []*journal.Record) (list []int) {
	for i, r := range world {
		if (q.Correlation == "" || r.CorrelationID == q.Correlation) &&
			(q.Service == "" || r.Service == q.Service) &&
			(q.User == "" || r.Principal == q.User) &&
			(q.Reason == "" || r.Reason == q.Reason) &&
			(q.Status == Status{} || r.Status >= q.Status.Min && r.Status <= q.Status.Max) &&
			(q.Since.IsZero() || !r.Time.Before(q.Since)) &&
			(q.Until.IsZero() || r.Time.Before(q.Until)) {
			list = append(list, i)
		}
	}
	if q.Order == NewestFirst {
		slices.Reverse(list)
	}
	if q.Limit > 0 && len(list) > q.Limit {
		list = list[:q.Limit]
	}
	return list
}

// Searches give what the plain meaning of the query gives, whatever index they
// use on the way.
func TestSearchFindsWhatMatches(t *testing.T) {
	const n = 5000
	dir := filled(t, n)
	all := world(n)
	kept := New(dir)
	random := rand.New(rand.NewPCG(4, 4))
	some, none := 0, 0
	for range 300 {
		var q Query
		r := all[random.IntN(n)]
		set := random.IntN(1 << 7)
		if set&1 != 0 && random.IntN(2) == 0 {
			q.Correlation = r.CorrelationID
		}
		if set&2 != 0 {
			q.Service = r.Service
		}
		if set&4 != 0 {
			q.User = r.Principal
		}
		if set&8 != 0 {
			q.Reason = r.Reason
		}
		if set&16 != 0 {
			q.Status = []Status{{500, 599}, {200, 200}, {400, 499}, {100, 999}, {503, 503}}[random.IntN(5)]
		}
		if set&32 != 0 {
			q.Since = r.Time
		}
		if set&64 != 0 {
			q.Until = r.Time.Add(time.Duration(random.IntN(100)) * time.Second)
		}
		q.Limit = []int{0, 1, 10, 1000}[random.IntN(4)]
		q.Order = Order(random.IntN(2))
		want := naive(q, all)
		if len(want) == 0 {
			none++
		} else {
			some++
		}
		for _, l := range []*Log{kept, New(dir)} {
			if got := find(t, l, q); !slices.Equal(got, want) {
				t.Fatalf("Search(%+v):\ngot  %v\nwant %v", q, got, want)
			}
		}
	}
	if some < 100 || none < 20 {
		t.Errorf("%d queries found something and %d nothing: the test asks too narrowly", some, none)
	}
}

func TestSearchEnds(t *testing.T) {
	dir := filled(t, 2000)
	l := New(dir)
	n := 0
	if err := l.Search(t.Context(), Query{}, func(*journal.Entry) bool { n++; return n < 5 }); err != nil || n != 5 {
		t.Errorf("yield said no at 5: %d records, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n = 0
	err := l.Search(ctx, Query{}, func(*journal.Entry) bool { n++; cancel(); return true })
	if !errors.Is(err, context.Canceled) || n == 0 || n == 2000 {
		t.Errorf("cancelled at the first record: %d records, %v", n, err)
	}
	if got := find(t, New(filepath.Join(dir, "none")), Query{}); got != nil {
		t.Errorf("a log that is not there: %v", got)
	}
}

// A search gives everything that is whole, and tells of the rest.
func TestSearchPassesOverDamage(t *testing.T) {
	const n = 3000
	dir := filled(t, n)
	list, err := journal.Segments(dir)
	if err != nil || len(list) < 5 {
		t.Fatal(list, err)
	}
	spoil := func(i int, change func([]byte) []byte) {
		name := filepath.Join(dir, fmt.Sprintf("%08d.seg", list[i].Number))
		b, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(name, change(b), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	spoil(1, func(b []byte) []byte { b[len(b)/3] ^= 1; return b })
	spoil(3, func(b []byte) []byte { return b[:50] })
	found := 0
	err = New(dir).Search(t.Context(), Query{}, func(*journal.Entry) bool { found++; return true })
	if !errors.Is(err, journal.ErrDamaged) {
		t.Errorf("Search = %v, want ErrDamaged", err)
	}
	if found < n/2 || found >= n {
		t.Errorf("%d of %d records found, want all but those of two segments", found, n)
	}
}

func TestParseStatus(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Status
	}{
		{"404", Status{404, 404}}, {"5xx", Status{500, 599}}, {"1xx", Status{100, 199}},
		{"400-499", Status{400, 499}}, {">=500", Status{500, 999}}, {"<400", Status{100, 399}},
	} {
		if got, err := ParseStatus(c.in); got != c.want || err != nil {
			t.Errorf("ParseStatus(%q) = %v, %v; want %v", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{"", "x", "0xx", "6xx", "xxx", "40", "4040", "-400", "499-400", "400-", ">=", ">= 500", ">500", "<", "<100", "+40", "400-499-500", "５００"} {
		if got, err := ParseStatus(in); err == nil {
			t.Errorf("ParseStatus(%q) = %v, want an error", in, got)
		}
	}
}

// A closed segment that is not sealed yet has no torn end: a search gives what
// can be read of it and tells of the rest. The live one may end in what is being written.
func TestSearchTellsOfDamagedLogs(t *testing.T) {
	for _, c := range []struct {
		name string
		last bool
		told bool
	}{{"closed", false, true}, {"live", true, false}} {
		from := t.TempDir()
		o := options()
		o.SegmentSize = 4 << 20
		j := open(t, from, o)
		write(t, j, 0, 100)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		log, err := os.ReadFile(filepath.Join(from, "00000001.log"))
		if err != nil {
			t.Fatal(err)
		}
		if !c.last {
			o.Zone = "other.example" // begins a segment
			j = open(t, from, o)
			write(t, j, 100, 101)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
		dir := t.TempDir()
		log[len(log)*2/3] ^= 1
		err = errors.Join(os.CopyFS(dir, os.DirFS(from)), os.RemoveAll(filepath.Join(dir, "00000001.seg")), // or it was sealed already
			os.WriteFile(filepath.Join(dir, "00000001.log"), log, 0o600))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		err = New(dir).Search(t.Context(), Query{}, func(*journal.Entry) bool { found++; return true })
		if told := errors.Is(err, journal.ErrDamaged); told != c.told || !told && err != nil {
			t.Errorf("%s: Search = %v, want ErrDamaged: %v", c.name, err, c.told)
		}
		if found < 50 || found > 100 {
			t.Errorf("%s: %d of 100 records found, want about two thirds", c.name, found)
		}
	}
}

// A filter that lost a bit must not hide a record: it is not asked.
func TestSearchDoesNotTrustDamagedFilters(t *testing.T) {
	const n = 3000
	dir := filled(t, n)
	list, err := journal.Segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list[:len(list)-1] {
		name := filepath.Join(dir, fmt.Sprintf("%08d.seg", i.Number))
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		trailer := b[len(b)-24:]
		index := int(binary.LittleEndian.Uint64(trailer))
		for k := index - 500; k < index; k++ { // of the segment's filter
			b[k] &= 0xf0
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := New(dir)
	for i := 0; i < n; i += 7 {
		found := 0
		if err := l.Search(t.Context(), Query{Correlation: correlation(i / 2)}, func(*journal.Entry) bool { found++; return true }); err != nil {
			t.Fatal(err)
		}
		if found != 2 {
			t.Fatalf("record %d: %d records of its correlation id, want 2", i, found)
		}
	}
}

// Beside a writer whose segments are closed and sealed all the time, a search
// finds what was acknowledged before it began.
func TestSearchBesideTheWriter(t *testing.T) {
	const n = 4000
	dir := t.TempDir()
	o := options()
	o.SegmentSize = 8 << 10
	j := open(t, dir, o)
	var written atomic.Int64
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range n {
			if err := j.Append(record(i)); err != nil {
				t.Error(err)
				break
			}
			written.Store(int64(i + 1))
		}
		written.Store(n)
	})
	l := New(dir)
	for last := 0; last < n && !t.Failed(); {
		if last = int(written.Load()); last == 0 {
			continue
		}
		for _, back := range []int{1, 60, 300, 1000} {
			i := max(last-back, 0)
			found := 0
			err := l.Search(t.Context(), Query{Correlation: correlation(i / 2)}, func(*journal.Entry) bool { found++; return true })
			if least := 1 + i%2; err != nil || found < least || found > 2 {
				t.Errorf("record %d of %d: %d found, %v; want %d or 2", i, last, found, err, least)
			}
		}
	}
	writer.Wait()
}
