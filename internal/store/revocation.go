package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind says what a revocation takes away.
type Kind string

// The kinds of revocations.
const (
	KindCredential Kind = "credential" // one credential: a session token or an API key
	KindSubject    Kind = "subject"    // whatever is remembered of a subject: its rights changed
	KindAll        Kind = "all"        // all that is remembered: what was revoked cannot be told one by one. Told, never stored
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

// same says whether two are one: times are compared as times.
func (r Revocation) same(other Revocation) bool {
	at := r.At.Equal(other.At)
	r.At, other.At = time.Time{}, time.Time{}
	return at && r == other
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
	if errors.Is(err, ErrNotFound) {
		return tx.fail(errNoHead)
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
	err := db.View(ctx, func(ctx context.Context, tx *Tx) (err error) {
		list, err = tx.revocations(ctx, n, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func (tx *Tx) revocations(ctx context.Context, after int64, limit int) ([]Revocation, error) {
	rows, err := tx.Query(ctx,
		"SELECT number, kind, credential, COALESCE(subject, ''), revoked_at FROM revocations WHERE number > ? ORDER BY number LIMIT ?", after, limit)
	if err != nil {
		return nil, err
	}
	var list []Revocation
	for rows.Next() {
		var r Revocation
		var kind string
		var credential []byte
		var at int64
		if err := rows.Scan(&r.Number, &kind, &credential, &r.Subject, &at); err != nil {
			return nil, err
		}
		r.Kind, r.At = Kind(kind), FromMicros(at)
		copy(r.Credential[:], credential)
		list = append(list, r)
	}
	return list, rows.Err()
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
