package journal

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// shelf is the list of closed segments, oldest first, and what they weigh.
type shelf struct {
	mu    sync.Mutex
	books []book
	floor file // rewritten in place: a full disk must not keep anything from being freed
}

// book is one closed segment.
type book struct {
	Info
	begin   Head
	newest  time.Time // of its records; of its closing while it is not sealed
	busy    bool      // being sealed
	damaged bool      // cannot be sealed; stays as it is until retention frees it
}

func (s *shelf) put(b book) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.books = append(s.books, b)
}

func (s *shelf) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum int64
	for _, b := range s.books {
		sum += b.Size
	}
	return sum
}

// unsealed takes the oldest segment that waits to be sealed and marks it busy;
// more says how many wait behind it.
func (s *shelf) unsealed() (number uint64, more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.books {
		switch b := &s.books[i]; {
		case b.Sealed || b.damaged || b.busy:
		case number == 0:
			number, b.busy = b.Number, true
		default:
			more++
		}
	}
	return number, more
}

// change applies f to a segment, which is then no longer busy. It is false when
// the segment was freed meanwhile.
func (s *shelf) change(number uint64, f func(*book)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.books {
		if s.books[i].Number == number {
			s.books[i].busy = false
			f(&s.books[i])
			return true
		}
	}
	return false
}

// free removes segments, the oldest first, as long as wanted says so and keep
// does not forbid it. next is where the live segment begins. The floor is moved
// before a file goes, so that a missing segment is either below the floor or a
// finding.
func (s *shelf) free(d disk, next Head, keep func(Info) bool, wanted func(b book, left int64) bool) (freed int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left int64
	for _, b := range s.books {
		left += b.Size
	}
	floor := next
	for _, b := range s.books {
		if !wanted(b, left) || keep != nil && keep(b.Info) {
			floor = b.begin
			break
		}
		left -= b.Size
		freed++
	}
	if freed == 0 {
		return 0, nil
	}
	if _, err := s.floor.WriteAt(floor.line(), 0); err != nil {
		return 0, fmt.Errorf("journal: move floor: %w", err)
	}
	if err := s.floor.Sync(); err != nil {
		return 0, fmt.Errorf("journal: move floor: %w", err)
	}
	for _, b := range s.books[:freed] {
		if err := d.remove(b.name()); err != nil {
			return 0, fmt.Errorf("journal: free segment %d: %w", b.Number, err)
		}
	}
	s.books = slices.Delete(s.books, 0, freed)
	return freed, nil
}
