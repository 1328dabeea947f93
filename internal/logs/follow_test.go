package logs

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/journal"
)

// A follower gets the last matching records and then each one that is written,
// none twice and none left out, woken by the writer or looking by itself.
func TestFollow(t *testing.T) {
	const before, after = 1000, 3000
	for _, woken := range []bool{true, false} {
		dir := t.TempDir()
		j := open(t, dir, options())
		write(t, j, 0, before)
		var wrote <-chan struct{}
		if woken {
			c, stop := j.Watch()
			defer stop()
			wrote = c
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		began := make(chan struct{})
		go func() {
			<-began
			for i := before; i < after; i++ {
				if err := j.Append(record(i)); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		next := before - 10
		err := New(dir).Follow(ctx, Query{Limit: 10, Status: Status{100, 999}}, wrote, func(e *journal.Entry) bool {
			if int(e.Sequence) != next {
				t.Fatalf("woken %v: record %d, want %d", woken, e.Sequence, next)
			}
			if next == before-10 {
				close(began)
			}
			next++
			return next < after
		})
		if err != nil || next != after {
			t.Errorf("woken %v: Follow ended at %d with %v, want %d", woken, next, err, after)
		}
	}
}

// A follower gives what matches only, wherever the past ends and the present begins.
func TestFollowFilters(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, options())
	wrote, stop := j.Watch()
	defer stop()
	q := Query{Service: "rare", Status: Status{500, 599}, Limit: 1000}
	want := naive(Query{Service: q.Service, Status: q.Status, Order: OldestFirst}, world(2000))
	var writer sync.WaitGroup
	defer writer.Wait()
	writer.Go(func() {
		for i := range 2000 {
			if err := j.Append(record(i)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var got []int
	err := New(dir).Follow(t.Context(), q, wrote, func(e *journal.Entry) bool {
		got = append(got, int(e.Sequence))
		return len(got) < len(want)
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Follow gave %v, %v; want %v", got, err, want)
	}
}

// The end of the context is the ordinary end of a follower.
func TestFollowEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, options())
	write(t, j, 0, 10)
	ctx, cancel := context.WithCancel(t.Context())
	if err := New(dir).Follow(ctx, Query{Limit: 1}, nil, func(*journal.Entry) bool { cancel(); return true }); err != nil {
		t.Errorf("Follow = %v, want no error", err)
	}
	if err := New(dir).Follow(t.Context(), Query{Limit: 1}, nil, func(*journal.Entry) bool { return false }); err != nil {
		t.Errorf("Follow whose yield says no = %v", err)
	}
	if err := ended(t.Context(), errors.New("x")); err == nil {
		t.Error("an error of reading is swallowed")
	}
}
