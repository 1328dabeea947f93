package guess

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

const victim = "ada@shop.example"

type world struct {
	testing.TB
	*Guesses
	now time.Time
}

func newWorld(t testing.TB) *world {
	w := &world{TB: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return w.now }
	memory := kv.NewMemory(clock, 1<<16)
	w.Guesses = New(memory, memory, bytes.Repeat([]byte{7}, 32), clock)
	return w
}

func (w *world) begin(account, client, device string) (Attempt, bool) {
	w.Helper()
	a, err := w.Begin(w.Context(), account, netip.MustParseAddr(client), device)
	switch problem.ReasonOf(err) {
	case problem.OK:
		return a, true
	case problem.LimitRate:
	default:
		w.Fatal(err)
	}
	return a, false
}

func (w *world) succeed(a Attempt) {
	w.Helper()
	if err := a.Succeeded(w.Context()); err != nil {
		w.Fatal(err)
	}
}

// TestTenThousandGuesses is control ID-05: from one address and from a thousand,
// at most 100 of 10,000 guesses in an hour are let through to a look, and the
// owner logs in meanwhile from a known device and a known network.
func TestTenThousandGuesses(t *testing.T) {
	for _, addresses := range []int{1, 1000} {
		t.Run(fmt.Sprint(addresses), func(t *testing.T) {
			w := newWorld(t)
			home, ok := w.begin(victim, "198.51.100.7", "")
			if !ok {
				t.Fatal("positive control: the first login is refused")
			}
			w.succeed(home)
			device, _ := w.NewDevice(victim, "")
			looked := 0
			for i := range 10_000 {
				w.now = w.now.Add(time.Hour / 10_000)
				if _, ok := w.begin(victim, fmt.Sprintf("10.0.%d.%d", i%addresses/250, i%addresses%250), ""); ok {
					looked++
				}
				if i%1000 != 999 {
					continue
				}
				for _, from := range [][2]string{{"203.0.113." + fmt.Sprint(i/1000), device}, {"198.51.100.7", ""}} {
					a, ok := w.begin(victim, from[0], from[1])
					if !ok || !a.Known {
						t.Fatalf("guess %d: the owner at %v: let in %v, known %v", i, from, ok, a.Known)
					}
					w.succeed(a)
				}
			}
			if looked == 0 || looked > 100 {
				t.Errorf("%d guesses were looked at", looked)
			}
			if _, ok := w.begin("bob@shop.example", "192.0.2.1", ""); !ok {
				t.Error("another account is held up")
			}
		})
	}
}

// TestWaitsGrow follows one network that comes back as soon as it may.
func TestWaitsGrow(t *testing.T) {
	w := newWorld(t)
	var waits []time.Duration
	for range 60 {
		_, err := w.Begin(t.Context(), victim, netip.MustParseAddr("192.0.2.1"), "")
		if err == nil {
			continue
		}
		var later interface{ RetryAfter() time.Duration }
		if !errors.As(err, &later) || later.RetryAfter() <= 0 {
			t.Fatalf("%v says no time", err)
		}
		waits = append(waits, later.RetryAfter())
		w.now = w.now.Add(later.RetryAfter())
	}
	if len(waits) < 3 || waits[0] > 6*time.Minute || slices.Max(waits) < 12*time.Hour { // counters round a window up
		t.Errorf("waits %v", waits)
	}
}

func TestDeviceIsBoundToItsAccount(t *testing.T) {
	w := newWorld(t)
	cookie, life := w.NewDevice(victim, "")
	if !w.KnownDevice(victim, cookie) {
		t.Fatal("positive control: its own device is unknown")
	}
	id, rest, _ := strings.Cut(cookie, ".")
	ends, _, _ := strings.Cut(rest, ".")
	for name, forged := range map[string]string{
		"none": "", "cut": cookie[:len(cookie)-1], "longer": cookie + "A", "another id": "A" + cookie[1:], "without signature": id + "." + ends + ".",
		"another end": strings.Replace(cookie, ends, "9999999999", 1), "huge": strings.Repeat("A", 1<<16), "dots": "...",
	} {
		if forged != cookie && w.KnownDevice(victim, forged) {
			t.Errorf("%s: %q is known", name, forged)
		}
	}
	if w.KnownDevice("bob@shop.example", cookie) {
		t.Error("the device of one account is known for another")
	}
	again, _ := w.NewDevice(victim, cookie)
	if got, _, _ := strings.Cut(again, "."); got != id {
		t.Error("a device that logs in again gets another name")
	}
	if got, _, _ := strings.Cut(first(w.NewDevice("bob@shop.example", cookie)), "."); got == id {
		t.Error("the device of one account becomes that of another")
	}
	w.now = w.now.Add(life)
	if w.KnownDevice(victim, cookie) {
		t.Error("a device is known beyond its life")
	}
}

func first(s string, _ time.Duration) string { return s }

// TestStolenDevice bounds who guesses with a copy of the owner's cookie.
func TestStolenDevice(t *testing.T) {
	w := newWorld(t)
	device, _ := w.NewDevice(victim, "")
	looked := 0
	for i := range 1000 {
		if _, ok := w.begin(victim, fmt.Sprintf("10.1.%d.%d", i/250, i%250), device); ok {
			looked++
		}
	}
	if looked == 0 || looked > 25 {
		t.Errorf("%d guesses were looked at", looked)
	}
}

// TestForgivenOnce: a right password forgets the guesses before it, and the end of
// that memory forgets none after it.
func TestForgivenOnce(t *testing.T) {
	for _, source := range []string{"device", "second"} {
		w := newWorld(t)
		device, _ := w.NewDevice(victim, "")
		try := func() (Attempt, bool) {
			if source == "device" {
				return w.begin(victim, "192.0.2.1", device)
			}
			a, err := w.Second(t.Context(), victim, "")
			return a, err == nil
		}
		a, ok := try()
		if !ok {
			t.Fatal("positive control: the first is refused")
		}
		w.succeed(a)
		w.now = w.now.Add(20 * time.Hour) // so that the memory ends while many are counted
		var admitted []time.Time
		for range 6 * 24 * 3 { // who comes each ten minutes for three days
			w.now = w.now.Add(10 * time.Minute)
			for range 10 {
				if _, ok := try(); ok {
					admitted = append(admitted, w.now)
				}
			}
		}
		most := map[string]int{"device": 60, "second": 50}[source]
		for i, at := range admitted {
			if i >= most && at.Sub(admitted[i-most]) < 24*time.Hour {
				t.Fatalf("%s: over %d guesses in the day before %v", source, most, at)
			}
		}
		if len(admitted) < 2*most {
			t.Errorf("%s: %d guesses in three days: the waits do not end", source, len(admitted))
		}
	}
}

// TestRemember: a login that guessed at nothing is remembered while strangers have
// used up their guesses, and takes none of theirs.
func TestRemember(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		w.begin(victim, fmt.Sprintf("10.2.0.%d", i), "")
	}
	const home = "198.51.100.7"
	if _, ok := w.begin(victim, home, ""); ok {
		t.Fatal("positive control: strangers have guesses left")
	}
	if err := w.Remember(t.Context(), victim, netip.MustParseAddr(home), ""); err != nil {
		t.Fatal(err)
	}
	if a, ok := w.begin(victim, home, ""); !ok || !a.Known {
		t.Errorf("let in %v, known %v", ok, a.Known)
	}
	if _, ok := w.begin(victim, "10.2.1.1", ""); ok {
		t.Error("it gave a stranger a guess")
	}
}

// TestSharedNetwork: who shares a network with the owner of an account is told the
// same of that account and of one that there is not, for one and for many.
func TestSharedNetwork(t *testing.T) {
	w := newWorld(t)
	const office = "198.51.100.7"
	home, ok := w.begin(victim, office, "")
	if !ok {
		t.Fatal("positive control: the first login is refused")
	}
	w.succeed(home)
	for n := range 200 {
		_, known := w.begin(victim, office, "")
		_, unknown := w.begin("nobody@shop.example", office, "")
		if known != unknown {
			t.Fatalf("guess %d: known %v, unknown %v", n, known, unknown)
		}
		w.begin(fmt.Sprintf("user%d@shop.example", n), office, "")
		w.now = w.now.Add(time.Minute)
	}
}

// TestOfficeLogsIn: right passwords use up nothing that colleagues share, and leave
// those who guess among them the bound that they had.
func TestOfficeLogsIn(t *testing.T) {
	w := newWorld(t)
	const office = "198.51.100.7"
	for n := range 2000 {
		a, ok := w.begin(fmt.Sprintf("user%d@shop.example", n), office, "")
		if !ok {
			t.Fatalf("colleague %d is held up", n)
		}
		w.succeed(a)
	}
	looked := 0
	for n := range 500 {
		if _, ok := w.begin(fmt.Sprintf("user%d@shop.example", n), office, ""); ok {
			looked++
		}
		own, ok := w.begin("mallory@shop.example", office, "") // who has an account of their own
		if ok {
			w.succeed(own)
		}
	}
	if looked != 120 {
		t.Errorf("%d guesses were looked at, want 120", looked)
	}
}

// TestSite: whoever holds a /48 of IPv6 does not use up what all strangers share.
func TestSite(t *testing.T) {
	w := newWorld(t)
	looked := 0
	for n := range 5000 {
		if _, ok := w.begin(fmt.Sprintf("user%d@shop.example", n), fmt.Sprintf("2001:db8:1:%x::1", n), ""); ok {
			looked++
		}
	}
	if looked != 400 {
		t.Errorf("%d guesses were looked at, want 400", looked)
	}
	if _, ok := w.begin("bob@shop.example", "2001:db8:2::1", ""); !ok {
		t.Error("another customer is held up")
	}
}

func TestSpray(t *testing.T) {
	w := newWorld(t)
	looked := 0
	for i := range 1000 {
		if _, ok := w.begin(fmt.Sprintf("user%d@shop.example", i), "192.0.2.1", ""); ok {
			looked++
		}
	}
	if looked == 0 || looked > 120 {
		t.Errorf("one network was let look at %d accounts", looked)
	}
}

func TestSecondFactorsShareOneBudget(t *testing.T) {
	w := newWorld(t)
	second := func() bool {
		a, err := w.Second(t.Context(), "u1", "")
		if err == nil {
			_ = a
		} else if problem.ReasonOf(err) != problem.LimitRate {
			t.Fatal(err)
		}
		return err == nil
	}
	looked := 0
	for range 1000 {
		if second() {
			looked++
		}
	}
	if looked != 10 {
		t.Errorf("%d were looked at, want 10", looked)
	}
	w.now = w.now.Add(20 * time.Minute)
	a, err := w.Second(t.Context(), "u1", "")
	if err != nil {
		t.Fatal("the wait does not end")
	}
	w.succeed(a)
	if !second() {
		t.Error("a right factor does not forget the wrong ones")
	}
}

// TestSecondFactorsOfTheOwner: strangers who have the password leave the owner's
// device and network budgets of their own, each with its bound.
func TestSecondFactorsOfTheOwner(t *testing.T) {
	w := newWorld(t)
	device, _ := w.NewDevice(victim, "")
	home, _ := w.begin(victim, "198.51.100.7", "")
	w.succeed(home)
	looked := func(client, device string) (n int) {
		whence, err := w.Whence(t.Context(), victim, netip.MustParseAddr(client), device)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if _, err := w.Second(t.Context(), "u1", whence); err == nil {
				n++
			}
		}
		return n
	}
	_, rest, _ := strings.Cut(device, ".")
	if n := looked("192.0.2.1", "") + looked("192.0.2.2", "AAAAAAAAAAAAAAAAAAAA."+rest); n != 10 {
		t.Errorf("strangers: %d were looked at, want 10", n)
	}
	for _, of := range [][2]string{{"203.0.113.1", device}, {"198.51.100.7", ""}} {
		if n := looked(of[0], of[1]); n != 10 {
			t.Errorf("the owner at %v: %d were looked at, want 10", of, n)
		}
	}
	if n := looked("203.0.113.2", device); n != 0 {
		t.Errorf("the device at another network: %d more were looked at", n)
	}
}

func TestLetters(t *testing.T) {
	w := newWorld(t)
	ask := func(to, from string) (bool, problem.Reason) {
		send, err := w.Letter(t.Context(), "recover", to, netip.MustParseAddr(from), "")
		return send, problem.ReasonOf(err)
	}
	sent := 0
	for i := range 50 {
		send, reason := ask(victim, fmt.Sprintf("10.0.0.%d", i))
		if reason != problem.OK {
			t.Fatalf("%v: the answer tells of the mailbox", reason)
		}
		if send {
			sent++
		}
	}
	if sent != 3 {
		t.Errorf("%d letters to one mailbox", sent)
	}
	if send, err := w.Letter(t.Context(), "register", victim, netip.MustParseAddr("10.1.0.1"), ""); !send || err != nil {
		t.Errorf("letters of one kind use up those of another: %v %v", send, err)
	}
	refused := 0
	for i := range 50 {
		if _, reason := ask(fmt.Sprintf("user%d@shop.example", i), "192.0.2.1"); reason == problem.LimitRate {
			refused++
		}
	}
	if refused != 30 {
		t.Errorf("one network was refused %d of 50 letters, want 30", refused)
	}
}

// broken is an engine that is away.
type broken struct{ *kv.Memory }

func (broken) Take(context.Context, string, zone.Rate, time.Time) (kv.Result, error) {
	return kv.Result{}, kv.ErrUnavailable
}

func TestUncountedIsRefused(t *testing.T) {
	memory := kv.NewMemory(time.Now, 1000)
	g := New(broken{memory}, memory, make([]byte, 32), time.Now)
	_, err := g.Begin(t.Context(), victim, netip.MustParseAddr("192.0.2.1"), "")
	if problem.ReasonOf(err) != problem.LimitUnavailable {
		t.Errorf("%v", err)
	}
	if send, err := g.Letter(t.Context(), "recover", victim, netip.MustParseAddr("192.0.2.1"), ""); send || problem.ReasonOf(err) != problem.LimitUnavailable {
		t.Errorf("%v %v", send, err)
	}
}

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := Network(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if Network(netip.Addr{}).IsValid() {
		t.Error("no address has a network")
	}
}

// TestOwnAccountWidensNothing: who has an account of their own, and logs in by it all
// the while, many times at once, guesses no more at others than anybody does.
func TestOwnAccountWidensNothing(t *testing.T) {
	w := newWorld(t)
	const own, from = "eve@shop.example", "192.0.2.66"
	var looked []time.Time
	var held []Attempt
	for i := range 6000 { // two hours
		w.now = w.now.Add(1200 * time.Millisecond)
		if a, ok := w.begin(own, from, ""); ok {
			held = append(held, a)
		}
		if _, ok := w.begin(fmt.Sprintf("user%d@shop.example", i), from, ""); ok {
			looked = append(looked, w.now)
		}
		if len(held) == 8 || i%7 == 0 {
			for _, a := range held {
				w.succeed(a)
			}
			held = nil
		}
	}
	if len(looked) < spray[0].Count {
		t.Fatalf("positive control: %d looks", len(looked))
	}
	for i, at := range looked {
		n := 0
		for _, other := range looked[i:] {
			if other.Sub(at) < spray[0].Window-10*time.Second { // as long as a login is under way
				n++
			}
		}
		if n > spray[0].Count {
			t.Fatalf("%d looks within %s, want %d", n, spray[0].Window, spray[0].Count)
		}
	}
	if len(looked) > spray[1].Count {
		t.Errorf("%d looks in two hours, want %d in a day", len(looked), spray[1].Count)
	}
}
