package store

import (
	"context"
	"sync"
)

// Subscribe has fn called with every revocation from now on: in the order of
// the numbers, once each. Those that this process commits are told after the
// commit and before the transaction returns; where a Follower runs, those of
// other processes too, as soon as it hears of them. A revocation of KindAll says
// that some cannot be told: whatever is remembered must be forgotten.
//
// fn must be quick and must not start a write transaction: the next revocation
// waits for it. The returned function ends the subscription; a call under way
// may still finish.
func (db *DB) Subscribe(fn func(Revocation)) (unsubscribe func()) { return db.feed.subscribe(fn) }

// feed tells subscribers of committed revocations.
type feed struct {
	order     sync.Mutex       // held from before a commit with revocations until they are told
	followed  bool             // guarded by order: a Follower tells those of other processes
	told      history          // guarded by order; while followed
	committed func(last int64) // guarded by order; may be nil

	mu   sync.Mutex // guards subs; never held while a subscriber runs
	subs []*subscriber
}

type subscriber struct{ fn func(Revocation) }

// publish commits and then tells. The order is taken before the commit, while
// the transaction still holds the head of the revocations: nobody can have a
// higher number yet, so nobody can overtake. Those of other processes that this
// one has not heard of yet are told first: all of them are committed by then.
func (f *feed) publish(ctx context.Context, tx *Tx, commit func() error) error {
	if len(tx.revoked) == 0 {
		return commit()
	}
	f.order.Lock()
	defer f.order.Unlock()
	news, next := tx.revoked, f.told
	if f.followed {
		earlier, err := f.missed(ctx, tx)
		if err != nil {
			return err
		}
		news = append(earlier, tx.revoked...)
		next = history{tx.revoked[len(tx.revoked)-1]}
	}
	if err := commit(); err != nil {
		return err
	}
	f.told = next // before telling: a panic must not have it told again
	if f.committed != nil {
		defer f.committed(news[len(news)-1].Number)
	}
	f.tell(news)
	return nil
}

// missed returns what is to be told before the revocations of tx.
func (f *feed) missed(ctx context.Context, tx *Tx) ([]Revocation, error) {
	first := tx.revoked[0]
	rows, err := tx.revocations(ctx, f.told.last.Number-1, maxBehind+len(tx.revoked)+1)
	if err != nil {
		return nil, err
	}
	n := 0
	for n < len(rows) && rows[n].Number < first.Number { // the rest are our own
		n++
	}
	return f.told.news(first.Number-1, rows[:n], first.At), nil
}

// tell hands revocations to all who subscribe now.
func (f *feed) tell(list []Revocation) {
	f.mu.Lock()
	subs := f.subs // subscribe and unsubscribe replace the slice
	f.mu.Unlock()
	tell(subs, list, 0)
}

// tell calls every subscriber with every revocation, from call number next on.
// A panic does not keep the news from the others: a cache that was not told
// would go on believing.
func tell(subs []*subscriber, list []Revocation, next int) {
	calls := len(subs) * len(list)
	defer func() {
		if next < calls {
			tell(subs, list, next)
		}
	}()
	for next < calls {
		s, r := subs[next%len(subs)], list[next/len(subs)]
		next++
		s.fn(r)
	}
}

func (f *feed) subscribe(fn func(Revocation)) func() {
	s := &subscriber{fn}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs = append(f.subs[:len(f.subs):len(f.subs)], s)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		var rest []*subscriber
		for _, other := range f.subs {
			if other != s {
				rest = append(rest, other)
			}
		}
		f.subs = rest
	}
}
