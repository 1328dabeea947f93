package kv

import (
	"context"
	"hash/maphash"
	"time"

	"sallyport.dev/zone"
)

// Memory is the embedded engine. It holds about maxKeys counters and maxKeys
// values of 1 KiB on average, and forgets all when the process ends.
//
// Counters. A counter costs about 200 bytes. When all places are taken a new
// key takes the place of another, whose count then starts at nothing. An
// attacker may want that for a key that stands at its limit. Keys that have
// used half of their limit or more are kept apart in three quarters of the
// places, and leave them only when they are the longest unused among them: to
// have one forgotten, within its window, that many other keys must be used to
// half of their limits first. With maxKeys of 100,000 and a limit of 30/min
// that is over a million allowed requests in the minute, for thirty. Keys below
// half of their limit are forgotten sooner, the longest unused first, to nobody's
// harm: at most half of a limit is given away, for a flood of a quarter of
// maxKeys new keys. Where keys are cheap to make (addresses), make them coarse.
//
// Values. A value is never forgotten early: that would let a nonce pass twice.
// When the room is used up SetNX and Set answer ErrFull.
type Memory struct {
	clock func() time.Time
	start time.Time    // times are kept as nanoseconds since 1970, as start tells them and monotonic from there where the clock is
	seed  maphash.Seed // random: nobody can aim at one shard

	counters []counters
	values   []values
	room     room
	channels channels
}

var _ Store = (*Memory)(nil)

const (
	maxShards = 64 // a power of two
	minShard  = 16 // places; fewer are no least-recently-used order
	meanValue = 1 << 10
)

// NewMemory returns an empty store with places for maxKeys counters and as many
// values, at least 16 of each.
func NewMemory(clock func() time.Time, maxKeys int) *Memory {
	maxKeys = max(maxKeys, minShard)
	shards := 1
	for shards < maxShards && shards*2*minShard <= maxKeys {
		shards *= 2
	}
	m := &Memory{
		clock:    clock,
		start:    clock(),
		seed:     maphash.MakeSeed(),
		counters: make([]counters, shards),
		values:   make([]values, shards),
		room:     room{keys: int64(maxKeys), bytes: int64(maxKeys) * meanValue},
	}
	for i := range shards {
		m.counters[i] = newCounters(maxKeys / shards)
		m.values[i].byKey = make(map[string]*value)
	}
	return m
}

func (m *Memory) shard(key string) uint64 {
	return maphash.String(m.seed, key) & uint64(len(m.counters)-1)
}

// nanos begins in 1970, as the server's time does: a window here and one there forget
// at the same times, so that Fallback tells when there is a place whichever refused.
func (m *Memory) nanos(t time.Time) int64 { return m.start.UnixNano() + int64(t.Sub(m.start)) }

// Take implements Counters. It allocates nothing for a key that is known.
func (m *Memory) Take(_ context.Context, key string, rate zone.Rate, now time.Time) (Result, error) {
	if rate == (zone.Rate{}) {
		return Result{Allowed: true}, nil
	}
	if !validRate(rate) || validKey(key) != nil {
		return Result{}, ErrInvalid
	}
	return m.counters[m.shard(key)].take(key, rate, max(0, m.nanos(now))), nil
}

// Undo implements Counters.
func (m *Memory) Undo(_ context.Context, key string, rate zone.Rate, now time.Time) error {
	if rate == (zone.Rate{}) {
		return nil
	}
	if !validRate(rate) || validKey(key) != nil {
		return ErrInvalid
	}
	m.counters[m.shard(key)].undo(key, rate, max(0, m.nanos(now)))
	return nil
}

// peek returns what Take would, and counts nothing. Key and rate are in the bounds.
func (m *Memory) peek(key string, rate zone.Rate, now time.Time) Result {
	return m.counters[m.shard(key)].peek(key, rate, max(0, m.nanos(now)))
}

// SetNX implements Values.
func (m *Memory) SetNX(_ context.Context, key string, ttl time.Duration) (bool, error) {
	return m.put(key, nil, ttl, true)
}

// Set implements Values.
func (m *Memory) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	_, err := m.put(key, value, ttl, false)
	return err
}

func (m *Memory) put(key string, value []byte, ttl time.Duration, onlyNew bool) (bool, error) {
	if validKey(key) != nil || len(value) > MaxValue || ttl <= 0 || ttl > maxWindow {
		return false, ErrInvalid
	}
	now := m.nanos(m.clock())
	shard := &m.values[m.shard(key)]
	stored, full := shard.put(key, value, now, now+int64(ttl), onlyNew, &m.room)
	if full { // make room of whatever is over, in all shards, and try once more
		for i := range m.values {
			m.values[i].sweep(now, &m.room)
		}
		stored, full = shard.put(key, value, now, now+int64(ttl), onlyNew, &m.room)
	}
	if full {
		return false, ErrFull
	}
	return stored, nil
}

// Get implements Values.
func (m *Memory) Get(_ context.Context, key string) ([]byte, bool, error) {
	if validKey(key) != nil {
		return nil, false, ErrInvalid
	}
	value, ok := m.values[m.shard(key)].get(key, m.nanos(m.clock()))
	return value, ok, nil
}

// Delete implements Values.
func (m *Memory) Delete(_ context.Context, key string) error {
	if validKey(key) != nil {
		return ErrInvalid
	}
	m.values[m.shard(key)].delete(key, &m.room)
	return nil
}
