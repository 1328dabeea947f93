package store

import (
	"testing"
	"time"
	"unsafe"
)

// slept is t as a host shows it that slept so long before: of the two clocks in
// a time the monotonic one stood still.
func slept(t time.Time, d time.Duration) time.Time {
	t = t.Add(d)
	(*struct { // as package time has it
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&t)).ext -= int64(d) // #nosec G103 -- nothing else makes such a time
	return t
}

func TestFresh(t *testing.T) {
	const grace = 5 * time.Second
	heard := time.Now()
	if now := slept(heard, time.Hour); now.Sub(heard) != 0 || now.Round(0).Sub(heard.Round(0)) != time.Hour {
		t.Fatalf("a host that slept an hour shows %s and %s", now.Sub(heard), now.Round(0).Sub(heard.Round(0)))
	}
	for _, c := range []struct {
		name  string
		now   time.Time
		alone bool
		want  bool
	}{
		{"at once", heard, false, true},
		{"at the grace", heard.Add(grace), false, true},
		{"past it", heard.Add(grace + 1), false, false},
		{"after a sleep of the host", slept(heard, time.Hour), false, false},
		{"after a short one", slept(heard, time.Second), false, true},
		{"with the clock set back", slept(heard.Add(grace+time.Second), -time.Hour), false, false},
		{"of one process", slept(heard, time.Hour), true, true},
	} {
		f := &Follower{alone: c.alone}
		f.heard.Store(&heard)
		if got := f.Fresh(c.now, grace); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
