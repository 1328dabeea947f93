package httpsig

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"time"

	"sallyport.dev/internal/problem"
)

// DefaultEntries is how many proofs a generation of a Replay holds: 3,000 a
// second of each of two senders, in up to 16 MiB for both generations.
const DefaultEntries = shardCount * 12288

// sharedLife is how long others remember a proof. Seconds are counted whole, so its
// last one is over a second after it has begun.
const sharedLife = time.Duration(acceptance+1) * time.Second

// Shared is a memory of used proofs that several replicas of one receiver share,
// for routes that may be used once (internal/kv has it as SetNX).
type Shared interface {
	// Once reports whether key is seen for the first time; it is remembered for a
	// life of ttl. Of any number of callers at once one is told true.
	Once(ctx context.Context, key string, ttl time.Duration) (bool, error)
}

// ReplayConfig is what a Replay is made of.
type ReplayConfig struct {
	Started time.Time // when the process began to accept; proofs made before are refused
	Entries int       // proofs that one generation holds, about; 0: DefaultEntries
	Shared  Shared    // asked besides the own memory; nil: this process is the only replica
}

// Replay remembers the signatures that were accepted for as long as they could
// be accepted again. Safe for concurrent use; its memory grows with the traffic
// up to a bound.
//
// It promises that no proof is accepted twice in one process, whatever the clock
// does. Across replicas it promises so only with Shared.
//
// It remembers 64-bit fingerprints under a random key of the process, so two
// proofs can share one and the second is refused: at 20,000 a second once in a
// decade or so, and nobody who does not know the key can choose it. It forgets
// nothing to make room: when it is full it refuses (problem.ProofUnavailable). One
// sender takes half of the room at most, so that a workload which signs without
// end shuts out itself.
//
// What was accepted before a restart is not known after it. Hence Started: a
// proof is dated to the second, and one of the second in which the process began
// counts as made before. A sender whose clock is ahead by d leaves a gap of d
// after a restart, in which a proof of its last d can be used again.
type Replay struct {
	seed    maphash.Seed
	started time.Time
	shared  Shared // may be nil
	shards  [shardCount]shard
}

// NewReplay returns an empty memory.
func NewReplay(cfg ReplayConfig) (*Replay, error) {
	if cfg.Entries == 0 {
		cfg.Entries = DefaultEntries
	}
	if cfg.Started.IsZero() || cfg.Entries < shardCount {
		return nil, fmt.Errorf("httpsig: replay that started %s with room for %d", cfg.Started, cfg.Entries)
	}
	r := &Replay{seed: maphash.MakeSeed(), started: cfg.Started, shared: cfg.Shared}
	for i := range r.shards {
		r.shards[i].most = (cfg.Entries + shardCount - 1) / shardCount
	}
	return r, nil
}

// once notes a proof that holds in all else. Nonces are the sender's, so that no
// workload can use up those of another. The own memory is asked first: it is
// near, and what it knows need not be asked of others. A proof that it noted and
// the shared store did not answer for is spent.
func (r *Replay) once(ctx context.Context, id string, in *parameters, now time.Time) error {
	if time.Unix(in.created, 0).Before(r.started) {
		return expired(fmt.Errorf("made at %d, before this process began at %s", in.created, r.started))
	}
	mark := r.mark(id, in.nonce)
	// By the uppermost bits; the table goes by the lowest.
	switch r.shards[mark>>(64-shardBits)].note(id, mark, now.Unix(), in.expires+leewaySeconds) {
	case seenBefore:
		return replayed(in)
	case forgotten:
		return expired(fmt.Errorf("what was used until %d is forgotten: the clock went back", in.expires+leewaySeconds))
	case full:
		return problem.New(problem.ProofUnavailable, fmt.Errorf("httpsig: verify: the memory of used proofs is full"))
	}
	if r.shared == nil {
		return nil
	}
	first, err := r.shared.Once(ctx, sharedKey(id, in.nonce), sharedLife)
	if err != nil {
		return problem.New(problem.ProofUnavailable, fmt.Errorf("httpsig: verify: shared memory of used proofs: %w", err))
	}
	if !first {
		return replayed(in)
	}
	return nil
}

func replayed(in *parameters) error {
	return problem.New(problem.ProofReplayed, fmt.Errorf("httpsig: verify: nonce %s", in.nonce))
}

// mark is the fingerprint of a proof, never zero. An ECDSA signature names
// nothing (a second one can be computed from it), its nonce does.
func (r *Replay) mark(id, nonce string) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	_, _ = h.WriteString(nonce) // of one length, so the two cannot be confused
	_, _ = h.WriteString(id)
	return max(h.Sum64(), 1)
}

// sharedKey is the same in every replica, and short whatever the id is.
func sharedKey(id, nonce string) string {
	sum := sha256.Sum256([]byte(nonce + id))
	return "proof:" + hex.EncodeToString(sum[:16])
}
