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
			Remember: n.Remember, Level: n.Level, Method: n.Method,
			Client: n.Client.Unmap().WithZone(""), Agent: clean(n.Agent, maxAgent),
		},
		hash: Hash(token),
		idle: idle,
	}
	r.ValidUntil = earlier(r.Expires, now.Add(idle))
	err = s.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		others, err := s.live(ctx, tx, n.User, now)
		if err != nil {
			return err
		}
		for _, stale := range others[min(MaxPerUser-1, len(others)):] {
			if err := revoke(ctx, tx, stale, now); err != nil {
				return err
			}
		}
		return insert(ctx, tx, r)
	})
	if err != nil {
		return "", Session{}, answer(err)
	}
	return token, r.Session, nil
}

// Rotation is what changes with a new token.
type Rotation struct {
	Level  int    // the level just proved by a step-up; 0: nothing was proved, the level and its time stay
	Method string // how it was proved; used with a Level
}

// Rotate gives a live session a new token and a new id, and revokes the old
// ones in the same transaction: after a step-up, a change of rights, or
// whenever the old token may have been seen. Of several at once one succeeds.
// Reasons are those of Lookup.
func (s *Sessions) Rotate(ctx context.Context, token string, change Rotation) (next string, session Session, err error) {
	if change.Level < 0 || len(change.Method) > maxMethod || change.Level > 0 && change.Method == "" {
		return "", Session{}, errIncomplete
	}
	if !WellFormed(token) {
		return "", Session{}, problem.New(problem.AuthInvalid, nil)
	}
	next = newToken()
	err = s.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		now := s.now()
		hash := Hash(token)
		used := s.uses.of(hash)
		old, err := byHash(ctx, tx, hash)
		if err != nil {
			return err
		}
		if reason := s.judge(old, used, now); reason != problem.OK {
			return problem.New(reason, nil)
		}
		if err := revoke(ctx, tx, old, now); err != nil {
			return err
		}
		r := *old
		r.ID, r.hash, r.LastUsed = newID(), Hash(next), now
		r.ValidUntil = earlier(r.Expires, now.Add(r.idle))
		if change.Level > 0 {
			r.Level, r.Method, r.AuthTime = change.Level, change.Method, now
		}
		session = r.Session
		return insert(ctx, tx, &r)
	})
	if err != nil {
		return "", Session{}, answer(err)
	}
	return next, session, nil
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
