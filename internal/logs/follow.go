package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"sallyport.dev/internal/journal"
)

const (
	pollEvery  = 200 * time.Millisecond // how often a follower looks by itself
	pollAtMost = 50 * time.Millisecond  // how soon it looks again when it is woken
)

// maxBacklog bounds the records that Follow gives before it waits.
const maxBacklog = 10_000

// Follow gives the last q.Limit matching records, the oldest of them first, and
// then each further one that is written, until yield returns false or ctx ends,
// which is no error. q.Order means nothing here. No record is left out or given
// twice between the two, unless retention frees it first.
//
// wrote wakes it: journal.Watch in the process that writes, nil elsewhere; it
// looks by itself besides.
func (l *Log) Follow(ctx context.Context, q Query, wrote <-chan struct{}, yield func(*journal.Entry) bool) error {
	end, err := l.reader.End()
	if err != nil {
		return fmt.Errorf("logs: follow: %w", err)
	}
	going, err := l.backlog(ctx, q, end, yield)
	if err != nil || !going {
		return ended(ctx, err)
	}
	c := l.reader.Cursor(end)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	f := follower{matcher: newMatcher(q), cursor: c, yield: yield}
	for {
		going, err := f.drain(ctx)
		if err != nil || !going {
			return ended(ctx, errors.Join(err, c.Close()))
		}
		looked := time.Now()
		select {
		case <-ctx.Done():
			return ended(ctx, c.Close())
		case <-tick.C:
		case <-wrote:
			rest := time.NewTimer(pollAtMost - time.Since(looked))
			select {
			case <-ctx.Done():
			case <-rest.C:
			}
			rest.Stop()
		}
	}
}

// ended makes the end of ctx no error.
func ended(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return fmt.Errorf("logs: follow: %w", err)
}

// backlog gives the last matching records before a sequence number.
func (l *Log) backlog(ctx context.Context, q Query, before uint64, yield func(*journal.Entry) bool) (bool, error) {
	if q.Limit == 0 {
		return true, nil
	}
	q.Limit, q.Order = min(q.Limit, maxBacklog), NewestFirst
	var last []*journal.Entry
	m := newMatcher(q)
	m.before = before
	s := search{matcher: m, ctx: ctx, reader: l.reader, yield: func(e *journal.Entry) bool {
		last = append(last, e)
		return true
	}}
	if err := s.run(); err != nil && !errors.Is(err, journal.ErrDamaged) {
		return false, err
	}
	for _, e := range slices.Backward(last) {
		if !yield(e) {
			return false, nil
		}
	}
	return true, nil
}

type follower struct {
	*matcher
	cursor *journal.Cursor
	buf    journal.Buffer
	yield  func(*journal.Entry) bool
}

// drain gives what has been written; going is false when yield wants no more.
func (f *follower) drain(ctx context.Context) (going bool, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		err := f.cursor.Next(&f.buf, math.MaxUint64)
		if err == io.EOF {
			return true, nil
		}
		if errors.Is(err, journal.ErrDamaged) {
			continue // passed over; Search and Verify tell of it
		}
		if err != nil {
			return false, err
		}
		for i := range f.buf.Len() {
			e, err := f.record(&f.buf, i)
			if err != nil {
				continue // likewise
			}
			if e != nil && !f.yield(e) {
				return false, nil
			}
		}
	}
}
