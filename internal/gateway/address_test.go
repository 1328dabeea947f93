package gateway

import (
	"net/netip"
	"testing"
	"time"

	"sallyport.dev/zone"
)

func TestAddressBound(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	b := newAddressBound(zone.Rate{Count: 10, Window: 10 * time.Second}, maxAddresses, false)
	a := addr("203.0.113.7")
	for i := range 10 {
		if ok, _ := b.take(a, now); !ok {
			t.Fatalf("request %d of the burst was refused", i+1)
		}
	}
	ok, retry := b.take(a, now)
	if ok || retry != time.Second {
		t.Errorf("beyond the burst: got %v, retry in %v; want refused, 1s", ok, retry)
	}
	if ok, _ := b.take(a, now.Add(retry)); !ok {
		t.Error("refused after waiting as told")
	}
	if ok, _ := b.take(a, now.Add(retry)); ok {
		t.Error("a second one was let through in the same second")
	}
	if ok, _ := b.take(addr("203.0.113.8"), now); !ok {
		t.Error("another address was refused")
	}
	// Over any long time no more than the rate: that is what the bound is for.
	taken := 0
	for at := now.Add(time.Minute); at.Before(now.Add(2 * time.Minute)); at = at.Add(100 * time.Millisecond) {
		if ok, _ := b.take(a, at); ok {
			taken++
		}
	}
	if taken < 60 || taken > 70 {
		t.Errorf("%d requests in a minute at 1/s with a burst of 10", taken)
	}
}

func TestAddressBoundWhoIsOne(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		first, second string
		same          bool
	}{
		{"203.0.113.7", "203.0.113.7", true},
		{"203.0.113.7", "203.0.113.6", false},
		{"203.0.113.7", "::ffff:203.0.113.7", true},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true}, // a /64 is one client
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
	} {
		b := newAddressBound(zone.Rate{Count: 1, Window: time.Minute}, maxAddresses, false)
		b.take(addr(c.first), now)
		if ok, _ := b.take(addr(c.second), now); ok == c.same {
			t.Errorf("%s and %s: counted as one %v, want %v", c.first, c.second, !ok, c.same)
		}
	}
	for _, loopback := range []string{"127.0.0.1", "::1"} {
		for _, bounded := range []bool{false, true} {
			b := newAddressBound(zone.Rate{Count: 1, Window: time.Minute}, maxAddresses, bounded)
			b.take(addr(loopback), now)
			if ok, _ := b.take(addr(loopback), now); ok == bounded {
				t.Errorf("%s with Loopback %v: second allowed %v", loopback, bounded, ok)
			}
		}
	}
	b := newAddressBound(zone.Rate{}, maxAddresses, true)
	for range 100 {
		if ok, _ := b.take(netip.Addr{}, now); !ok {
			t.Fatal("no rate must be no bound")
		}
	}
}

// TestAddressBoundIsBounded: a flood of addresses takes no more memory, and does
// not free the one that owes the most.
func TestAddressBoundIsBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	const most = 1024
	b := newAddressBound(zone.Rate{Count: 100, Window: time.Minute}, most, false)
	heavy := addr("203.0.113.7")
	for range 100 {
		b.take(heavy, now)
	}
	a := addr("10.0.0.0")
	for range 20 * most {
		a = a.Next()
		b.take(a, now)
	}
	total := 0
	for i := range b.shards {
		total += len(b.shards[i].owed)
	}
	if total > most {
		t.Errorf("%d addresses are remembered, want at most %d", total, most)
	}
	if ok, _ := b.take(heavy, now); ok {
		t.Error("a flood of other addresses freed the one over its bound")
	}
	// When their debts are paid, they make room first.
	for range 20 * most {
		a = a.Next()
		b.take(a, now.Add(time.Hour))
	}
	if ok, _ := b.take(heavy, now.Add(time.Hour)); !ok {
		t.Error("refused an hour later")
	}
}

func BenchmarkAddressBound(b *testing.B) {
	bound := newAddressBound(zone.Rate{Count: 1 << 30, Window: time.Minute}, maxAddresses, false)
	a, now := addr("203.0.113.7"), time.Unix(1_700_000_000, 0)
	b.ReportAllocs()
	for b.Loop() {
		if ok, _ := bound.take(a, now); !ok {
			now = now.Add(time.Hour)
		}
	}
}
