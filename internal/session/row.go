package session

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// row is a session as it is stored.
type row struct {
	Session
	hash    [32]byte
	idle    time.Duration
	revoked time.Time // zero: not revoked
}

// columns, and the order in which scan and insert take them.
const columns = "id, token_hash, user_id, created_at, authenticated_at, last_used_at, expires_at, idle, remembered, revoked_at, level, method, client, agent"

func scan(r interface{ Scan(...any) error }) (*row, error) {
	var (
		s                                        row
		hash                                     []byte
		created, authenticated, used, end, ended int64
		idle                                     int64
		client                                   string
	)
	if err := r.Scan(&s.ID, &hash, &s.User, &created, &authenticated, &used, &end, &idle, &s.Remember, &ended,
		&s.Level, &s.Method, &client, &s.Agent); err != nil {
		return nil, err
	}
	copy(s.hash[:], hash)
	s.Reached = s.Level
	s.Created, s.AuthTime, s.LastUsed = store.FromMicros(created), store.FromMicros(authenticated), store.FromMicros(used)
	s.Expires, s.revoked = store.FromMicros(end), store.FromMicros(ended)
	s.idle = time.Duration(idle) * time.Microsecond
	s.Client, _ = netip.ParseAddr(client) // empty: unknown
	return &s, nil
}

func insert(ctx context.Context, tx *store.Tx, s *row) error {
	client, remembered := "", 0
	if s.Client.IsValid() {
		client = s.Client.String()
	}
	if s.Remember {
		remembered = 1
	}
	_, err := tx.Exec(ctx, "INSERT INTO sessions ("+columns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		s.ID, s.hash[:], s.User, store.Micros(s.Created), store.Micros(s.AuthTime), store.Micros(s.LastUsed),
		store.Micros(s.Expires), s.idle.Microseconds(), remembered, store.Micros(s.revoked), s.Level, s.Method, client, s.Agent)
	return err
}

// byHash returns the session of a token's hash.
func byHash(ctx context.Context, tx *store.Tx, hash [32]byte) (*row, error) {
	return scan(tx.QueryRow(ctx, "SELECT "+columns+" FROM sessions WHERE token_hash = ?", hash[:]))
}

// byID returns the session of a user with a public id.
func byID(ctx context.Context, tx *store.Tx, user, id string) (*row, error) {
	return scan(tx.QueryRow(ctx, "SELECT "+columns+" FROM sessions WHERE id = ? AND user_id = ?", id, user))
}

// find returns the sessions that a condition finds, all of them: the
// transaction is free for the next statement.
func find(ctx context.Context, tx *store.Tx, condition string, args ...any) ([]*row, error) {
	rows, err := tx.Query(ctx, "SELECT "+columns+" FROM sessions WHERE "+condition, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*row
	for rows.Next() {
		s, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

// judge says whether a session lives: OK, or why not. used is a use that may be
// newer than the stored one. It fills in the ends that hold now.
func (s *Sessions) judge(r *row, used, now time.Time) problem.Reason {
	absolute, idle := s.lives(r.Remember)
	if used.After(r.LastUsed) {
		r.LastUsed = used
	}
	r.idle = min(r.idle, idle)
	r.Expires = earlier(r.Expires, r.Created.Add(absolute))
	r.ValidUntil = earlier(r.Expires, r.LastUsed.Add(r.idle))
	switch {
	case !r.revoked.IsZero():
		return problem.AuthRevoked
	case !now.Before(r.ValidUntil):
		return problem.AuthExpired
	}
	s.settle(r, now)
	return problem.OK
}

// twoFactors is the level that fades.
const twoFactors = 2

// settle lowers the level of a session whose proof of two factors is too old, and
// has ValidUntil end with that proof.
func (s *Sessions) settle(r *row, now time.Time) {
	if r.Level < twoFactors {
		return
	}
	fades := r.AuthTime.Add(s.life.Load().Absolute)
	if !now.Before(fades) {
		r.Level = twoFactors - 1
		return
	}
	r.ValidUntil = earlier(r.ValidUntil, fades)
}

// lives returns the lifetimes of the map.
func (s *Sessions) lives(remember bool) (absolute, idle time.Duration) {
	life := s.life.Load()
	if remember {
		return life.Remember, life.Remember
	}
	return life.Absolute, life.Idle
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// answer turns an error of the store into the caller's: the session is not
// known, or nothing can be said. Errors that have a reason keep it.
func answer(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*problem.Error](err); ok {
		return err
	}
	if errors.Is(err, store.ErrNotFound) {
		return problem.New(problem.AuthInvalid, nil)
	}
	return problem.New(problem.AuthUnavailable, err)
}
