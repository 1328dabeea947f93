package gateway

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"sallyport.dev/zone"
)

// AddressBounds bound what one client address may do before anything is known
// of it. They are not quotas: those are the map's `limit` and `limits.rate`.
// They keep one address from taking the door for itself.
type AddressBounds struct {
	Requests    zone.Rate // per client address, as trusted proxies tell it
	Connections zone.Rate // new ones, per peer address; trusted proxies have no such bound
	Loopback    bool      // bound loopback addresses too; see DefaultAddressBounds
}

// DefaultAddressBounds returns 3000 requests and 600 new connections in 10 s,
// in a burst or spread out. A request that is refused costs some 50 us and a
// handshake some 500 us, so an address that does its worst takes 2 to 3 % of a
// core, while an office behind one address does not notice. IPv6 clients are
// bounded by /64, because a host may choose freely within its own.
//
// Loopback is not bounded: what comes from this host is a test, or a reverse
// proxy that the map does not name as trusted, and then the bound would hold
// everybody at once. A local process has cheaper ways to take the machine.
func DefaultAddressBounds() AddressBounds {
	return AddressBounds{
		Requests:    zone.Rate{Count: 3000, Window: 10 * time.Second},
		Connections: zone.Rate{Count: 600, Window: 10 * time.Second},
	}
}

const (
	maxAddresses  = 1 << 16 // remembered at once, some 3 MiB
	addressShards = 64
)

// addressBound is one bound over all addresses: the generic cell rate
// algorithm, with one time per address. An address of which nothing is known
// starts with a whole burst.
type addressBound struct {
	step     int64 // ns that a request costs
	burst    int64 // ns that may be owed
	loopback bool
	shards   [addressShards]addressShard
	perShard int
}

type addressShard struct {
	mu sync.Mutex
	// owed says until when (Unix ns) an address has used up what flows in. Guarded by mu.
	owed map[netip.Addr]int64
}

// newAddressBound returns a bound; a rate without a count bounds nothing.
func newAddressBound(rate zone.Rate, most int, loopback bool) *addressBound {
	b := &addressBound{loopback: loopback, perShard: max(1, most/addressShards)}
	if rate.Count > 0 && rate.Window > 0 {
		b.step = max(1, int64(rate.Window)/int64(rate.Count))
		b.burst = int64(rate.Window)
	}
	for i := range b.shards {
		b.shards[i].owed = make(map[netip.Addr]int64)
	}
	return b
}

// take takes one from the allowance of an address. When nothing is left, retry
// says in how long there will be.
func (b *addressBound) take(a netip.Addr, now time.Time) (ok bool, retry time.Duration) {
	if b.step == 0 || a.IsLoopback() && !b.loopback {
		return true, 0
	}
	a = boundAddress(a)
	s := &b.shards[shardOf(a)]
	at := now.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	owed, known := s.owed[a]
	if owed < at {
		owed = at
	}
	if owed+b.step-at > b.burst {
		return false, time.Duration(owed + b.step - at - b.burst)
	}
	if !known && len(s.owed) >= b.perShard {
		s.makeRoom(at)
	}
	s.owed[a] = owed + b.step
	return true, 0
}

// makeRoom forgets addresses that owe nothing, of the few it looks at; when
// none of them is free of debt, the one that owes least. Which ones it looks at
// is chosen by the map's own order, which a client cannot know.
func (s *addressShard) makeRoom(at int64) {
	const look = 16
	var least netip.Addr
	owes, seen, freed := int64(math.MaxInt64), 0, false
	for a, owed := range s.owed {
		if owed <= at {
			delete(s.owed, a)
			freed = true
		} else if owed < owes {
			least, owes = a, owed
		}
		if seen++; seen == look {
			break
		}
	}
	if !freed {
		delete(s.owed, least)
	}
}

// boundAddress is what counts as one client: an IPv4 address, an IPv6 /64.
func boundAddress(a netip.Addr) netip.Addr {
	if a.Is6() && !a.Is4In6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a.Unmap()
}

// shardOf spreads addresses; it need not be unpredictable, as every shard is bounded.
func shardOf(a netip.Addr) int {
	b := a.As16()
	h := uint32(2166136261) // FNV-1a
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return int(h % addressShards)
}
