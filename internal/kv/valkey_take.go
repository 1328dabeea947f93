package kv

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"sallyport.dev/zone"
)

// Takes of many requests go to the server together: whoever finds a taker free
// is sent at once, and those that come while all are waiting for the server
// share the next round trip.
const (
	takers   = 4
	maxBatch = 64
	maxTakes = 1024 // that wait
)

// takes is what waits for a taker.
type takes struct {
	queue  chan *taking
	script *redis.Script
	caller bool // the script's time is the caller's
}

// taking is one Take under way.
type taking struct {
	name   string
	slice  int64
	count  int
	now    time.Time
	came   time.Time
	answer chan taken // has room for one: the caller may have left
}

type taken struct {
	Result
	err error
}

func newTakes() takes {
	return takes{queue: make(chan *taking, maxTakes), script: newTakeScript(serverTime)}
}

// Take implements Counters, by the server's time. It costs one round trip.
func (v *Valkey) Take(ctx context.Context, key string, rate zone.Rate, now time.Time) (Result, error) {
	if rate == (zone.Rate{}) {
		return Result{Allowed: true}, nil
	}
	if !validRate(rate) || validKey(key) != nil {
		return Result{}, ErrInvalid
	}
	if err := ctx.Err(); err != nil {
		return Result{}, fmt.Errorf("kv: take: %w", err)
	}
	if _, err := v.circuit.enter(); err != nil {
		return Result{}, err
	}
	slice := sliceOf(rate)
	t := &taking{
		name: v.counterName(key, slice), slice: slice, count: rate.Count, now: now,
		came: time.Now(), answer: make(chan taken, 1),
	}
	select {
	case v.takes.queue <- t:
	default:
		return Result{}, fmt.Errorf("kv: take: %w: too many wait", ErrUnavailable)
	}
	select {
	case a := <-t.answer:
		return a.Result, a.err
	case <-ctx.Done():
		return Result{}, fmt.Errorf("kv: take: %w", ctx.Err())
	case <-v.ctx.Done():
		return Result{}, fmt.Errorf("kv: take: %w: closed", ErrUnavailable)
	}
}

// Undo implements Counters. It costs one round trip.
func (v *Valkey) Undo(ctx context.Context, key string, rate zone.Rate, _ time.Time) error {
	if rate == (zone.Rate{}) {
		return nil
	}
	if !validRate(rate) || validKey(key) != nil {
		return ErrInvalid
	}
	return v.do(ctx, "undo", writes, func(ctx context.Context) error {
		return v.undoing.Run(ctx, v.client, []string{v.counterName(key, sliceOf(rate))}).Err()
	})
}

// takeAll answers takes until the store is closed.
func (v *Valkey) takeAll() {
	batch := make([]*taking, 0, maxBatch)
	for {
		select {
		case <-v.ctx.Done():
			return
		case t := <-v.takes.queue:
			batch = append(batch[:0], t)
		}
	more:
		for len(batch) < maxBatch {
			select {
			case t := <-v.takes.queue:
				batch = append(batch, t)
			default:
				break more
			}
		}
		v.takeBatch(batch)
		clear(batch)
	}
}

// takeBatch answers some, the oldest first, all before its time is over.
func (v *Valkey) takeBatch(batch []*taking) {
	during, err := v.circuit.enter()
	if err != nil { // it opened while they waited
		for _, t := range batch {
			t.answer <- taken{err: err}
		}
		return
	}
	ctx, cancel := context.WithDeadline(v.ctx, batch[0].came.Add(v.timeout))
	defer cancel()
	again := v.takeRound(ctx, during, batch, false)
	if len(again) > 0 { // the server has forgotten the script, and done nothing
		v.takeRound(ctx, during, again, true)
	}
}

// takeRound sends takes in one round trip, by the script's hash or as its text,
// and returns those for which the server does not know the hash.
func (v *Valkey) takeRound(ctx context.Context, during uint64, batch []*taking, text bool) (again []*taking) {
	pipe, script := v.client.Pipeline(), v.takes.script
	replies := make([]*redis.Cmd, len(batch))
	for i, t := range batch {
		args := append(make([]any, 0, 3), t.slice, t.count)
		if v.takes.caller {
			args = append(args, max(0, t.now.UnixMicro()))
		}
		if text {
			replies[i] = script.Eval(ctx, pipe, []string{t.name}, args...)
		} else {
			replies[i] = script.EvalSha(ctx, pipe, []string{t.name}, args...)
		}
	}
	_, _ = pipe.Exec(ctx) // each reply has its error
	for i, t := range batch {
		reply, err := replies[i].Result()
		if !text && err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
			again = append(again, t)
			continue
		}
		var a taken
		if err == nil {
			a.Result, err = parseTake(reply)
		}
		if err != nil {
			a = taken{err: v.failed(v.ctx, during, "take", err)}
		}
		t.answer <- a
	}
	return again
}
