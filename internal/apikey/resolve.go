package apikey

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

const (
	usedStep      = time.Minute            // how exact a last use is: one write a minute and key
	touchPatience = 100 * time.Millisecond // see Keys.patience
)

// Resolve returns the principal of an API key and until when it holds: the end
// of the key, or of a secret that was rotated; the zero time when neither ends.
// A malformed key costs no look-up. Whether the client's address is one of the
// principal's networks is for the caller to ask, at every request.
// Reasons: auth.invalid, auth.expired, auth.revoked, auth.unavailable.
func (k *Keys) Resolve(ctx context.Context, text string) (policy.Principal, time.Time, error) {
	public, ok := Parse(text)
	if !ok {
		return policy.Principal{}, time.Time{}, problem.New(problem.AuthInvalid, nil)
	}
	s, err := k.Standing(ctx, Hash(text))
	if err == nil && s.Key.ID != public {
		err = problem.New(problem.AuthInvalid, nil)
	}
	if err == nil && s.Reason != problem.OK {
		err = problem.New(s.Reason, nil)
	}
	if err != nil {
		return policy.Principal{}, time.Time{}, err
	}
	key := s.Key
	k.touch(ctx, "API key", key.ID, key.Used, "UPDATE api_keys SET used_at = ? WHERE id = ? AND used_at <= ?")
	return policy.Principal{
		Kind: policy.Key, Subject: key.Subject(), Client: key.ID, Roles: key.Roles, Scopes: k.inForce(key),
		Level: 1, Method: "key", AuthTime: key.Created, Version: key.Version, Owner: key.Owner, Networks: key.Addresses,
	}, s.Until, nil
}

// inForce is the scopes that a key has now: of a user's key those that the map
// still offers to users.
func (k *Keys) inForce(key Key) []string {
	if key.Owner == "" {
		return key.Scopes
	}
	offered := k.offered()
	return slices.DeleteFunc(slices.Clone(key.Scopes), func(s string) bool { return !slices.Contains(offered, s) })
}

// Standing is how it stands with one text of a key.
type Standing struct {
	Key    Key
	Until  time.Time      // its end, if it is live; zero: never
	Reason problem.Reason // ok, auth.expired or auth.revoked
}

// Standing tells by its hash how it stands with a text. It is no use of the key.
// Reasons: auth.invalid when no key has or had the text, auth.unavailable.
func (k *Keys) Standing(ctx context.Context, hash [32]byte) (Standing, error) {
	var key Key
	var ends, ended int64
	var lives int
	err := k.db.view(ctx, func(ctx context.Context, t tx) error {
		var err error
		key, err = scanKey(t.QueryRow(ctx, "SELECT "+keyColumns+", s.expires_at, s.ended_at, "+ownerLives+` FROM api_key_secrets s
			JOIN api_keys k ON k.id = s.key_id`+ownerJoin+" WHERE s.hash = ?", hash[:]), &ends, &ended, &lives)
		if errors.Is(err, store.ErrNotFound) {
			return problem.New(problem.AuthInvalid, nil)
		}
		return err
	})
	if err != nil {
		return Standing{}, err
	}
	s := Standing{Key: key, Until: earliest(key.Expires, store.FromMicros(ends)), Reason: problem.OK}
	switch {
	case !key.Ended.IsZero() || ended != 0 || lives == 0:
		s.Reason = problem.AuthRevoked
	case !s.Until.IsZero() && !k.now().Before(s.Until):
		s.Reason = problem.AuthExpired
	}
	return s, nil
}

// touch keeps the time of a use. It decides nothing, so it waits for no slow
// writer, and that it fails is logged and lets the request pass.
func (k *Keys) touch(ctx context.Context, what, id string, used time.Time, update string) {
	now := k.now()
	if now.Sub(used) < usedStep {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, k.patience)
	defer cancel()
	err := k.db.change(ctx, func(ctx context.Context, t tx) error {
		_, err := t.Exec(ctx, update, store.Micros(now), id, store.Micros(now.Add(-usedStep)))
		return err
	})
	if err != nil {
		k.log.WarnContext(ctx, "last use was not kept", slog.String("of", what), slog.String("id", id), slog.Any("error", err))
	}
}

// earliest returns the earlier of two ends, where zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
