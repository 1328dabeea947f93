// Package kvtest is the contract of kv as tests: every engine runs it whole,
// and what a part may rely on is what stands here.
package kvtest

import (
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/kv"
)

// Engine is one store under test, empty, with room for a thousand keys at least.
type Engine struct {
	kv.Store
	// Pass lets d go by for the lives of values: it moves the clock that the
	// engine was given, or waits where the clock is not ours.
	Pass func(d time.Duration)
	// Grain is the unit of the engine's time; 0: a nanosecond. The time of takes is
	// the caller's in these tests.
	Grain time.Duration
}

// Run runs the contract against engines that open makes, each of its own.
func Run(t *testing.T, open func(t *testing.T) Engine) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Engine)
	}{
		{"take", takes},
		{"take bounds", takesWithinBounds},
		{"undo", undoes},
		{"lowered", lowered},
		{"take bunched", takesBunched},
		{"take at once", takesAtOnce},
		{"take another rate", takesAnotherRate},
		{"take back in time", takesBackInTime},
		{"take refuses", takeRefuses},
		{"once", once},
		{"values", values},
		{"values refused", valuesRefused},
		{"publish", publishes},
		{"publish to the slow", dropsForTheSlow},
		{"subscription ends", subscriptionEnds},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := open(t)
			e.Grain = max(e.Grain, 1)
			c.test(t, e)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// longest and tooLong are keys at and over the bound.
var (
	longest = strings.Repeat("k", kv.MaxKey)
	tooLong = longest + "k"
)
