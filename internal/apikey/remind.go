package apikey

import (
	"context"
	"log/slog"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// remindSteps is how long before the end of a key somebody is told, each once.
func remindSteps() [2]time.Duration { return [2]time.Duration{14 * 24 * time.Hour, 3 * 24 * time.Hour} }

const (
	remindEvery = time.Hour
	remindBatch = 500
)

// stepsPast is how many steps a key that ends then has passed already: who makes
// a key for a week need not be told tomorrow that it ends.
func stepsPast(expires, now time.Time) int {
	n := 0
	for _, before := range remindSteps() {
		if !expires.IsZero() && expires.Sub(now) <= before {
			n++
		}
	}
	return n
}

// Reminder is a key of whose end somebody has to be told.
type Reminder struct {
	Key  Key
	Step int // 1: fourteen days are left, 2: three
	Left time.Duration
}

// Due returns the live keys, of users or with a contact, that end within a step
// of which nobody was told, those that end first coming first: at most 500, after
// the last of the page before, if there is one.
func (k *Keys) Due(ctx context.Context, now time.Time, after *Reminder) ([]Reminder, error) {
	steps := remindSteps()
	last, id := int64(0), ""
	if after != nil {
		last, id = store.Micros(after.Key.Expires), after.Key.ID
	}
	var keys []Key
	err := k.db.view(ctx, func(ctx context.Context, t tx) (err error) {
		keys, err = scanKeys(ctx, t, "SELECT "+keyColumns+" FROM api_keys k"+ownerJoin+`
			WHERE k.ended_at = 0 AND k.expires_at > ? AND k.expires_at <= ?
			AND (k.reminded < 1 OR (k.reminded < 2 AND k.expires_at <= ?))
			AND (u.id IS NOT NULL OR (k.owner = '' AND k.contact <> ''))
			AND (k.expires_at > ? OR (k.expires_at = ? AND k.id > ?))
			ORDER BY k.expires_at, k.id LIMIT ?`,
			store.Micros(now), store.Micros(now.Add(steps[0])), store.Micros(now.Add(steps[1])), last, last, id, remindBatch)
		return err
	})
	if err != nil {
		return nil, err
	}
	due := make([]Reminder, len(keys))
	for i, key := range keys {
		due[i] = Reminder{Key: key, Step: stepsPast(key.Expires, now), Left: key.Expires.Sub(now)}
	}
	return due, nil
}

// MarkReminded notes within a transaction that a reminder is given in it; false
// when it was given already, or the key is not as it was.
func (k *Keys) MarkReminded(ctx context.Context, tx *store.Tx, r Reminder) (bool, error) {
	n, err := tx.Exec(ctx, "UPDATE api_keys SET reminded = ? WHERE id = ? AND reminded < ? AND ended_at = 0 AND expires_at = ?",
		r.Step, r.Key.ID, r.Step, store.Micros(r.Key.Expires))
	return n == 1, err
}

// Notify tells the owner or the contact of a key that it ends, within the
// transaction in which that is noted. After an error it is asked again in an hour.
type Notify func(ctx context.Context, tx *store.Tx, key Key, left time.Duration) error

// Run reminds once an hour, and at its start, until ctx ends. However many
// processes run it, each reminder is given once.
func (k *Keys) Run(ctx context.Context, notify Notify) error {
	tick := time.NewTicker(remindEvery)
	defer tick.Stop()
	for {
		if err := k.Remind(ctx, notify); err != nil && ctx.Err() == nil {
			k.log.ErrorContext(ctx, "reminders of keys that end were not given; tried again in an hour", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Remind gives all reminders that are due. One that cannot be given is logged
// and keeps no other back.
func (k *Keys) Remind(ctx context.Context, notify Notify) error {
	var after *Reminder
	for {
		due, err := k.Due(ctx, k.now(), after)
		if err != nil {
			return err
		}
		for i := range due {
			err := k.db.change(ctx, func(ctx context.Context, t tx) error {
				ours, err := k.MarkReminded(ctx, t.whole(), due[i])
				if err != nil || !ours {
					return err
				}
				return notify(ctx, t.whole(), due[i].Key, due[i].Left)
			})
			switch {
			case ctx.Err() != nil, problem.ReasonOf(err) == problem.AuthUnavailable:
				return err
			case err != nil:
				k.log.ErrorContext(ctx, "reminder of a key that ends was not given", slog.String("key", due[i].Key.ID), slog.Any("error", err))
			}
		}
		if len(due) < remindBatch {
			return nil
		}
		after = &due[len(due)-1]
	}
}
