package session

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// Bounds of what a session keeps of the outside.
const (
	maxUser   = 128 // bytes
	maxMethod = 32
	maxAgent  = 256
)

var errIncomplete = errors.New("session: a session needs a user, a level and a method")

// Create makes a session for a user who has just authenticated, and returns its
// token, the only time it is seen. Errors have the reason AuthUnavailable.
func (s *Sessions) Create(ctx context.Context, n NewSession) (token string, session Session, err error) {
	err = s.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		token, session, err = s.CreateTx(ctx, tx, n)
		return err
	})
	if errors.Is(err, errIncomplete) {
		return "", Session{}, err
	}
	if err != nil {
		return "", Session{}, answer(err)
	}
	return token, session, nil
}

// CreateTx is Create within a transaction of the caller. Errors are the store's.
func (s *Sessions) CreateTx(ctx context.Context, tx *store.Tx, n NewSession) (token string, session Session, err error) {
	if n.User == "" || len(n.User) > maxUser || n.Level < 1 || n.Method == "" || len(n.Method) > maxMethod {
		return "", Session{}, errIncomplete
	}
	token = newToken()
	now := s.now()
	absolute, idle := s.lives(n.Remember)
	r := &row{
		Session: Session{
			ID: newID(), User: n.User,
			Created: now, AuthTime: now, LastUsed: now, Expires: now.Add(absolute),
			Remember: n.Remember, Level: n.Level, Reached: n.Level, Method: n.Method,
			Client: n.Client.Unmap().WithZone(""), Agent: clean(n.Agent, maxAgent),
		},
		hash: Hash(token),
		idle: idle,
	}
	r.ValidUntil = earlier(r.Expires, now.Add(idle))
	if err := s.makeRoom(ctx, tx, n.User, now); err != nil {
		return "", Session{}, err
	}
	if err := insert(ctx, tx, r); err != nil {
		return "", Session{}, err
	}
	s.settle(r, now)
	return token, r.Session, nil
}

// makeRoom ends the sessions of a user that were used longest ago, so that one more
// fits. Most users have few, dead ones included: that an index alone tells.
func (s *Sessions) makeRoom(ctx context.Context, tx *store.Tx, user string, now time.Time) error {
	var rows int
	if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM sessions WHERE user_id = ? LIMIT ?) AS held", user, MaxPerUser).Scan(&rows); err != nil {
		return err
	}
	if rows < MaxPerUser {
		return nil
	}
	others, err := s.live(ctx, tx, user, now)
	if err != nil {
		return err
	}
	for _, stale := range others[min(MaxPerUser-1, len(others)):] {
		if err := s.revoke(ctx, tx, stale, now); err != nil {
			return err
		}
	}
	return nil
}

// RaiseTx gives a live session of the user a new token and a new id, notes that a
// credential of the user was just proved, and revokes the old ones, all within a
// transaction of the caller. Of several at once one succeeds. Reasons are those of
// Lookup; a session of another user is as unknown as one that never was.
func (s *Sessions) RaiseTx(ctx context.Context, tx *store.Tx, user, id string, level int, method string) (next string, session Session, err error) {
	if level < 1 || method == "" || len(method) > maxMethod {
		return "", Session{}, errIncomplete
	}
	old, err := byID(ctx, tx, user, id)
	if err != nil {
		return "", Session{}, answer(err)
	}
	now := s.now()
	if reason := s.judge(old, s.uses.of(old.hash), now); reason != problem.OK {
		return "", Session{}, problem.New(reason, nil)
	}
	next = newToken()
	r := *old
	r.ID, r.hash, r.LastUsed = newID(), Hash(next), now
	r.Level, r.Reached, r.Method, r.AuthTime = level, level, method, now
	r.ValidUntil = earlier(r.Expires, now.Add(r.idle))
	if err := end(ctx, tx, old, now); err != nil {
		return "", Session{}, err
	}
	if err := insert(ctx, tx, &r); err != nil {
		return "", Session{}, err
	}
	switch {
	case s.hooks.Moved != nil:
		err = s.hooks.Moved(ctx, tx, r.User, old.ID, r.ID)
	case s.hooks.Ended != nil:
		err = s.hooks.Ended(ctx, tx, old.User, old.ID)
	}
	if err != nil {
		return "", Session{}, err
	}
	s.settle(&r, now)
	return next, r.Session, nil
}

// now is the time as it is stored, so that what is returned and what is read
// later are equal.
func (s *Sessions) now() time.Time { return store.FromMicros(store.Micros(s.clock())) }

// clean makes a text of the outside fit to be shown: valid UTF-8 without control
// characters, at most n bytes.
func clean(text string, n int) string {
	text = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) || c == utf8.RuneError {
			return -1
		}
		return c
	}, text[:min(len(text), 4*n)])
	for len(text) > n {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
