package httpsig

import "sync"

const (
	shardBits  = 6 // enough that two cores seldom meet at one lock
	shardCount = 1 << shardBits

	// acceptance is the longest time, in seconds, from the first moment at which
	// a proof can be accepted to the last: its life and the leeway at both ends.
	acceptance = lifeSeconds + 2*leewaySeconds

	firstSlots = 64 // of a table, when the first proof comes
)

// noted is the answer of a shard. The zero value refuses.
type noted uint8

const (
	full noted = iota
	seenBefore
	forgotten
	fresh
)

// shard remembers in two generations, each of which spans the whole acceptance:
// what was noted in the last second of one is still there when it ends.
type shard struct {
	mu         sync.Mutex
	generation int64 // guarded by mu; number of the current span since 1970
	now        table // guarded by mu; noted in this generation
	before     table // guarded by mu; noted in the one before
	most       int   // immutable; entries of one table

	by map[string]int // guarded by mu; entries of now, by sender
}

// note remembers a mark of a sender at the given second. until is the last second at which
// its proof can be accepted.
func (s *shard) note(id string, mark uint64, second, until int64) noted {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(second / acceptance)
	// What has gone with older generations ended before this one began. When the
	// clock goes back, such a proof could be in its life once more.
	if until < s.generation*acceptance {
		return forgotten
	}
	if s.now.has(mark) || s.before.has(mark) {
		return seenBefore
	}
	if s.by[id] >= s.most/2 || !s.now.add(mark, s.most) {
		return full
	}
	if s.by == nil {
		s.by = make(map[string]int)
	}
	s.by[id]++
	return fresh
}

// turn goes on to a generation. It does not go back: then the clock did, and
// what is known stays known.
func (s *shard) turn(to int64) {
	switch {
	case to <= s.generation:
		return
	case to == s.generation+1:
		s.now, s.before = s.before, s.now
		s.now.clear()
	default: // nothing for a whole generation: the room is given back too
		s.now, s.before = table{}, table{}
	}
	clear(s.by)
	s.generation = to
}

// table is a flat set of marks with open addressing. Its length is a power of two.
type table struct {
	slots []uint64 // 0: free
	count int
}

func (t *table) has(mark uint64) bool {
	if len(t.slots) == 0 {
		return false
	}
	return t.slots[t.place(mark)] == mark
}

// place returns where mark is or would be. There is always a free slot.
func (t *table) place(mark uint64) uint64 {
	last := uint64(len(t.slots)) - 1
	i := mark & last
	for t.slots[i] != 0 && t.slots[i] != mark {
		i = (i + 1) & last
	}
	return i
}

// add puts in a mark that is not there; false when there are most already. At
// three quarters the table doubles, so that chains stay short.
func (t *table) add(mark uint64, most int) bool {
	if t.count >= most {
		return false
	}
	if (t.count+1)*4 > len(t.slots)*3 {
		old := t.slots
		t.slots = make([]uint64, max(firstSlots, 2*len(old)))
		for _, m := range old {
			if m != 0 {
				t.slots[t.place(m)] = m
			}
		}
	}
	t.slots[t.place(mark)] = mark
	t.count++
	return true
}

// clear empties the table and keeps its room.
func (t *table) clear() {
	clear(t.slots)
	t.count = 0
}
