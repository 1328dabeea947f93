package identity

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
)

var home = netip.MustParseAddr("198.51.100.1")

func newGuessing(entries int) (*guesses, *stepClock) {
	c := &stepClock{at: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	return newGuesses(c.time, entries), c
}

// TestDelayGrows fails again and again from one address, as fast as it may.
func TestDelayGrows(t *testing.T) {
	g, now := newGuessing(100)
	var wait time.Duration
	for n := 1; n <= freeAttempts+12; n++ {
		if _, err := g.begin("ada@shop.example", home); err != nil {
			t.Fatalf("attempt %d, after the delay: %v", n, err)
		}
		if n < freeAttempts {
			continue
		}
		_, err := g.begin("ada@shop.example", home)
		if problem.ReasonOf(err) != problem.LimitRate {
			t.Fatalf("attempt %d, without the delay: %v, want limit.rate", n+1, err)
		}
		grown := time.Duration(retryAfter(err)) * time.Second
		if want := min(max(2*wait, time.Second), delayMax); grown != want {
			t.Errorf("delay after attempt %d is %v, want %v", n, grown, want)
		}
		wait = grown
		now.advance(wait - time.Second/2)
		if _, err := g.begin("ada@shop.example", home); err == nil {
			t.Errorf("attempt %d, half a second early: admitted", n+1)
		}
		now.advance(time.Second / 2)
	}
	if wait != delayMax {
		t.Errorf("the last delay is %v, want %v", wait, delayMax)
	}
}

// TestGuessesPerHour attacks one account for two hours from one address and
// from a thousand, and counts what reaches a hash.
func TestGuessesPerHour(t *testing.T) {
	for _, addresses := range []int{1, 1000} {
		g, now := newGuessing(1 << 12)
		// The owner has logged in from two places; an attacker may sit in both.
		for _, a := range []string{"10.0.0.0", "10.0.0.1"} {
			at, err := g.begin("ada@shop.example", netip.MustParseAddr(a))
			if err != nil {
				t.Fatal(err)
			}
			at.succeeded()
		}
		var admitted []time.Time
		for second := range 2 * 3600 {
			for i := range 5 {
				n := (second*5 + i) % addresses
				from := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
				if _, err := g.begin("ada@shop.example", from); err == nil {
					admitted = append(admitted, now.time())
				}
			}
			now.advance(time.Second)
		}
		worst := 0
		for i := range admitted {
			n := 0
			for _, at := range admitted[i:] {
				if at.Sub(admitted[i]) < time.Hour {
					n++
				}
			}
			worst = max(worst, n)
		}
		if worst > 100 || worst == 0 {
			t.Errorf("from %d addresses %d attempts within an hour were admitted, want 1 to 100", addresses, worst)
		}
	}
}

// TestStrangersDoNotLockTheOwnerOut exhausts the account from elsewhere.
func TestStrangersDoNotLockTheOwnerOut(t *testing.T) {
	g, now := newGuessing(1 << 12)
	at, err := g.begin("ada@shop.example", home)
	if err != nil {
		t.Fatal(err)
	}
	at.succeeded()
	exhausted := false
	for i := range 200 {
		_, err := g.begin("ada@shop.example", netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
		exhausted = exhausted || problem.ReasonOf(err) == problem.LimitRate
	}
	if !exhausted {
		t.Fatal("positive control: strangers were never refused")
	}
	if _, err := g.begin("ada@shop.example", netip.MustParseAddr("10.9.9.9")); err == nil {
		t.Error("positive control: a new stranger is admitted")
	}
	if at, err := g.begin("ada@shop.example", home); err != nil {
		t.Errorf("the owner from the usual address: %v", err)
	} else {
		at.succeeded()
	}
	if _, err := g.begin("grace@shop.example", netip.MustParseAddr("10.9.9.9")); err != nil {
		t.Errorf("another account: %v", err)
	}
	now.advance(strangerEvery)
	if _, err := g.begin("ada@shop.example", netip.MustParseAddr("10.9.9.9")); err != nil {
		t.Errorf("a stranger after %v: %v", strangerEvery, err)
	}
}

func TestSuccessAndWithdrawalTakeBack(t *testing.T) {
	g, _ := newGuessing(100)
	for i := range 10 * strangerBurst {
		at, err := g.begin("ada@shop.example", home)
		if err != nil {
			t.Fatalf("attempt %d after successes: %v", i, err)
		}
		at.succeeded()
	}
	for i := range 10 * strangerBurst {
		at, err := g.begin("grace@shop.example", home)
		if err != nil {
			t.Fatalf("attempt %d after withdrawals: %v", i, err)
		}
		at.withdrawn()
	}
	for range freeAttempts {
		if _, err := g.begin("eve@shop.example", home); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.begin("eve@shop.example", home); err == nil {
		t.Error("positive control: attempts that are not taken back are never refused")
	}
}

func TestGuessesAreBounded(t *testing.T) {
	g, _ := newGuessing(50)
	for i := range 500 {
		if _, err := g.begin(fmt.Sprintf("user%d@shop.example", i), home); err != nil {
			t.Fatal(err)
		}
	}
	if g.accounts.len() != 50 || g.pairs.len() != 50 || len(g.pairs.byKey) != 50 {
		t.Errorf("%d accounts and %d pairs are remembered, want 50", g.accounts.len(), g.pairs.len())
	}
	if _, ok := g.pairs.get(pairKey{}); ok {
		t.Error("an entry that was never made")
	}
}
