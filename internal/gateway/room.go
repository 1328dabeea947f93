package gateway

import (
	"errors"
	"io"
	"net/netip"
	"sync"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/problem"
)

// The room for bodies that are read before anything is sent: each stays until
// the answer is there, and a client may take long to send it.
const (
	memoryRoom = 128 << 20 // what lies in memory of each: up to httpsig.SpoolMemory
	filesRoom  = 1 << 30   // the rest
)

// room is what all bodies under way may take together, and each client of it.
type room struct {
	memory, files *shares
}

func newRoom() room { return room{newShares(memoryRoom), newShares(filesRoom)} }

// shares divides a capacity among clients: bytes, or places. While no more than
// half of it is taken, anybody may have more; beyond that, a client has an eighth at
// most: what is slow of one shuts out nobody else. Safe for concurrent use.
type shares struct {
	mu       sync.Mutex
	capacity int64                // guarded by mu
	used     int64                // guarded by mu
	holders  map[netip.Addr]int64 // guarded by mu; those that hold something
}

func newShares(capacity int64) *shares {
	return &shares{capacity: capacity, holders: make(map[netip.Addr]int64)}
}

// everybody is the holder of what many clients have together: it has no share.
var everybody netip.Addr

// take takes n, or nothing.
func (s *shares) take(client netip.Addr, n int64) bool {
	client = boundAddress(client)
	s.mu.Lock()
	defer s.mu.Unlock()
	used, own := s.used+n, s.holders[client]+n
	if used > s.capacity || client != everybody && used > s.capacity/2 && own > max(1, s.capacity/8) {
		return false
	}
	s.used, s.holders[client] = used, own
	return true
}

// resize changes the capacity. What is taken beyond it stays taken.
func (s *shares) resize(capacity int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.capacity = capacity
}

// give gives back n of what the client has taken.
func (s *shares) give(client netip.Addr, n int64) {
	client = boundAddress(client)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
	if own := s.holders[client] - n; own > 0 {
		s.holders[client] = own
	} else {
		delete(s.holders, client)
	}
}

// roomed is a body on its way into the room. It takes what it reads.
type roomed struct {
	r             io.Reader
	room          *room
	client        netip.Addr
	memory, files int64 // taken
}

var errNoRoom error = problem.New(problem.ProofUnavailable, errors.New("no room for the body, or the client has its share of it"))

// Read reads on while there is room.
func (b *roomed) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	inMemory := min(int64(n), httpsig.SpoolMemory-b.memory)
	inFile := int64(n) - inMemory
	if inMemory > 0 {
		if !b.room.memory.take(b.client, inMemory) {
			return 0, errNoRoom
		}
		b.memory += inMemory
	}
	if inFile > 0 {
		if !b.room.files.take(b.client, inFile) {
			return 0, errNoRoom
		}
		b.files += inFile
	}
	return n, err
}

// leave gives back what was taken.
func (b *roomed) leave() {
	if b.memory > 0 {
		b.room.memory.give(b.client, b.memory)
	}
	if b.files > 0 {
		b.room.files.give(b.client, b.files)
	}
	b.memory, b.files = 0, 0
}
