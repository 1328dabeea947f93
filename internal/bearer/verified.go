package bearer

import (
	"crypto/sha256"
	"sync"
	"time"

	"sallyport.dev/internal/outward"
	"sallyport.dev/internal/policy"
)

// digest is the SHA-256 of a token: the only form that is kept.
type digest = [sha256.Size]byte

func digestOf(token string) digest { return sha256.Sum256([]byte(token)) }

// entry is what is remembered of a token that was verified.
type entry struct {
	issuer    *issuer
	keys      *outward.KeySet // in use when it was verified: others end it
	principal policy.Principal
	expires   time.Time // of the token
	until     time.Time // not believed from then on; never past expires
}

// verified remembers tokens whose signature held. Only what carries a valid
// signature comes in, so strangers cannot push others out.
type verified struct {
	most int

	mu      sync.Mutex
	entries map[digest]entry // guarded by mu
}

func newVerified(most int) *verified {
	return &verified{most: most, entries: make(map[digest]entry)}
}

func (v *verified) get(d digest, now time.Time) (entry, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e, ok := v.entries[d]
	return e, ok && now.Before(e.until)
}

func (v *verified) put(d digest, e entry, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.entries[d]; !known && len(v.entries) >= v.most {
		v.makeRoom(now)
	}
	v.entries[d] = e
}

// makeRoom drops what is over of the few entries it looks at, or else one of
// them: that costs a look at a signature and nothing more.
func (v *verified) makeRoom(now time.Time) {
	const few = 16
	var last digest
	seen, freed := 0, false
	for d, e := range v.entries {
		if !now.Before(e.until) {
			delete(v.entries, d)
			freed = true
		}
		last = d
		if seen++; seen == few {
			break
		}
	}
	if !freed {
		delete(v.entries, last)
	}
}
