package session

import (
	"testing"
	"time"
)

// A use that comes while an older one is being written is not forgotten with it.
func TestUsesOutliveTheWrite(t *testing.T) {
	var u uses
	now := time.Unix(1000, 0)
	a, b := [32]byte{1}, [32]byte{2}
	u.note(a, now)
	u.note(b, now)
	written := u.all()
	if len(written) != 2 {
		t.Errorf("waiting: %v, want two", written)
	}
	if got := u.of(a); !got.Equal(now) {
		t.Errorf("while it is written: %v, want %v", got, now)
	}
	later := now.Add(time.Minute)
	u.note(a, later)
	u.done(written)
	if got := u.of(a); !got.Equal(later) {
		t.Errorf("newer use = %v, want %v", got, later)
	}
	if got := u.of(b); !got.IsZero() {
		t.Errorf("written use = %v, want none", got)
	}
}

func TestUsesAreBounded(t *testing.T) {
	var u uses
	for i := range maxUses {
		if !u.note([32]byte{byte(i), byte(i >> 8), byte(i >> 16)}, time.Unix(1, 0)) {
			t.Fatalf("use %d was not noted", i)
		}
	}
	if u.note([32]byte{31: 1}, time.Unix(1, 0)) {
		t.Error("one use more was noted")
	}
	if !u.note([32]byte{}, time.Unix(2, 0)) {
		t.Error("a newer use of a session that waits was not noted")
	}
}
