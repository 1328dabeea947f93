package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/store"
)

// at is a time as the store keeps it: whole microseconds, UTC.
var at = time.Date(2026, 2, 3, 4, 5, 6, 789_000, time.UTC)

func subject(name string) store.Revocation {
	return store.Revocation{Kind: store.KindSubject, Subject: name, At: at}
}

func revoke(ctx context.Context, db *store.DB, list ...store.Revocation) error {
	return db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, r := range list {
			if err := tx.Revoke(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

func last(t *testing.T, db *store.DB) int64 {
	t.Helper()
	n, err := db.LastRevocation(t.Context())
	must(t, err)
	return n
}

func revokes(t *testing.T, db *store.DB) {
	if n := last(t, db); n != 0 {
		t.Errorf("last of none = %d, want 0", n)
	}
	var told []store.Revocation
	defer db.Subscribe(func(r store.Revocation) { told = append(told, r) })()

	credential := store.Revocation{Kind: store.KindCredential, Credential: [32]byte{1, 2, 3}, At: at}
	must(t, revoke(t.Context(), db, credential, subject("u1")))
	must(t, revoke(t.Context(), db, subject("u2")))

	want := []store.Revocation{credential, subject("u1"), subject("u2")}
	for i := range want {
		want[i].Number = int64(i) + 1
	}
	got, err := db.RevocationsAfter(t.Context(), 0, 100)
	must(t, err)
	if !slices.Equal(got, want) {
		t.Errorf("stored %v, want %v", got, want)
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	if got, err := db.RevocationsAfter(t.Context(), 1, 1); err != nil || !slices.Equal(got, want[1:2]) {
		t.Errorf("one after 1 = %v, %v, want %v", got, err, want[1:2])
	}
	if got, err := db.RevocationsAfter(t.Context(), 3, 100); err != nil || len(got) != 0 {
		t.Errorf("after the last = %v, %v, want none", got, err)
	}
	if n := last(t, db); n != 3 {
		t.Errorf("last = %d, want 3", n)
	}
}

func rollsRevocationsBack(t *testing.T, db *store.DB) {
	told := 0
	defer db.Subscribe(func(store.Revocation) { told++ })()
	err := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		must(t, tx.Revoke(ctx, subject("u1")))
		return errMine
	})
	if err != errMine || told != 0 || last(t, db) != 0 { //nolint:errorlint // it comes back as it is
		t.Errorf("rolled back: error %v, told %d, last %d, want none", err, told, last(t, db))
	}
	must(t, revoke(t.Context(), db, subject("u1")))
	if told != 1 || last(t, db) != 1 { // the number was not lost
		t.Errorf("committed: told %d, last %d, want 1, 1", told, last(t, db))
	}
}

func refusesHalfRevocations(t *testing.T, db *store.DB) {
	hash := [32]byte{1}
	for _, c := range []struct {
		name string
		r    store.Revocation
	}{
		{"zero", store.Revocation{}},
		{"no kind", store.Revocation{Subject: "u", At: at}},
		{"no time", store.Revocation{Kind: store.KindSubject, Subject: "u"}},
		{"number", store.Revocation{Number: 9, Kind: store.KindSubject, Subject: "u", At: at}},
		{"subject without", store.Revocation{Kind: store.KindSubject, At: at}},
		{"subject with both", store.Revocation{Kind: store.KindSubject, Subject: "u", Credential: hash, At: at}},
		{"credential without", store.Revocation{Kind: store.KindCredential, At: at}},
		{"credential with both", store.Revocation{Kind: store.KindCredential, Subject: "u", Credential: hash, At: at}},
	} {
		if err := revoke(t.Context(), db, c.r); err == nil {
			t.Errorf("%s: revocation %+v was taken", c.name, c.r)
		}
	}
	if n := last(t, db); n != 0 {
		t.Errorf("last = %d, want 0", n)
	}
}

// numbersInOrder: under concurrency every number is given once, none is
// missing, subscribers hear them in order, and before the transaction returns.
func numbersInOrder(t *testing.T, db *store.DB) {
	const writers, each = 8, 6
	var mu sync.Mutex
	var told []int64
	known := map[string]bool{}
	defer db.Subscribe(func(r store.Revocation) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, r.Number)
		known[r.Subject] = true
	})()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				a, b := fmt.Sprint(w, "-", i, "a"), fmt.Sprint(w, "-", i, "b")
				if err := revoke(t.Context(), db, subject(a), subject(b)); err != nil {
					t.Error(err)
				}
				mu.Lock()
				if !known[a] || !known[b] {
					t.Errorf("the transaction of %s and %s returned before subscribers knew", a, b)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	const total = writers * each * 2
	if len(told) != total {
		t.Errorf("told %d times, want %d", len(told), total)
	}
	got, err := db.RevocationsAfter(t.Context(), 0, total+1)
	must(t, err)
	if len(got) != total {
		t.Errorf("stored %d, want %d", len(got), total)
	}
	for i := range min(len(told), len(got)) {
		if want := int64(i) + 1; told[i] != want || got[i].Number != want {
			t.Fatalf("place %d: told %d, stored %d, want %d", i, told[i], got[i].Number, want)
		}
	}
}

// nobodyOvertakes: while one revocation is told, slowly, another is made.
func nobodyOvertakes(t *testing.T, db *store.DB) {
	second := make(chan error, 1)
	overtaken := make(chan struct{})
	db.Subscribe(func(r store.Revocation) {
		if r.Number != 1 {
			return
		}
		go func() { second <- revoke(context.WithoutCancel(t.Context()), db, subject("u2")) }()
		for range 3000 { // time enough to overtake; a subscriber may read
			n, err := db.LastRevocation(t.Context())
			if err != nil {
				t.Error(err)
			}
			if n > 1 {
				t.Error("the second was committed before the first was told")
				<-overtaken
				return
			}
		}
	})
	var told []int64
	var mu sync.Mutex
	db.Subscribe(func(r store.Revocation) {
		mu.Lock()
		defer mu.Unlock()
		if told = append(told, r.Number); r.Number == 2 {
			close(overtaken)
		}
	})
	must(t, revoke(t.Context(), db, subject("u1")))
	must(t, <-second)
	if !slices.Equal(told, []int64{1, 2}) {
		t.Errorf("told %v, want 1 before 2", told)
	}
}

func subscribers(t *testing.T, db *store.DB) {
	var first, second int
	db.Subscribe(func(store.Revocation) { first++ })
	unsubscribe := db.Subscribe(func(store.Revocation) { second++ })
	must(t, revoke(t.Context(), db, subject("u")))
	if first != 1 || second != 1 {
		t.Errorf("told %d and %d times, want 1 and 1", first, second)
	}
	unsubscribe()
	unsubscribe()
	must(t, revoke(t.Context(), db, subject("u")))
	if first != 2 || second != 1 {
		t.Errorf("after unsubscribing: told %d and %d times, want 2 and 1", first, second)
	}

	// One that panics does not keep the news from the others.
	stop := db.Subscribe(func(store.Revocation) { panic("subscriber") })
	third := 0
	db.Subscribe(func(store.Revocation) { third++ })
	func() {
		defer func() {
			if v := recover(); v != "subscriber" {
				t.Errorf("recovered %v, want the subscriber's panic", v)
			}
		}()
		_ = revoke(t.Context(), db, subject("u"), subject("v"))
	}()
	if first != 4 || third != 2 || last(t, db) != 4 {
		t.Errorf("beside a panic: told %d and %d, last %d, want 4, 2, 4", first, third, last(t, db))
	}
	stop()
	must(t, revoke(t.Context(), db, subject("u"))) // and the feed still works
	if first != 5 || third != 3 {
		t.Errorf("after the panic: told %d and %d, want 5, 3", first, third)
	}
}

func prunes(t *testing.T, db *store.DB) {
	for i := range 4 {
		r := subject("u")
		r.At = at.Add(time.Duration(i) * time.Hour)
		must(t, revoke(t.Context(), db, r))
	}
	for _, c := range []struct {
		limit         int
		removed, from int64
	}{{1, 1, 2}, {10, 1, 3}, {10, 0, 3}} {
		n, err := db.PruneRevocations(t.Context(), at.Add(2*time.Hour), c.limit)
		if err != nil || n != c.removed {
			t.Errorf("pruned %d, %v, want %d", n, err, c.removed)
		}
		rest, err := db.RevocationsAfter(t.Context(), 0, 10)
		if err != nil || len(rest) == 0 || rest[0].Number != c.from {
			t.Errorf("rest %v, %v, want from %d", rest, err, c.from)
		}
	}
	if _, err := db.PruneRevocations(t.Context(), at.Add(24*time.Hour), 10); err != nil {
		t.Error(err)
	}
	if n := last(t, db); n != 4 {
		t.Errorf("last after pruning all = %d, want 4", n)
	}
	must(t, revoke(t.Context(), db, subject("u")))
	if n := last(t, db); n != 5 {
		t.Errorf("next = %d, want 5: numbers are never given again", n)
	}
}
