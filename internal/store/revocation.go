package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Kind says what a revocation takes away.
type Kind string

// The kinds of revocations.
const (
	KindCredential Kind = "credential" // one credential: a session token or an API key
	KindSubject    Kind = "subject"    // whatever is remembered of a subject: its rights changed
)

// Revocation is the news that something believed before is not to be believed
// any more. Number is given by Tx.Revoke: 1, 2, 3 and so on, in the order of
// the commits, with none missing.
type Revocation struct {
	Number     int64
	Kind       Kind
	Credential [32]byte // SHA-256 of the credential; KindCredential only
	Subject    string   // `sub` of the principal; KindSubject only
	At         time.Time
}

func (r Revocation) validate() error {
	none := r.Credential == [32]byte{}
	switch {
	case r.Number != 0:
		return errors.New("store: a revocation's number is given, not chosen")
	case r.At.IsZero():
		return errors.New("store: a revocation needs its time")
	case r.Kind == KindCredential && !none && r.Subject == "":
		return nil
	case r.Kind == KindSubject && none && r.Subject != "":
		return nil
	}
	return fmt.Errorf("store: a revocation of kind %q needs its credential or its subject, and not the other", r.Kind)
}

// Revoke writes a revocation into the transaction. When the transaction
// returns without an error the revocation is on disk and every subscriber of
// this process has been told.
func (tx *Tx) Revoke(ctx context.Context, r Revocation) error {
	if err := r.validate(); err != nil {
		return tx.fail(err)
	}
	err := tx.QueryRow(ctx, "UPDATE revocation_head SET number = number + 1 WHERE id = 1 RETURNING number").Scan(&r.Number)
	if errors.Is(err, ErrNotFound) { // damage, not an answer to the caller's question
		return tx.fail(fmt.Errorf("store: number a revocation: %w: the head is missing", ErrUnavailable))
	}
	if err != nil {
		return err
	}
	var credential, subject any
	if r.Kind == KindCredential {
		credential = r.Credential[:]
	} else {
		subject = r.Subject
	}
	if _, err := tx.Exec(ctx,
		"INSERT INTO revocations (number, kind, credential, subject, revoked_at) VALUES (?, ?, ?, ?, ?)",
		r.Number, string(r.Kind), credential, subject, Micros(r.At)); err != nil {
		return err
	}
	r.At = FromMicros(Micros(r.At)) // as it will be read
	tx.revoked = append(tx.revoked, r)
	return nil
}

// maxRevocations bounds one answer of RevocationsAfter.
const maxRevocations = 10_000

// RevocationsAfter returns the revocations with a number above n, in order, at
// most limit and never more than 10,000. When the first number is not n+1, or
// there is none though LastRevocation is above n, older ones were pruned: the
// caller must forget all that it remembers.
func (db *DB) RevocationsAfter(ctx context.Context, n int64, limit int) ([]Revocation, error) {
	limit = max(0, min(limit, maxRevocations))
	var list []Revocation
	err := db.View(ctx, func(ctx context.Context, tx *Tx) error {
		rows, err := tx.Query(ctx,
			"SELECT number, kind, credential, COALESCE(subject, ''), revoked_at FROM revocations WHERE number > ? ORDER BY number LIMIT ?", n, limit)
		if err != nil {
			return err
		}
		for rows.Next() {
			var r Revocation
			var kind string
			var credential []byte
			var at int64
			if err := rows.Scan(&r.Number, &kind, &credential, &r.Subject, &at); err != nil {
				return err
			}
			r.Kind, r.At = Kind(kind), FromMicros(at)
			copy(r.Credential[:], credential)
			list = append(list, r)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// LastRevocation returns the number of the newest revocation; 0 when there was
// never one.
func (db *DB) LastRevocation(ctx context.Context) (int64, error) {
	var n int64
	err := db.View(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.QueryRow(ctx, "SELECT number FROM revocation_head WHERE id = 1").Scan(&n)
	})
	return n, err
}

// PruneRevocations removes at most limit revocations made before t, oldest
// first, and returns how many. Numbers are never given again. t must lie
// further back than any cache reaches.
func (db *DB) PruneRevocations(ctx context.Context, t time.Time, limit int) (int64, error) {
	var n int64
	err := db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		var err error
		n, err = tx.Exec(ctx,
			"DELETE FROM revocations WHERE number IN (SELECT number FROM revocations WHERE revoked_at < ? ORDER BY number LIMIT ?)",
			Micros(t), limit)
		return err
	})
	return n, err
}

// Subscribe has fn called with every revocation that this process commits from
// now on: in the order of the numbers, once each, after the commit and before
// the transaction returns. fn must be quick and must not start a write
// transaction: the next revocation waits for it. The returned function ends
// the subscription; a call under way may still finish.
func (db *DB) Subscribe(fn func(Revocation)) (unsubscribe func()) { return db.feed.subscribe(fn) }

// feed tells subscribers of committed revocations.
type feed struct {
	order sync.Mutex // held from before a commit with revocations until they are told

	mu   sync.Mutex // guards subs; never held while a subscriber runs
	subs []*subscriber
}

type subscriber struct{ fn func(Revocation) }

// publish commits and then tells. The order is taken before the commit, while
// the transaction still holds the head of the revocations: nobody can have a
// higher number yet, so nobody can overtake.
func (f *feed) publish(list []Revocation, commit func() error) error {
	if len(list) == 0 {
		return commit()
	}
	f.order.Lock()
	defer f.order.Unlock()
	if err := commit(); err != nil {
		return err
	}
	f.mu.Lock()
	subs := f.subs // subscribe and unsubscribe replace the slice
	f.mu.Unlock()
	tell(subs, list, 0)
	return nil
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
