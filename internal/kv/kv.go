// Package kv keeps what is short-lived: counters that limit, nonces that are
// seen once, values with a life, and broadcast. The engines are Memory, of one
// process, and Valkey, which several share; both pass the suite in kvtest.
//
// It promises that a counter never allows more than its rate, in any window,
// wherever the window starts; that a nonce or value is never forgotten before
// its time to make room; that everything is bounded, whatever callers send; and
// that a broadcast never waits for a slow subscriber.
//
// It refuses keys, values and messages that are too long, lives that are not
// positive, and new values when it is full (ErrFull: the caller fails closed).
// Counters are the exception: a full store of counters forgets those that
// matter least, see Memory.
//
// A broadcast is a hint. Whoever needs to know for sure reads the store.
package kv

import (
	"context"
	"errors"
	"math"
	"time"

	"sallyport.dev/zone"
)

// Store is what every engine does. Consumers declare the few methods they use.
type Store interface {
	Counters
	Values
	Broadcast
}

// Counters limit how often something happens.
type Counters interface {
	// Take counts one event under key if rate allows it, in one atomic step. An
	// event that is refused is not counted. now is the caller's time, which may
	// step back: a counter's time does not. An engine that several processes
	// share goes by its own clock instead: theirs differ. The zero rate is no
	// bound, as in the map: it allows all and counts nothing.
	Take(ctx context.Context, key string, rate zone.Rate, now time.Time) (Result, error)
	// Undo takes back the newest event that Take counted under key by the same
	// window; there need be none.
	Undo(ctx context.Context, key string, rate zone.Rate, now time.Time) error
}

// Result is the answer of a Take.
type Result struct {
	Allowed   bool          // the zero value refuses
	Remaining int           // how many more would be allowed now
	Reset     time.Duration // until the oldest counted event is forgotten, and there is a place: when to try again. Zero when none is counted
}

// Values are kept for a life and no longer. Keys of SetNX and Set are the same.
type Values interface {
	// SetNX makes a key for a life of ttl, with an empty value; false when it is
	// there already. Of any number of callers at once one is told true.
	SetNX(ctx context.Context, key string, ttl time.Duration) (bool, error)
	// Get returns the value of a key; false when there is none or its life is over.
	Get(ctx context.Context, key string) ([]byte, bool, error)
	// Set keeps a value for a life of ttl, in place of what was there.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Delete ends a key's life. It need not be there.
	Delete(ctx context.Context, key string) error
}

// Broadcast tells whoever listens now.
type Broadcast interface {
	// Publish hands a message to every subscription of a channel that has room.
	Publish(ctx context.Context, channel string, message []byte) error
	// Subscribe listens to a channel until ctx ends or the subscription is closed.
	Subscribe(ctx context.Context, channel string) (*Subscription, error)
}

// The bounds, for every engine.
const (
	MaxKey           = 512      // bytes of a key or the name of a channel
	MaxValue         = 4 << 10  // bytes of a value
	MaxMessage       = 16 << 10 // bytes of a message
	MaxPending       = 64       // messages that wait in one subscription
	MaxSubscriptions = 1024
)

// The errors that callers tell apart.
var (
	// ErrFull: there is no room for another live value or subscription.
	ErrFull = errors.New("kv: full")
	// ErrUnavailable: the engine cannot be asked now. Nothing is known, and what
	// was asked may have been done: the caller fails closed.
	ErrUnavailable = errors.New("kv: unavailable")
	// ErrInvalid: a key, value, message, life or rate is outside the bounds.
	ErrInvalid = errors.New("kv: outside the bounds")
)

func validKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return ErrInvalid
	}
	return nil
}

// minWindow is the shortest window of a rate: the map's smallest unit of time.
const minWindow = time.Millisecond

// maxWindow keeps sums of times from overflowing: a hundred years.
const maxWindow = 100 * 365 * 24 * time.Hour

func validRate(r zone.Rate) bool {
	return r.Count >= 1 && r.Count <= math.MaxInt32 && r.Window >= minWindow && r.Window <= maxWindow
}
