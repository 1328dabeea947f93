package apikey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/store"
)

// reminded gives all reminders that are due and returns whom they are for.
func (w *world) reminded() string {
	w.t.Helper()
	var told []string
	err := w.keys.Remind(w.t.Context(), func(_ context.Context, _ *store.Tx, k Key, left time.Duration) error {
		told = append(told, fmt.Sprintf("%s %s%s %.0fd", k.Name, k.Owner, k.Contact, left.Hours()/24))
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(told)
	return strings.Join(told, ", ")
}

func TestRemind(t *testing.T) {
	w := newWorld(t)
	end := func(days time.Duration) time.Time { return w.now.time().Add(days * day) }
	ada, eve := w.user("ada"), w.user("eve")
	w.createOwned(ada, "laptop", "a.r")
	w.createOwned(eve, "phone", "a.r")
	w.exec("UPDATE users SET disabled_at = 1 WHERE id = ?", eve)
	w.createKey(NewKey{Name: "partner", Contact: "ops@partner.example", Expires: end(90)})
	w.createKey(NewKey{Name: "nobody", Expires: end(90)})
	w.createKey(NewKey{Name: "forever", Contact: "ops@partner.example"})
	gone, _ := w.createKey(NewKey{Name: "gone", Contact: "ops@partner.example", Expires: end(90)})
	if err := w.keys.Revoke(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	w.createKey(NewKey{Name: "week", Contact: "ops@partner.example", Expires: end(7)})
	w.createKey(NewKey{Name: "hour", Contact: "ops@partner.example", Expires: end(1)})
	for _, step := range []struct {
		wait time.Duration // days
		want string
	}{
		{0, ""},
		{4, "week ops@partner.example 3d"},
		{0, ""},
		{71, ""}, // 75: 15 are left
		{1, "laptop ada 14d, partner ops@partner.example 14d"},
		{0, ""},
		{10, ""},
		{1, "laptop ada 3d, partner ops@partner.example 3d"},
		{1, ""},
		{2, ""}, // over
	} {
		w.now.advance(step.wait * day)
		if got := w.reminded(); got != step.want {
			t.Errorf("after %d days: %q, want %q", step.wait, got, step.want)
		}
	}
}

// TestRemindOnlyTheLast: who was away for the first step is told once, not twice.
func TestRemindOnlyTheLast(t *testing.T) {
	w := newWorld(t)
	w.createOwned(w.user("ada"), "laptop", "a.r")
	w.now.advance(88 * day)
	if got, again := w.reminded(), w.reminded(); got != "laptop ada 2d" || again != "" {
		t.Errorf("%q, then %q, want one reminder", got, again)
	}
}

// TestRemindAnew: a key that was given a new end is told of anew.
func TestRemindAnew(t *testing.T) {
	w := newWorld(t)
	ada := w.user("ada")
	k, _ := w.createOwned(ada, "laptop", "a.r")
	w.now.advance(88 * day)
	w.reminded()
	if _, _, err := w.keys.RotateOwned(t.Context(), nil, ada, k.ID, 0, 0); err != nil {
		t.Fatal(err)
	}
	if got := w.reminded(); got != "" {
		t.Errorf("just rotated: %q", got)
	}
	w.now.advance(80 * day)
	if got := w.reminded(); got != "laptop ada 10d" {
		t.Errorf("ten days before the new end: %q", got)
	}
}

// TestRemindAfterAFailure: a reminder that could not be given is not noted as
// given, and keeps no other back.
func TestRemindAfterAFailure(t *testing.T) {
	w := newWorld(t)
	ada := w.user("ada")
	w.createOwned(ada, "first", "a.r")
	w.createOwned(ada, "second", "a.r")
	w.now.advance(80 * day)
	asked := 0
	err := w.keys.Remind(t.Context(), func(ctx context.Context, tx *store.Tx, k Key, _ time.Duration) error {
		asked++
		if _, err := tx.Exec(ctx, "UPDATE users SET name = ? WHERE id = ?", k.Name, ada); err != nil {
			return err
		}
		if k.Name == "first" {
			return errors.New("no mail today")
		}
		return nil
	})
	if err != nil || asked != 2 {
		t.Errorf("asked for %d, %v, want 2", asked, err)
	}
	if n := w.number("SELECT COUNT(*) FROM users WHERE name = 'second'"); n != 1 {
		t.Error("what was done in the transaction of a reminder that was given is not there")
	}
	if got := w.reminded(); got != "first ada 10d" {
		t.Errorf("an hour later: %q, want the one that failed", got)
	}
}

// TestRemindOnce: two processes that see the same key due tell of it once.
func TestRemindOnce(t *testing.T) {
	w := newWorld(t)
	w.createOwned(w.user("ada"), "laptop", "a.r")
	w.now.advance(80 * day)
	due, err := w.keys.Due(t.Context(), w.now.time(), nil)
	if err != nil || len(due) != 1 || due[0].Step != 1 || due[0].Left != 10*day {
		t.Fatalf("Due = %+v, %v", due, err)
	}
	for i, want := range []bool{true, false} {
		w.change(func(ctx context.Context, tx *store.Tx) error {
			ours, err := w.keys.MarkReminded(ctx, tx, due[0])
			if ours != want {
				t.Errorf("process %d: %v, want %v", i, ours, want)
			}
			return err
		})
	}
}

// TestDueByPages: however many keys end, each is told of.
func TestDueByPages(t *testing.T) {
	w := newWorld(t)
	const many = remindBatch + 20
	w.change(func(ctx context.Context, tx *store.Tx) error {
		for i := range many { // all at one time, so that the id decides
			if _, err := tx.Exec(ctx, `INSERT INTO api_keys (id, name, roles, scopes, created_at, expires_at, contact) VALUES (?, ?, '', '', 0, ?, 'a@b.example')`,
				fmt.Sprintf("k%04d", i), fmt.Sprint("k", i), store.Micros(w.now.time().Add(day))); err != nil {
				return err
			}
		}
		return nil
	})
	seen := map[string]bool{}
	err := w.keys.Remind(t.Context(), func(_ context.Context, _ *store.Tx, k Key, _ time.Duration) error {
		seen[k.ID] = true
		return errors.New("no mail today")
	})
	if err != nil || len(seen) != many {
		t.Errorf("told of %d, %v, want %d", len(seen), err, many)
	}
}

// TestRun reminds at its start and once an hour, until its end.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.createOwned(w.user("ada"), "laptop", "a.r")
		w.now.advance(80 * day)
		ctx, cancel := context.WithCancel(t.Context())
		asked, start := 0, time.Now()
		err := w.keys.Run(ctx, func(context.Context, *store.Tx, Key, time.Duration) error {
			if asked++; asked == 3 {
				cancel()
			}
			return errors.New("no mail today")
		})
		if took := time.Since(start); err != nil || asked != 3 || took != 2*time.Hour {
			t.Errorf("Run: %v after %v, asked %d times; want 2h, 3", err, took, asked)
		}
	})
}
