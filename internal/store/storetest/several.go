package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/store"
)

// pair is a database that two processes have opened.
type pair struct {
	place string
	a, b  *store.DB
}

// several runs what holds when several processes have one database open.
func several(t *testing.T, e Engine) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Engine, pair)
	}{
		{"writers of two", writersOfTwo},
		{"numbers of two", numbersOfTwo},
		{"hears", hears},
		{"own after others", ownAfterOthers},
		{"hears of pruned", hearsOfPruned},
		{"hears of another past", hearsOfAnotherPast},
		{"hears of too many", hearsOfTooMany},
		{"survives a subscriber", survivesASubscriber},
		{"follows once", followsOnce},
	} {
		t.Run(c.name, func(t *testing.T) {
			place := e.New(t)
			c.test(t, e, pair{place, open(t, e, place), open(t, e, place)})
		})
	}
}

// writersOfTwo: no write is lost, whichever process made it.
func writersOfTwo(t *testing.T, _ Engine, p pair) {
	const each = 25
	must(t, p.a.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error { return put(ctx, tx, "sum", 0) }))
	var wg sync.WaitGroup
	for _, db := range []*store.DB{p.a, p.b, p.a, p.b} {
		wg.Go(func() {
			for range each {
				if err := db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
					n, err := get(ctx, tx, "sum")
					if err != nil {
						return err
					}
					_, err = tx.Exec(ctx, "UPDATE contract_things SET number = ? WHERE name = 'sum'", n+1)
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(t, p.b.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		n, err := get(ctx, tx, "sum")
		if n != 4*each {
			t.Errorf("sum = %d, want %d", n, 4*each)
		}
		return err
	}))
}

// ear is a subscriber that remembers.
type ear struct {
	mu    sync.Mutex
	heard []store.Revocation
	news  chan struct{} // has room for one: something was heard
}

func listen(db *store.DB) *ear {
	e := &ear{news: make(chan struct{}, 1)}
	db.Subscribe(func(r store.Revocation) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.heard = append(e.heard, r)
		select {
		case e.news <- struct{}{}:
		default:
		}
	})
	return e
}

func (e *ear) all() []store.Revocation {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.heard)
}

// numbers are what was heard: negative for KindAll.
func (e *ear) numbers() (list []int64) {
	for _, r := range e.all() {
		if r.Kind == store.KindAll {
			r.Number = -r.Number
		}
		list = append(list, r.Number)
	}
	return list
}

// until waits until enough was heard, or too long.
func (e *ear) until(t *testing.T, n int) {
	t.Helper()
	late := time.After(2 * time.Minute)
	for len(e.all()) < n {
		select {
		case <-e.news:
		case <-late:
			t.Fatalf("heard %v after a long wait, want %d revocations", e.numbers(), n)
		}
	}
}

// follow starts a follower that looks when it is nudged, and else never.
func follow(t *testing.T, db *store.DB, c store.FollowConfig) *store.Follower {
	t.Helper()
	if c.Every == 0 {
		c.Every = time.Hour
	}
	c.Look = time.Minute // nobody nudges again after a look that was given up
	f, err := db.Follow(t.Context(), c)
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-done })
	return f
}

// numbersOfTwo: two processes revoke at once; both hear everything, once, in order.
func numbersOfTwo(t *testing.T, _ Engine, p pair) {
	const each = 30
	ears := []*ear{listen(p.a), listen(p.b)}
	dbs := []*store.DB{p.a, p.b}
	for _, db := range dbs {
		follow(t, db, store.FollowConfig{Every: time.Millisecond})
	}
	var wg sync.WaitGroup
	for i, db := range []*store.DB{p.a, p.b, p.a, p.b} {
		wg.Go(func() {
			for n := range each {
				name := fmt.Sprint(i, "-", n)
				if err := revoke(t.Context(), db, subject(name)); err != nil {
					t.Error(err)
				}
				if mine := ears[i%2].all(); !slices.ContainsFunc(mine, func(r store.Revocation) bool { return r.Subject == name }) {
					t.Errorf("the transaction of %s returned before its process knew", name)
				}
			}
		})
	}
	wg.Wait()
	for i, e := range ears {
		e.until(t, 4*each)
		for at, n := range e.numbers() {
			if n != int64(at)+1 {
				t.Fatalf("process %d heard %v, want 1 to %d", i, e.numbers(), 4*each)
			}
		}
	}
}

// hears: one hears what the other revokes, soon by itself, at once when nudged,
// and knows when it last did.
func hears(t *testing.T, _ Engine, p pair) {
	var mu sync.Mutex
	now := at
	asked := make(chan struct{}, 100)
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	looks := func() time.Time { // the follower asks for the time when it looks
		asked <- struct{}{}
		return clock()
	}
	pass := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	must(t, revoke(t.Context(), p.b, subject("before"))) // what nobody can remember yet is not told
	told := listen(p.a)
	f := follow(t, p.a, store.FollowConfig{Clock: looks})
	<-asked // when it began
	<-asked // and when it looked first
	if !f.Fresh(clock(), 0) || !f.Heard().Equal(at) {
		t.Errorf("heard %v at the start, want now", f.Heard())
	}
	hash := store.Revocation{Kind: store.KindCredential, Credential: [32]byte{1, 2}, At: at}
	must(t, revoke(t.Context(), p.b, subject("u"), hash))
	f.Nudge()
	<-asked
	told.until(t, 2)
	want := []store.Revocation{subject("u"), hash}
	want[0].Number, want[1].Number = 2, 3
	if got := told.all(); !slices.Equal(got, want) {
		t.Errorf("heard %v, want %v", got, want)
	}
	pass(time.Minute)
	if f.Fresh(clock(), 5*time.Second) {
		t.Error("fresh after a minute without news")
	}
	for range 2 { // no news is news: the second look begins when the first has ended
		f.Nudge()
		<-asked
	}
	if !f.Fresh(clock(), 5*time.Second) || !f.Heard().Equal(clock()) {
		t.Errorf("heard %v after looking, want %v", f.Heard(), clock())
	}
	if got := told.numbers(); !slices.Equal(got, []int64{2, 3}) {
		t.Errorf("heard %v in the end, want 2, 3", got)
	}
}

// ownAfterOthers: who revokes is first told what others did before, in the same
// moment, and never twice.
func ownAfterOthers(t *testing.T, _ Engine, p pair) {
	told := listen(p.a)
	var committed []int64
	f := follow(t, p.a, store.FollowConfig{Committed: func(last int64) { committed = append(committed, last) }})
	must(t, revoke(t.Context(), p.b, subject("theirs"), subject("theirs too")))
	must(t, revoke(t.Context(), p.a, subject("mine")))
	if got := told.numbers(); !slices.Equal(got, []int64{1, 2, 3}) {
		t.Errorf("heard %v when the transaction returned, want 1, 2, 3", got)
	}
	must(t, revoke(t.Context(), p.a, subject("mine again")))
	must(t, revoke(t.Context(), p.b, subject("last")))
	f.Nudge()
	told.until(t, 5)
	if got := told.numbers(); !slices.Equal(got, []int64{1, 2, 3, 4, 5}) {
		t.Errorf("heard %v, want 1 to 5", got)
	}
	if !slices.Equal(committed, []int64{3, 4}) {
		t.Errorf("own commits told as %v, want 3, 4", committed)
	}
	// What is rolled back is not told, and does not hide what is there.
	must(t, revoke(t.Context(), p.b, subject("six")))
	_ = p.a.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		must(t, tx.Revoke(ctx, subject("not")))
		return errMine
	})
	must(t, revoke(t.Context(), p.a, subject("seven")))
	if got := told.numbers(); !slices.Equal(got, []int64{1, 2, 3, 4, 5, 6, 7}) {
		t.Errorf("heard %v, want 1 to 7", got)
	}
}

// hearsOfPruned: what was pruned before it was heard is told as "all".
func hearsOfPruned(t *testing.T, _ Engine, p pair) {
	told := listen(p.a)
	var looks atomic.Int64
	f := follow(t, p.a, store.FollowConfig{Clock: func() time.Time { return at.Add(time.Duration(looks.Add(1))) }})
	for f.Heard().Before(at.Add(2)) { // until its first look is over, which sees nothing of what comes
		time.Sleep(time.Millisecond)
	}
	prune := func() {
		_, err := p.b.PruneRevocations(t.Context(), at.Add(time.Hour), 100)
		must(t, err)
	}
	must(t, revoke(t.Context(), p.b, subject("u")))
	prune()
	f.Nudge()
	told.until(t, 1)
	must(t, revoke(t.Context(), p.b, subject("v"))) // control: from here on it goes on
	f.Nudge()
	told.until(t, 2)
	prune() // what was told may go
	must(t, revoke(t.Context(), p.a, subject("w")))
	must(t, revoke(t.Context(), p.b, subject("x")))
	prune() // and what was not
	must(t, revoke(t.Context(), p.a, subject("y")))
	if got, want := told.numbers(), []int64{-1, 2, 3, -4, 5}; !slices.Equal(got, want) {
		t.Errorf("heard %v, want %v (negative: all)", got, want)
	}
}

// hearsOfAnotherPast: an older copy in the database's place is noticed, also
// when its numbers have caught up.
func hearsOfAnotherPast(t *testing.T, _ Engine, p pair) {
	told := listen(p.a)
	f := follow(t, p.a, store.FollowConfig{})
	rewrite := func(list ...string) {
		must(t, p.b.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			for _, statement := range list {
				if _, err := tx.Exec(ctx, statement); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	must(t, revoke(t.Context(), p.b, subject("one"), subject("two")))
	f.Nudge()
	told.until(t, 2)
	f.Nudge() // so that it knows the last row, however it came by it
	rewrite("DELETE FROM revocations WHERE number = 2", "UPDATE revocation_head SET number = 1")
	f.Nudge()
	told.until(t, 3)
	must(t, revoke(t.Context(), p.a, subject("another two")))
	rewrite("UPDATE revocations SET subject = 'a third two' WHERE number = 2") // as a standby that took over would have it
	f.Nudge()
	told.until(t, 5)
	rewrite("UPDATE revocations SET subject = 'a fourth two' WHERE number = 2")
	must(t, revoke(t.Context(), p.a, subject("three")))
	if got, want := told.numbers(), []int64{1, 2, -1, 2, -2, -2, 3}; !slices.Equal(got, want) {
		t.Errorf("heard %v, want %v (negative: all)", got, want)
	}
}

// hearsOfTooMany: who fell far behind forgets everything instead.
func hearsOfTooMany(t *testing.T, _ Engine, p pair) {
	told := listen(p.a)
	f := follow(t, p.a, store.FollowConfig{})
	many := make([]store.Revocation, 0, 1001)
	for i := range 1001 {
		many = append(many, subject(fmt.Sprint("u", i)))
	}
	must(t, revoke(t.Context(), p.b, many[:1000]...))
	f.Nudge()
	told.until(t, 1000)
	must(t, revoke(t.Context(), p.b, many...))
	f.Nudge()
	told.until(t, 1001)
	if got := told.numbers()[1000:]; !slices.Equal(got, []int64{-2001}) {
		t.Errorf("heard %v, want all at 2001", got)
	}
}

func followsOnce(t *testing.T, _ Engine, p pair) {
	follow(t, p.a, store.FollowConfig{})
	if _, err := p.a.Follow(t.Context(), store.FollowConfig{}); err == nil {
		t.Error("a second follower of one database: no error")
	}
	follow(t, p.b, store.FollowConfig{})
}

// alone: a database of one process knows everything at once.
func alone(t *testing.T, db *store.DB) {
	told := listen(db)
	var committed []int64
	f := follow(t, db, store.FollowConfig{
		Clock:     func() time.Time { return at },
		Committed: func(last int64) { committed = append(committed, last) },
	})
	must(t, revoke(t.Context(), db, subject("u")))
	if got := told.numbers(); !slices.Equal(got, []int64{1}) || !slices.Equal(committed, []int64{1}) {
		t.Errorf("heard %v, committed %v, want 1 and 1", got, committed)
	}
	if f.Nudge(); !f.Fresh(at.Add(24*time.Hour), 0) {
		t.Error("not fresh, though nobody else can revoke")
	}
}

// survivesASubscriber: one that panics does not end the following, nor is what
// it was told told again.
func survivesASubscriber(t *testing.T, _ Engine, p pair) {
	p.a.Subscribe(func(r store.Revocation) {
		if r.Number == 1 {
			panic("subscriber")
		}
	})
	told := listen(p.a)
	f := follow(t, p.a, store.FollowConfig{})
	must(t, revoke(t.Context(), p.b, subject("u")))
	f.Nudge()
	told.until(t, 1)
	must(t, revoke(t.Context(), p.b, subject("v")))
	f.Nudge()
	told.until(t, 2)
	if got := told.numbers(); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("heard %v, want 1, 2", got)
	}
}
