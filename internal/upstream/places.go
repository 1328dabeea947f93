package upstream

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
)

// places are the places of an instance for requests under way, each with its
// holder. While no more than half of them are taken, anybody may have the next;
// beyond that, one holder may have no more than its share, so that a client who
// reads or sends very slowly, in many requests, does not shut out the others.
//
// There is no account of holders to keep: a request writes its name into a free
// place, and only when it is crowded somebody reads them all.
type places struct {
	holders []atomic.Uint64 // 0: free
	share   int             // of one holder, when it is crowded
}

// sharePart: an eighth, so that four more slow clients are needed for the places
// that are left when one has taken half.
const sharePart = 8

func newPlaces(n int) places {
	return places{holders: make([]atomic.Uint64, n), share: max(1, n/sharePart)}
}

// holderOf is the name of a client address among the holders: an IPv6 client has
// one with its whole /64, in which it may choose freely. The seed keeps others
// from choosing an address of the same name.
func holderOf(seed maphash.Seed, client netip.Addr) uint64 {
	b := client.As16()
	n := len(b)
	if client.Is6() && !client.Is4In6() {
		n = 8
	}
	return max(1, maphash.Bytes(seed, b[:n]))
}

// closedTo reports whether the holder may have no place. taken is how many are:
// requests of the same moment do not see each other, and may have one too many each.
func (p *places) closedTo(holder uint64, taken int) bool {
	if taken >= len(p.holders) {
		return true
	}
	if 2*taken <= len(p.holders) {
		return false
	}
	has := 0
	for i := range p.holders {
		if p.holders[i].Load() == holder {
			if has++; has >= p.share {
				return true
			}
		}
	}
	return false
}

// take takes a free place; false when there is none. The search begins anywhere,
// so that it mostly ends at once.
func (p *places) take(holder uint64, begin uint32) (place int32, ok bool) {
	n := len(p.holders)
	at := int(begin % uint32(n))
	for range n {
		if p.holders[at].Load() == 0 && p.holders[at].CompareAndSwap(0, holder) {
			return int32(at), true
		}
		if at++; at == n {
			at = 0
		}
	}
	return 0, false
}

func (p *places) leave(place int32) { p.holders[place].Store(0) }
