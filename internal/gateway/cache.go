package gateway

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/policy"
)

const (
	principalLife   = 30 * time.Second // the longest that a principal is believed
	maxPrincipals   = 1 << 17          // remembered at once
	principalShards = 64
)

// credentialKey is by what a principal is remembered. The place of the
// credential belongs to it, because the principal says how it authenticated.
type credentialKey struct {
	hash [sha256.Size]byte
	kind CredentialKind
}

// entry is a principal that was found, with the inside tokens made for it. It
// dies with the credential, with any change of the principal's rights, and of
// age: a new look-up makes a new one.
type entry struct {
	key       credentialKey
	number    uint64            // of no other entry: names its tokens
	principal *policy.Principal // immutable
	until     time.Time         // not believed from then on
	tokens    [maxListeners]atomic.Pointer[insideToken]
}

// principals remembers what the authenticator said. Negative answers are never
// remembered: a session that is made is good at once, and guesses are bounded
// by address.
//
// A revocation beats every look-up that was under way: generation grows before
// entries are dropped, and put keeps nothing that was asked for in an older one.
type principals struct {
	generation atomic.Uint64
	numbers    atomic.Uint64
	shards     [principalShards]principalShard
	vigils     vigils // of the open streams: what is forgotten is looked at anew
	perShard   int
}

type principalShard struct {
	mu      sync.RWMutex
	entries map[credentialKey]*entry // guarded by mu
}

func newPrincipals(most int) *principals {
	p := &principals{perShard: max(1, most/principalShards)}
	for i := range p.shards {
		p.shards[i].entries = make(map[credentialKey]*entry)
	}
	return p
}

// A SHA-256 is spread evenly by itself.
func (p *principals) shard(hash [sha256.Size]byte) *principalShard {
	return &p.shards[hash[0]%principalShards]
}

// get returns the entry of a credential, nil when there is none to be believed.
func (p *principals) get(key credentialKey, now time.Time) *entry {
	s := p.shard(key.hash)
	s.mu.RLock()
	e := s.entries[key]
	s.mu.RUnlock()
	if e == nil || !now.Before(e.until) {
		return nil
	}
	return e
}

// put remembers an entry that was asked for in a generation, unless something
// has been revoked since.
func (p *principals) put(e *entry, generation uint64, now time.Time) {
	if !now.Before(e.until) {
		return
	}
	s := p.shard(e.key.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Under the lock: forget raises the generation before it takes the lock, so
	// either it is seen here, or forget finds the entry.
	if p.generation.Load() != generation {
		return
	}
	if _, known := s.entries[e.key]; !known && len(s.entries) >= p.perShard {
		s.makeRoom(now)
	}
	s.entries[e.key] = e
}

// makeRoom drops what is too old of the few entries it looks at, or else one of
// them. Dropping a live one costs a look-up and nothing more.
func (s *principalShard) makeRoom(now time.Time) {
	const look = 16
	var any credentialKey
	seen, freed := 0, false
	for key, e := range s.entries {
		if !now.Before(e.until) {
			delete(s.entries, key)
			freed = true
		}
		any = key
		if seen++; seen == look {
			break
		}
	}
	if !freed {
		delete(s.entries, any)
	}
}

// forget drops a credential, in whatever place it was sent.
func (p *principals) forget(hash [sha256.Size]byte) {
	defer p.vigils.forget(hash) // last: they ask for what is dropped here
	p.generation.Add(1)
	s := p.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, kind := range CredentialKinds() {
		delete(s.entries, credentialKey{hash, kind})
	}
}

// forgetSubject drops all credentials of a subject, and the keys of programs that
// it owns: they rest with it. It looks at every entry:
// such revocations are rare, and an index would cost every look-up.
func (p *principals) forgetSubject(subject string) {
	defer p.vigils.forgetSubject(subject) // likewise
	p.generation.Add(1)
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		for key, e := range s.entries {
			if e.principal.Subject == subject || e.principal.Owner == subject {
				delete(s.entries, key)
			}
		}
		s.mu.Unlock()
	}
}

// forgetAll drops everything.
func (p *principals) forgetAll() {
	p.generation.Add(1)
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		clear(s.entries)
		s.mu.Unlock()
	}
}
