package workload

import (
	"testing"
	"time"
)

func TestRenewalIsOfTheOldest(t *testing.T) {
	began := time.Now()
	now := began
	s, err := New(Config{Zone: testZone, Issuer: newAuthority(t, time.Hour), Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	x := svids{server: s}
	step := func(after time.Duration, names ...string) (keys []string, renew time.Duration) {
		t.Helper()
		now = began.Add(after)
		m, at, err := x.next(t.Context(), facts{}, names)
		if err != nil {
			t.Fatal(err)
		}
		for _, svid := range m.Svids {
			keys = append(keys, string(svid.X509SvidKey))
		}
		return keys, at.Sub(began)
	}
	first, renew := step(0, "a")
	if renew < 23*time.Minute || renew > 30*time.Minute {
		t.Errorf("renewed after %s of an hour, want 24 to 30 minutes", renew)
	}
	second, later := step(20*time.Minute, "a", "b")
	if later != renew || second[0] != first[0] {
		t.Errorf("with b beside it a is renewed after %s, its key kept: %v, want %s and the key", later, second[0] == first[0], renew)
	}
	message := x.message
	if step(renew-time.Second, "a", "b"); x.message != message {
		t.Error("renewed before it was due")
	}
	third, _ := step(renew, "a", "b")
	if third[0] == first[0] || third[1] == second[1] {
		t.Error("not all was renewed when it was due")
	}
	if fourth, _ := step(renew+time.Minute, "b"); len(fourth) != 1 || fourth[0] != third[1] {
		t.Error("b alone: want what it had")
	}
	now = began.Add(48 * time.Hour) // the machine slept, and the issuer's clock did not
	if _, _, err := x.next(t.Context(), facts{}, []string{"b"}); err == nil {
		t.Error("a certificate that ended before it began is handed out")
	}
}
