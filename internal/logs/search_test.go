package logs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
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
