package app

import (
	"context"
	"crypto/sha256"
	"maps"
	"sync"
	"time"

	"sallyport.dev/internal/gateway"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/store"
)

const (
	rememberedLife = 10 * time.Second // the longest that the token service believes what it looked up
	mostRemembered = 1 << 14
)

// remembered is what the token service looked up of credentials that it has
// seen: a route with `proof: signature` has a token minted for each request, and
// the store asked for each would cost more than the signature. A revocation
// drops the entry before it is answered, and beats every look-up under way.
type remembered struct {
	credentials *credentials
	clock       func() time.Time
	fresh       func(time.Time) bool // whether revocations made elsewhere are known

	mu         sync.Mutex
	generation uint64                           // guarded by mu; grows with each revocation
	known      map[rememberedKey]knownPrincipal // guarded by mu
}

type rememberedKey struct {
	hash [sha256.Size]byte
	kind gateway.CredentialKind
}

type knownPrincipal struct {
	principal policy.Principal
	until     time.Time
}

func newRemembered(c *credentials, clock func() time.Time, fresh func(time.Time) bool) *remembered {
	return &remembered{credentials: c, clock: clock, fresh: fresh, known: make(map[rememberedKey]knownPrincipal)}
}

// Authenticate is that of the credentials, remembered for a moment. The hash is
// made of the credential itself: what the caller says of it is not believed.
func (r *remembered) Authenticate(ctx context.Context, cred gateway.Credential) (policy.Principal, error) {
	key := rememberedKey{sha256.Sum256([]byte(cred.Value)), cred.Kind}
	now := r.clock()
	r.mu.Lock()
	found, ok := r.known[key]
	generation := r.generation
	r.mu.Unlock()
	if ok && now.Before(found.until) && r.fresh(now) {
		return found.principal, nil
	}
	p, until, err := r.credentials.Authenticate(ctx, cred)
	if err != nil {
		return p, err
	}
	if most := now.Add(rememberedLife); most.Before(until) {
		until = most
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.generation == generation {
		if len(r.known) >= mostRemembered {
			clear(r.known) // they are back with their next request
		}
		r.known[key] = knownPrincipal{p, until}
	}
	return p, nil
}

// forget drops what a revocation is about.
func (r *remembered) forget(v store.Revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation++
	switch v.Kind {
	case store.KindCredential: // by its hash: a look at all for each of a thousand would keep the requests waiting
		for _, kind := range gateway.CredentialKinds() {
			delete(r.known, rememberedKey{v.Credential, kind})
		}
	case store.KindSubject:
		maps.DeleteFunc(r.known, func(_ rememberedKey, k knownPrincipal) bool {
			return k.principal.Subject == v.Subject || k.principal.Owner == v.Subject
		})
	default: // all, and whatever this version does not know
		clear(r.known)
	}
}
