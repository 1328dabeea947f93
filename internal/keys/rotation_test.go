package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/store"
	"sallyport.dev/internal/token"
)

func TestPlan(t *testing.T) {
	hour, minute := time.Hour, time.Minute
	ago := func(d time.Duration) time.Time { return start.Add(-d) }
	sign := func(since time.Duration) signingKey {
		return signingKey{id: "a", state: active, published: ago(since), activated: ago(since)}
	}
	come := func(since time.Duration) signingKey {
		return signingKey{id: "n", state: next, published: ago(since)}
	}
	retire := func(since time.Duration) signingKey {
		return signingKey{id: "r", state: retiring, published: ago(48 * hour), activated: ago(25 * hour), retired: ago(since)}
	}
	for _, c := range []struct {
		name string
		keys []signingKey
		seen time.Duration // how long this process has published n
		want string
	}{
		{"empty", nil, 0, "[{active }]"},
		{"young", []signingKey{sign(hour)}, 0, "[]"},
		{"not yet time to publish", []signingKey{sign(24*hour - 10*minute - 1)}, 0, "[]"},
		{"time to publish", []signingKey{sign(24*hour - 10*minute)}, 0, "[{next }]"},
		{"long overdue, still published first", []signingKey{sign(1000 * hour)}, 0, "[{next }]"},
		{"published, not yet time", []signingKey{sign(24*hour - 1), come(10 * minute)}, 10 * minute, "[]"},
		{"time to switch", []signingKey{sign(24 * hour), come(10 * minute)}, 10 * minute, "[{retiring a} {active n}]"},
		{"overdue, published too short", []signingKey{sign(48 * hour), come(10*minute - 1)}, 10 * minute, "[]"},
		{"overdue, published long ago, by this process too short", []signingKey{sign(48 * hour), come(30 * hour)}, 10*minute - 1, "[]"},
		{"overdue, published long ago and long by this process", []signingKey{sign(48 * hour), come(30 * hour)}, 10 * minute, "[{retiring a} {active n}]"},
		{"retiring", []signingKey{retire(10*minute - 1), sign(hour)}, 0, "[]"},
		{"retired long enough", []signingKey{retire(10 * minute), sign(hour)}, 0, "[{gone r}]"},
		{"withdrawn, one to come", []signingKey{retire(minute), come(0)}, 0, "[{active n}]"},
		{"withdrawn, none to come", []signingKey{retire(minute)}, 0, "[{active }]"},
		{"clock went back", []signingKey{sign(-hour), come(-hour)}, -hour, "[]"},
	} {
		r := &Ring{cfg: RingConfig{Rotate: 24 * hour, Overlap: 10 * minute}, seen: map[string]time.Time{"n": ago(c.seen)}}
		if got := fmt.Sprint(r.plan(c.keys, start)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// verifier is a service that asks for the keys at intervals.
type verifier struct {
	ring  *Ring
	every time.Duration
	known []string
	asked time.Time
}

func (v *verifier) knows(t *testing.T, kid string, now time.Time) bool {
	if v.asked.IsZero() || now.Sub(v.asked) >= v.every {
		v.known, v.asked = publishes(t, v.ring), now
	}
	return slices.Contains(v.known, kid)
}

// Over three rotations of two processes on one database, each turning at its
// own moments, no verifier of either meets a token whose key it does not know:
// not when the token is fresh, and not when it is as old as one may be.
func TestRotationIsNeverNoticed(t *testing.T) {
	db, dir := newDB(t)
	root := newRoot(t)
	at := &clock{start}
	open := func(db *store.DB) *Ring {
		r, err := NewRing(t.Context(), db, root, RingConfig{Name: "txn-token", Rotate: 40 * time.Minute, Clock: at.Now})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	rings := []*Ring{open(db), open(openDB(t, dir))}
	verifiers := []*verifier{{ring: rings[0], every: 10 * time.Second}, {ring: rings[1], every: 10 * time.Second}}
	slow, missed := &verifier{ring: rings[0], every: 25 * time.Minute}, 0 // the control: who asks too seldom does notice

	type minted struct {
		kid string
		at  time.Time
	}
	var live []minted
	used := map[string]bool{}
	for n := 0; at.now.Before(start.Add(140 * time.Minute)); n++ { // in steps of 10 s
		if n%6 == 0 { // Run's tick of a minute; the second process half a minute apart
			rotate(t, rings[0])
		}
		if n%6 == 3 {
			rotate(t, rings[1])
		}
		live = slices.DeleteFunc(live, func(m minted) bool { return at.now.Sub(m.at) > token.MaxLife+token.MaxLeeway })
		for _, r := range rings {
			kid := signs(t, r)
			used[kid] = true
			live = append(live, minted{kid, at.now})
			if !slow.knows(t, kid, at.now) {
				missed++
			}
		}
		for _, m := range live {
			for i, v := range verifiers {
				if !v.knows(t, m.kid, at.now) {
					t.Fatalf("at %s: verifier %d does not know %s that signed at %s", at.now.Sub(start), i, m.kid, m.at.Sub(start))
				}
			}
		}
		if n := len(publishes(t, rings[0])); n > 2 {
			t.Fatalf("at %s: %d keys published, want 2 at most", at.now.Sub(start), n)
		}
		at.now = at.now.Add(10 * time.Second)
	}
	if len(used) != 4 {
		t.Errorf("%d keys signed, want 4: the first and three rotations", len(used))
	}
	if missed == 0 {
		t.Error("a verifier that seldom asks missed nothing: the test proves nothing")
	}
}

func TestOneActiveKeyForManyProcesses(t *testing.T) {
	_, dir := newDB(t)
	root := newRoot(t)
	at := &clock{start}
	rings := make([]*Ring, 4)
	var wg sync.WaitGroup
	for i := range rings {
		db := openDB(t, dir)
		wg.Go(func() {
			r, err := NewRing(t.Context(), db, root, RingConfig{Name: "txn-token", Clock: at.Now})
			if err != nil {
				t.Error(err)
			}
			rings[i] = r
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, r := range rings[1:] {
		if got, want := signs(t, r), signs(t, rings[0]); got != want {
			t.Errorf("two active keys: %s and %s", got, want)
		}
	}
	// The table refuses a second one whoever writes it.
	err := rings[0].db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := rings[0].create(ctx, tx, active, at.now)
		return err
	})
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("second active key: %v, want %v", err, store.ErrConflict)
	}
}

func TestRestartKeepsTheKeysAndWaits(t *testing.T) {
	db, dir := newDB(t)
	root := newRoot(t)
	at := &clock{start}
	before := newRing(t, db, root, at.Now)
	old := signs(t, before)
	at.now = start.Add(24*time.Hour - 10*time.Minute)
	rotate(t, before) // the next key is published, and the process dies before anybody asked

	at.now = start.Add(60 * time.Hour)
	after := newRing(t, openDB(t, dir), root, at.Now)
	if got := signs(t, after); got != old {
		t.Errorf("after a restart %s signs, want %s until verifiers have heard of the next", got, old)
	}
	if got, want := publishes(t, after), publishes(t, before); !slices.Equal(got, want) || len(got) != 2 {
		t.Errorf("publishes %v, want %v", got, want)
	}
	at.now = at.now.Add(10*time.Minute - 1)
	rotate(t, after)
	if got := signs(t, after); got != old {
		t.Errorf("just before the overlap %s signs, want %s", got, old)
	}
	at.now = at.now.Add(1)
	rotate(t, after)
	if got := signs(t, after); got == old || !slices.Contains(publishes(t, before), got) {
		t.Errorf("after the overlap %s signs, want the key published before the restart", got)
	}
}

// Run turns by itself. The clock is synctest's.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := newDB(t)
		r, err := NewRing(t.Context(), db, newRoot(t), RingConfig{Name: "txn-token", Rotate: 2 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		first := signs(t, r)

		time.Sleep(time.Hour + 49*time.Minute)
		synctest.Wait()
		if got := publishes(t, r); len(got) != 1 {
			t.Errorf("11 minutes ahead: publishes %v, want one key", got)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := publishes(t, r); len(got) != 2 || signs(t, r) != first {
			t.Errorf("9 minutes ahead: publishes %v, want two keys, the first signing", got)
		}
		time.Sleep(12 * time.Minute)
		synctest.Wait()
		if got := publishes(t, r); len(got) != 2 || signs(t, r) == first || !slices.Contains(got, first) {
			t.Errorf("3 minutes after: publishes %v, want two keys, the second signing", got)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := publishes(t, r); len(got) != 1 || got[0] == first {
			t.Errorf("13 minutes after: publishes %v, want the second key only", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v, want nil", err)
		}
	})
}
