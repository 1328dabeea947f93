package session

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// Lookup returns the live session of a token and counts as its use. Errors have
// the reason AuthInvalid (no such token, or it ended long ago), AuthExpired,
// AuthRevoked or AuthUnavailable.
func (s *Sessions) Lookup(ctx context.Context, token string) (Session, error) {
	if !WellFormed(token) {
		return Session{}, problem.New(problem.AuthInvalid, nil)
	}
	hash := Hash(token)
	used := s.uses.of(hash) // before the row is read: what leaves the memory is in the row by then
	var r *row
	err := s.db.Look(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = byHash(ctx, tx, hash)
		return err
	})
	if err != nil {
		return Session{}, answer(err)
	}
	now := s.now()
	if reason := s.judge(r, used, now); reason != problem.OK {
		return Session{}, problem.New(reason, nil)
	}
	if now.Sub(r.LastUsed) >= useEvery(r.idle) && s.uses.note(hash, now) {
		r.LastUsed = now
		r.ValidUntil = earlier(r.Expires, now.Add(r.idle))
		s.settle(r, now)
	}
	return r.Session, nil
}

// Find returns a live session of a user by its public id, and counts as no use.
// Errors are those of Lookup; a session of another user is as unknown as one that
// never was.
func (s *Sessions) Find(ctx context.Context, user, id string) (Session, error) {
	var r *row
	err := s.db.Look(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = byID(ctx, tx, user, id)
		return err
	})
	if err != nil {
		return Session{}, answer(err)
	}
	now := s.now()
	if reason := s.judge(r, s.uses.of(r.hash), now); reason != problem.OK {
		return Session{}, problem.New(reason, nil)
	}
	return r.Session, nil
}

// LiveTx is Find within a transaction of the caller, for who wants to know no more
// than that a session lives: what is written there is written while it does.
func (s *Sessions) LiveTx(ctx context.Context, tx *store.Tx, user, id string) error {
	r, err := byID(ctx, tx, user, id)
	if err != nil {
		return answer(err)
	}
	if reason := s.judge(r, s.uses.of(r.hash), s.now()); reason != problem.OK {
		return problem.New(reason, nil)
	}
	return nil
}

// List returns the live sessions of a user, the last used first. Errors have
// the reason AuthUnavailable.
func (s *Sessions) List(ctx context.Context, user string) ([]Session, error) {
	var list []Session
	err := s.db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := s.live(ctx, tx, user, s.now())
		for _, r := range rows {
			list = append(list, r.Session)
		}
		return err
	})
	if err != nil {
		return nil, answer(err)
	}
	return list, nil
}

// live returns the live sessions of a user, the last used first. There are
// MaxPerUser at most, unless an older program allowed more.
func (s *Sessions) live(ctx context.Context, tx *store.Tx, user string, now time.Time) ([]*row, error) {
	list, err := find(ctx, tx, "user_id = ? AND revoked_at = 0 AND expires_at > ? ORDER BY last_used_at DESC LIMIT ?",
		user, store.Micros(now), 10*MaxPerUser)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(r *row) bool { return s.judge(r, s.uses.of(r.hash), now) != problem.OK })
	slices.SortFunc(list, func(a, b *row) int { // with the uses that are not written yet
		return cmp.Or(b.LastUsed.Compare(a.LastUsed), b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID))
	})
	return list, nil
}

// useEvery is how often the use of a session with this idle bound is noted.
func useEvery(idle time.Duration) time.Duration { return min(time.Minute, idle/8) }
