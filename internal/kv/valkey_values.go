package kv

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// ValueSpace is the values of one space of keys; it implements Values. Keys of
// different spaces never meet; the room on the server is one for all.
type ValueSpace struct {
	v    *Valkey
	name string
}

// Space returns the space of a name. The Valkey itself is the space of no name.
func (v *Valkey) Space(name string) ValueSpace { return ValueSpace{v: v, name: name} }

// wire returns what a key is called on the server.
func (s ValueSpace) wire(key string) string {
	space := sha256.Sum256([]byte(s.name))
	return s.v.prefix + "v:" + hashed(string(space[:])+key)
}

// nonceScript sets KEYS[1] for ARGV[1] milliseconds if it is not there and the
// server has forgotten none: its memory is as old as this process knows it
// (KEYS[2], ARGV[2]), and nobody has found that it was not (KEYS[3]).
const nonceScript = `if redis.call('GET', KEYS[2]) ~= ARGV[2] then return redis.error_reply('NOTSAME the server has lost its memory') end
if redis.call('GET', KEYS[3]) then return redis.error_reply('FORGOT the server has lost nonces that still count') end
if redis.call('SET', KEYS[1], '', 'PX', ARGV[1], 'NX') then return 1 end
return 0`

// SetNX implements Values. A nonce that is not known to be new is an error: the
// caller fails closed. When it is an error the nonce may be used up all the same.
func (s ValueSpace) SetNX(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	if !validValue(key, nil, ttl) {
		return false, ErrInvalid
	}
	life := milliseconds(ttl)
	for longest := s.v.longest.Load(); life > longest && !s.v.longest.CompareAndSwap(longest, life); {
		longest = s.v.longest.Load()
	}
	first := false
	err := s.v.do(ctx, "set once", writes, func(ctx context.Context) error {
		keys := []string{s.wire(key), s.v.prefix + "born", s.v.prefix + "forgot"}
		n, err := s.v.noncing.Run(ctx, s.v.client, keys, life, *s.v.born.Load()).Int64()
		if err == nil && n != 0 && n != 1 {
			return errReply
		}
		first = err == nil && n == 1
		return err
	})
	return first, err
}

// Set implements Values.
func (s ValueSpace) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if !validValue(key, value, ttl) {
		return ErrInvalid
	}
	return s.v.do(ctx, "set", writes, func(ctx context.Context) error {
		reply, err := s.v.client.Do(ctx, "SET", s.wire(key), value, "PX", milliseconds(ttl)).Text()
		if err == nil && reply != "OK" {
			return errReply
		}
		return err
	})
}

// Get implements Values. It asks with GETEX, which is GET for a command that
// writes: a server that has become a replica refuses it, where GET would answer
// from the past.
func (s ValueSpace) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if validKey(key) != nil {
		return nil, false, ErrInvalid
	}
	var value []byte
	var there bool
	err := s.v.do(ctx, "get", reads, func(ctx context.Context) error {
		text, err := s.v.client.Do(ctx, "GETEX", s.wire(key)).Text()
		switch {
		case errors.Is(err, redis.Nil):
			return nil
		case err != nil:
			return err
		case len(text) > MaxValue: // not ours
			return errReply
		}
		value, there = []byte(text), true
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return value, there, nil
}

// Delete implements Values.
func (s ValueSpace) Delete(ctx context.Context, key string) error {
	if validKey(key) != nil {
		return ErrInvalid
	}
	return s.v.do(ctx, "delete", reads, func(ctx context.Context) error {
		return s.v.client.Del(ctx, s.wire(key)).Err()
	})
}

// errReply: the server said what no Valkey says.
var errReply = errors.New("a reply that is not understood")

// What a command needs of the server: those that write need room, and that
// nothing is evicted; the others go on while the server is full.
const (
	writes = true
	reads  = false
)

// do runs one command within the bound of time, when the server is worth asking.
func (v *Valkey) do(parent context.Context, op string, write bool, run func(context.Context) error) error {
	if err := parent.Err(); err != nil {
		return fmt.Errorf("kv: %s: %w", op, err)
	}
	during, err := v.circuit.enter()
	if err != nil && (write || !errors.Is(err, ErrFull)) {
		return err
	}
	if write && v.evicts.Load() {
		return fmt.Errorf("kv: %s: %w: %s", op, ErrUnavailable, evictsText)
	}
	ctx, cancel := context.WithTimeout(parent, v.timeout)
	defer cancel()
	if err := run(ctx); err != nil {
		return v.failed(parent, during, op, err)
	}
	return nil
}

func validValue(key string, value []byte, ttl time.Duration) bool {
	return validKey(key) == nil && len(value) <= MaxValue && ttl > 0 && ttl <= maxWindow
}

// milliseconds rounds up: nothing is forgotten early.
func milliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
