package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// attempt is one try at an episode that the product gives a bounded time. It stands
// in for the test in it. What it finds wrong fails the test, unless it was disturbed:
// then there is another.
type attempt struct {
	testing.TB
	ctx       context.Context //nolint:containedctx // ends before the cleanups, as that of a test
	disturbed string          // by what; empty: what was found wrong counts

	mu       sync.Mutex
	wrong    []string // guarded by mu
	cleanups []func() // guarded by mu
	zones    []*zoned // guarded by mu; those that were made in it
}

// attempts makes an episode until a try goes well, or goes wrong undisturbed. A
// machine that always disturbs it, as a product does that is wrong, fails the test.
func attempts(t testing.TB, episode func(a *attempt)) {
	t.Helper()
	for began, n := time.Now(), 1; ; n++ {
		a := &attempt{TB: t}
		wrong := a.run(episode)
		if wrong == "" {
			return
		}
		if a.disturbed == "" || n >= 20 || n >= 5 && time.Since(began) > 3*time.Minute {
			t.Fatalf("try %d (disturbed by: %q):\n%s", n, a.disturbed, wrong)
		}
		t.Logf("once more, because %s:\n%s", a.disturbed, wrong)
		time.Sleep(20 * time.Millisecond)
	}
}

// run makes the episode, cleans up after it, and returns what was wrong.
func (a *attempt) run(episode func(a *attempt)) string {
	var leave context.CancelFunc
	a.ctx, leave = context.WithCancel(a.TB.Context())
	defer leave()
	ended := make(chan struct{})
	go func() { // FailNow ends it
		defer close(ended)
		episode(a)
	}()
	<-ended
	a.mu.Lock()
	wrong := strings.Join(a.wrong, "\n")
	a.mu.Unlock()
	leave()
	for f := a.lastCleanup(); f != nil; f = a.lastCleanup() {
		f()
	}
	return wrong
}

func (a *attempt) lastCleanup() (f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if last := len(a.cleanups) - 1; last >= 0 {
		f, a.cleanups = a.cleanups[last], a.cleanups[:last]
	}
	return f
}

// late notes that a part of the episode took longer than half its bound.
func (a *attempt) late(what string, took, bound time.Duration) {
	if took > bound/2 {
		a.disturbed = fmt.Sprintf("%s took %v, and the product gives it %v", what, took.Round(time.Millisecond), bound)
	}
}

// strained notes that the zone could not look a credential up in time: that is a no,
// which ends a stream, too.
func (a *attempt) strained(z *zoned) {
	if slices.ContainsFunc(z.records("--limit", "0"), func(r record) bool { return r.Reason == "auth.unavailable" }) {
		a.disturbed = "the zone had no time to look a credential up"
	}
}

func (a *attempt) note(text string) {
	_, file, line, _ := runtime.Caller(2)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wrong = append(a.wrong, fmt.Sprintf("%s:%d: %s", filepath.Base(file), line, strings.TrimSpace(text)))
}

func (a *attempt) Context() context.Context { return a.ctx }

func (a *attempt) Cleanup(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cleanups = append(a.cleanups, f)
}

func (a *attempt) Failed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.wrong) > 0
}

func (a *attempt) Fail()                             { a.note("failed") }
func (a *attempt) Error(args ...any)                 { a.note(fmt.Sprintln(args...)) }
func (a *attempt) Errorf(format string, args ...any) { a.note(fmt.Sprintf(format, args...)) }
func (a *attempt) FailNow()                          { a.note("failed"); runtime.Goexit() }
func (a *attempt) Fatal(args ...any)                 { a.note(fmt.Sprintln(args...)); runtime.Goexit() }
func (a *attempt) Fatalf(format string, args ...any) {
	a.note(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// exactly makes an episode in which processes count together, and again when one
// of them took Valkey for away meanwhile: it counts its share by itself then. Zones
// that are made in the episode need not be named.
func exactly(t testing.TB, episode func(a *attempt), zones ...*zoned) {
	t.Helper()
	attempts(t, func(a *attempt) {
		alone := func() (begun, over int) {
			a.mu.Lock()
			defer a.mu.Unlock()
			for _, z := range slices.Concat(a.zones, zones) {
				if z.stderr != nil { // it was started
					begun += strings.Count(z.stderr.String(), "valkey is away")
					over += strings.Count(z.stderr.String(), "valkey is back")
				}
			}
			return begun, over
		}
		before, back := alone()
		defer func() {
			if begun, _ := alone(); begun > before || back < before {
				a.disturbed = "valkey was away"
			}
		}()
		episode(a)
	})
}
