package identity

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

const (
	usedStep      = time.Minute            // how exact a key's last use is: one write a minute and key
	touchPatience = 100 * time.Millisecond // how long a request waits to have it written
)

// ResolveKey returns the principal of an API key and until when it holds: the
// end of the key, or of a secret that was rotated; the zero time when neither
// ends. A malformed key costs no look-up.
// Reasons: auth.invalid, auth.expired, auth.revoked, auth.unavailable.
func (id *Identity) ResolveKey(ctx context.Context, text string) (policy.Principal, time.Time, error) {
	public, ok := parseKey(text)
	if !ok {
		return policy.Principal{}, time.Time{}, problem.New(problem.AuthInvalid, nil)
	}
	now := id.clock()
	hash := hashKey(text)
	var k Key
	var secretEnds, secretEnded int64
	err := id.db.view(ctx, func(ctx context.Context, t tx) error {
		var err error
		k, err = scanKey(t.QueryRow(ctx, "SELECT "+keyColumns+`, s.expires_at, s.ended_at FROM api_key_secrets s
			JOIN api_keys k ON k.id = s.key_id WHERE s.hash = ? AND k.id = ?`, hash[:], public), &secretEnds, &secretEnded)
		if errors.Is(err, store.ErrNotFound) {
			return problem.New(problem.AuthInvalid, nil)
		}
		return err
	})
	if err != nil {
		return policy.Principal{}, time.Time{}, err
	}
	until := earliest(k.Expires, store.FromMicros(secretEnds))
	switch {
	case !k.Ended.IsZero() || secretEnded != 0:
		return policy.Principal{}, time.Time{}, problem.New(problem.AuthRevoked, nil)
	case !until.IsZero() && !now.Before(until):
		return policy.Principal{}, time.Time{}, problem.New(problem.AuthExpired, nil)
	}
	id.touchKey(ctx, k, now)
	return policy.Principal{
		Kind: policy.Key, Subject: k.Subject(), Client: k.ID, Roles: k.Roles, Scopes: k.Scopes,
		Level: 1, Method: "key", AuthTime: k.Created, Version: k.Version,
	}, until, nil
}

// touchKey keeps the time of use. It decides nothing, so it waits for no slow
// writer, and that it fails is logged and lets the key pass.
func (id *Identity) touchKey(ctx context.Context, k Key, now time.Time) {
	if now.Sub(k.Used) < usedStep {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, touchPatience)
	defer cancel()
	err := id.db.change(ctx, func(ctx context.Context, t tx) error {
		_, err := t.Exec(ctx, "UPDATE api_keys SET used_at = ? WHERE id = ? AND used_at <= ?",
			store.Micros(now), k.ID, store.Micros(now.Add(-usedStep)))
		return err
	})
	if err != nil {
		id.log.WarnContext(ctx, "last use of an API key was not kept", slog.String("key", k.ID), slog.Any("error", err))
	}
}

// earliest returns the earlier of two ends, where zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
