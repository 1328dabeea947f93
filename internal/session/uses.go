package session

import (
	"sync"
	"time"
)

// maxUses bounds the uses that wait to be written.
const maxUses = 100_000

// uses are the uses of sessions that are not written down yet, by token hash.
type uses struct {
	mu   sync.Mutex
	last map[[32]byte]time.Time
}

// of returns the last use that waits; the zero time when none does.
func (u *uses) of(hash [32]byte) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last[hash]
}

// note remembers a use; false when there is no room: it is as if unused, and
// may end early.
func (u *uses) note(hash [32]byte, at time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = make(map[[32]byte]time.Time)
	}
	if _, waits := u.last[hash]; !waits && len(u.last) >= maxUses {
		return false
	}
	u.last[hash] = at
	return true
}

// use is one use that waits.
type use struct {
	hash [32]byte
	at   time.Time
}

// all returns what waits. It goes on waiting until done is called: a lookup in
// between finds it here or in its row.
func (u *uses) all() []use {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := make([]use, 0, len(u.last))
	for hash, at := range u.last {
		list = append(list, use{hash, at})
	}
	return list
}

// done forgets uses that were written, unless newer ones came.
func (u *uses) done(list []use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, w := range list {
		if u.last[w.hash].Equal(w.at) {
			delete(u.last, w.hash)
		}
	}
}
