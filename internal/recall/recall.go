// Package recall remembers for a moment what was found of credentials, where the
// store asked each time would cost more than the work itself.
//
// It promises that a revocation beats it: what is remembered is dropped before the
// revocation is answered, a look-up that is under way meanwhile is not kept, and
// nothing is believed while revocations made elsewhere are not heard of. That
// something was not found is never remembered.
package recall

import (
	"context"
	"crypto/sha256"
	"maps"
	"sync"
	"time"

	"sallyport.dev/internal/store"
)

const (
	life = 10 * time.Second // the longest that anything is believed
	most = 1 << 14          // remembered at once
)

// Kinds bounds Key.Kind.
const Kinds = 16

// Key is a credential: its SHA-256, and the kind of place in which it was sent, for
// which other things may hold.
type Key struct {
	Hash [sha256.Size]byte
	Kind uint8
}

// Memory is what was found of credentials. It is safe for concurrent use.
type Memory[V any] struct {
	about func(v V, subject string) bool
	clock func() time.Time
	fresh func(time.Time) bool

	mu         sync.Mutex
	generation uint64           // guarded by mu; grows with each revocation
	known      map[Key]known[V] // guarded by mu
}

type known[V any] struct {
	value V
	until time.Time
}

// New returns an empty memory. about says whether a value changes with the rights
// of a subject, fresh whether revocations made elsewhere are known.
func New[V any](about func(v V, subject string) bool, clock func() time.Time, fresh func(time.Time) bool) *Memory[V] {
	return &Memory[V]{about: about, clock: clock, fresh: fresh, known: make(map[Key]known[V])}
}

// Recall returns what is known of a credential, or else what ask finds, which says
// until when that may be believed. Errors are those of ask.
func (m *Memory[V]) Recall(ctx context.Context, key Key, ask func(context.Context) (V, time.Time, error)) (V, error) {
	now := m.clock()
	m.mu.Lock()
	found, ok := m.known[key]
	generation := m.generation
	m.mu.Unlock()
	if ok && now.Before(found.until) && m.fresh(now) {
		return found.value, nil
	}
	v, until, err := ask(ctx)
	if err != nil || key.Kind >= Kinds { // which Forget would miss
		return v, err
	}
	if end := now.Add(life); end.Before(until) {
		until = end
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.generation == generation {
		if len(m.known) >= most {
			clear(m.known) // they are back with their next request
		}
		m.known[key] = known[V]{v, until}
	}
	return v, nil
}

// Forget drops what a revocation is about.
func (m *Memory[V]) Forget(r store.Revocation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation++
	switch r.Kind {
	case store.KindCredential: // by its hash: a look at all for each of a thousand would keep the requests waiting
		for kind := range uint8(Kinds) {
			delete(m.known, Key{r.Credential, kind})
		}
	case store.KindSubject:
		maps.DeleteFunc(m.known, func(_ Key, k known[V]) bool { return m.about(k.value, r.Subject) })
	default: // all, and whatever this version does not know
		clear(m.known)
	}
}
