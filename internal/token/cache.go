package token

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"sync"
	"time"
)

// digest is the SHA-256 of a token's whole value.
type digest = [sha256.Size]byte

// entry is what is remembered of a token whose signature and claims held: not
// the token, and nothing that could be used in its place.
type entry struct {
	kid    string
	key    *ecdsa.PublicKey // the key that verified it
	claims *Claims
}

// shardCount is enough that two cores seldom meet at one lock.
const shardCount = 16

// cache remembers verified tokens, first in first out. Tokens of one zone live
// equally long, so the first in is the first to expire; where they do not, the
// bound on their number still bounds the memory. Only what carries a valid
// signature comes in, so strangers cannot push others out. The nil cache
// remembers nothing.
type cache struct {
	shards [shardCount]shard
}

type shard struct {
	mu      sync.Mutex
	entries map[digest]entry // guarded by mu; each has a place in order
	order   []digest         // guarded by mu; ring of arrivals, allocated by the first
	head    int              // guarded by mu; place of the oldest
	count   int              // guarded by mu; places taken
	most    int              // immutable
}

// newCache returns a cache of about most entries, one a shard at least.
func newCache(most int) *cache {
	c := &cache{}
	for i := range c.shards {
		c.shards[i].entries = make(map[digest]entry)
		c.shards[i].most = max(1, most/shardCount)
	}
	return c
}

// shard spreads by the digest, which nobody can choose.
func (c *cache) shard(d digest) *shard { return &c.shards[d[0]%shardCount] }

func (c *cache) get(d digest) (entry, bool) {
	if c == nil {
		return entry{}, false
	}
	s := c.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[d]
	return e, ok
}

// drop forgets a token. Its place in the ring goes when its turn comes.
func (c *cache) drop(d digest) {
	if c == nil {
		return
	}
	s := c.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, d)
}

// put remembers a token, and forgets from the oldest on what has expired or
// must make room.
func (c *cache) put(d digest, e entry, now time.Time) {
	if c == nil {
		return
	}
	s := c.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.entries[d]; known { // another request verified it meanwhile
		s.entries[d] = e
		return
	}
	if s.order == nil {
		s.order = make([]digest, s.most)
	}
	for s.count > 0 {
		oldest := s.order[s.head]
		if old, ok := s.entries[oldest]; ok && s.count < s.most && old.claims.Expires > now.Unix() {
			break
		}
		delete(s.entries, oldest)
		s.head = (s.head + 1) % s.most
		s.count--
	}
	s.order[(s.head+s.count)%s.most] = d
	s.count++
	s.entries[d] = e
}
