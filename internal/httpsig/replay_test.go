package httpsig

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
)

// proofAt is a signature of the full life, as once sees it.
func proofAt(at time.Time, nonce string) *parameters {
	return &parameters{created: at.Unix(), expires: at.Unix() + lifeSeconds, nonce: fmt.Sprintf("%022s", nonce)}
}

// A proof is offered again at every second of its acceptance, wherever in a
// generation it was first used, and then far beyond.
func TestReplayRemembersThroughGenerations(t *testing.T) {
	for offset := int64(0); offset < acceptance; offset += 7 {
		r := newReplay(t, ReplayConfig{})
		first := start.Add(time.Duration(offset) * time.Second)
		in := proofAt(first.Add(Leeway), "n") // from a clock that is ahead: the longest acceptance
		wantReason(t, "first", r.once(t.Context(), senderID, in, first), problem.OK)
		for s := int64(0); s <= acceptance; s++ {
			now := first.Add(time.Duration(s) * time.Second)
			if err := in.live(now); err != nil {
				t.Fatalf("after %d s it is not in its life: %v", s, err)
			}
			if got := problem.ReasonOf(r.once(t.Context(), senderID, in, now)); got != problem.ProofReplayed {
				t.Fatalf("used at %d, offered %d s later: %s", offset, s, got)
			}
			wantReason(t, "another in between", r.once(t.Context(), senderID, proofAt(now, strconv.FormatInt(s, 10)), now), problem.OK)
		}
		if err := in.live(first.Add(time.Duration(acceptance+1) * time.Second)); err == nil {
			t.Fatal("the acceptance is longer than the generations")
		}
	}
}

func TestReplayIsPerSender(t *testing.T) {
	r := newReplay(t, ReplayConfig{})
	in := proofAt(start, "n")
	wantReason(t, "a", r.once(t.Context(), "spiffe://shop.example/a", in, start), problem.OK)
	wantReason(t, "b, the same nonce", r.once(t.Context(), "spiffe://shop.example/b", in, start), problem.OK)
	wantReason(t, "a again", r.once(t.Context(), "spiffe://shop.example/a", in, start), problem.ProofReplayed)
}

func TestReplayAfterARestart(t *testing.T) {
	began := start.Add(400 * time.Millisecond)
	for _, c := range []struct {
		created time.Time
		want    problem.Reason
	}{
		{start.Add(-30 * time.Second), problem.ProofExpired},
		{start.Add(-time.Second), problem.ProofExpired},
		{start, problem.ProofExpired}, // the second of the start: before or after cannot be told
		{start.Add(time.Second), problem.OK},
	} {
		r := newReplay(t, ReplayConfig{Started: began})
		wantReason(t, c.created.Sub(start).String(), r.once(t.Context(), senderID, proofAt(c.created, "n"), start.Add(2*time.Second)), c.want)
	}
}

// The clock goes back after a proof was forgotten: the proof is refused, and
// once the clock is right again, new ones pass.
func TestReplayWhenTheClockGoesBack(t *testing.T) {
	r := newReplay(t, ReplayConfig{})
	in := proofAt(start, "n")
	wantReason(t, "used", r.once(t.Context(), senderID, in, start), problem.OK)
	ahead := start.Add(time.Hour)
	for i := range 4096 { // so that every shard turns
		wantReason(t, "later", r.once(t.Context(), senderID, proofAt(ahead, strconv.Itoa(i)), ahead), problem.OK)
	}
	wantReason(t, "again, an hour back", r.once(t.Context(), senderID, in, start), problem.ProofExpired)
	wantReason(t, "a later one, again, a minute back", r.once(t.Context(), senderID, proofAt(ahead, "7"), ahead.Add(-time.Minute)), problem.ProofReplayed)
	wantReason(t, "new", r.once(t.Context(), senderID, proofAt(ahead, "new"), ahead), problem.OK)
}

func TestReplayFullRefuses(t *testing.T) {
	const entries = 10 * shardCount
	r := newReplay(t, ReplayConfig{Entries: entries})
	sender := func(i int) string { return "spiffe://shop.example/" + strconv.Itoa(i%4) }
	passed, refused := []*parameters{}, 0
	for i := range 4 * entries {
		in := proofAt(start, strconv.Itoa(i))
		switch got := problem.ReasonOf(r.once(t.Context(), sender(i), in, start)); got {
		case problem.OK:
			passed = append(passed, in)
		case problem.ProofUnavailable:
			refused++
		default:
			t.Fatalf("proof %d: %s", i, got)
		}
	}
	if len(passed) > entries || len(passed) < entries*9/10 || refused == 0 {
		t.Errorf("%d passed and %d refused, of room for %d", len(passed), refused, entries)
	}
	for _, in := range passed {
		i, err := strconv.Atoi(strings.TrimSpace(in.nonce))
		if err != nil {
			t.Fatal(err)
		}
		wantReason(t, "known when full", r.once(t.Context(), sender(i), in, start), problem.ProofReplayed)
	}
	for i := range r.shards {
		if n := len(r.shards[i].now.slots); n > 2*firstSlots {
			t.Errorf("shard %d has %d slots", i, n)
		}
	}
	later := start.Add(3 * time.Duration(acceptance) * time.Second)
	for i := range 100 {
		wantReason(t, "later", r.once(t.Context(), sender(i), proofAt(later, strconv.Itoa(i)), later), problem.OK)
	}
}

// One sender fills half of the memory and is refused then; the others are not.
func TestReplayIsShared(t *testing.T) {
	const entries = 64 * shardCount
	r := newReplay(t, ReplayConfig{Entries: entries})
	fill := func(id string, at time.Time) (passed int) {
		for i := range 2 * entries {
			if r.once(t.Context(), id, proofAt(at, strconv.Itoa(i)), at) == nil {
				passed++
			}
		}
		return passed
	}
	greedy := fill("spiffe://shop.example/greedy", start)
	if greedy > entries/2 || greedy < entries*4/10 {
		t.Errorf("one sender took %d of %d", greedy, entries)
	}
	if rest := fill("spiffe://shop.example/gateway", start); rest < entries*4/10 {
		t.Errorf("beside it another took %d of %d", rest, entries)
	}
	later := start.Add(time.Duration(acceptance) * time.Second)
	if again := fill("spiffe://shop.example/greedy", later); again != greedy {
		t.Errorf("a generation later the first took %d, before %d", again, greedy)
	}
}

func TestReplayConcurrently(t *testing.T) {
	r := newReplay(t, ReplayConfig{})
	var (
		passed atomic.Int64
		wg     sync.WaitGroup
	)
	for range 8 { // all offer the same thousand
		wg.Go(func() {
			for i := range 1000 {
				if r.once(t.Context(), senderID, proofAt(start, strconv.Itoa(i)), start) == nil {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got := passed.Load(); got != 1000 {
		t.Errorf("%d passed, want 1000: each once", got)
	}
}

// store is a Shared in memory; down is its answer when it cannot be reached.
type store struct {
	mu   sync.Mutex
	seen map[string]bool
	down error
}

func (s *store) Once(_ context.Context, key string, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ttl < sharedLife || len(key) > 64 {
		return false, fmt.Errorf("key %q for %s", key, ttl)
	}
	if s.down != nil {
		return false, s.down
	}
	first := !s.seen[key]
	s.seen[key] = true
	return first, nil
}

func TestReplicasShare(t *testing.T) {
	shared := &store{seen: map[string]bool{}}
	a, b := newReplay(t, ReplayConfig{Shared: shared}), newReplay(t, ReplayConfig{Shared: shared})
	apart := newReplay(t, ReplayConfig{})
	in := proofAt(start, "n")
	wantReason(t, "first", a.once(t.Context(), senderID, in, start), problem.OK)
	wantReason(t, "at the other replica", b.once(t.Context(), senderID, in, start), problem.ProofReplayed)
	wantReason(t, "at one that does not share", apart.once(t.Context(), senderID, in, start), problem.OK)
	shared.down = errors.New("connection refused")
	wantReason(t, "store away", a.once(t.Context(), senderID, proofAt(start, "m"), start), problem.ProofUnavailable)
	shared.down = nil
	wantReason(t, "store back", a.once(t.Context(), senderID, proofAt(start, "o"), start), problem.OK)
}

// The memory of all replicas is as long as the acceptance of any of them, up to
// the end of its last second.
func TestReplicasRememberToTheLast(t *testing.T) {
	in := proofAt(start.Add(Leeway), "n") // from a clock that is ahead: the longest acceptance
	wantReason(t, "the first moment", in.live(start), problem.OK)
	last := start.Add(sharedLife - time.Nanosecond)
	wantReason(t, "the last moment of the memory", in.live(last), problem.OK)
	wantReason(t, "the next", in.live(last.Add(1)), problem.ProofExpired)
}

func TestReplayNeedsAStart(t *testing.T) {
	for _, cfg := range []ReplayConfig{{}, {Started: start, Entries: -1}, {Started: start, Entries: 1}} {
		if _, err := NewReplay(cfg); err == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
	if _, err := NewVerifier(nil, newReplay(t, ReplayConfig{})); err == nil {
		t.Error("verifier without certificates")
	}
	if _, err := NewVerifier(known(), nil); err == nil {
		t.Error("verifier without replay")
	}
}
