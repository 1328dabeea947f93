package broker

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// document is something of a provider that changes seldom: its discovery document,
// its keys, its metadata. It is fetched when it is needed and old; while it cannot
// be had again the old one is used for a while.
type document[T any] struct {
	fetch   func(ctx context.Context) (T, error)
	clock   func() time.Time
	refresh time.Duration

	mu      sync.Mutex
	value   T         // guarded by mu
	fetched time.Time // guarded by mu; zero: there is no value
	looked  time.Time // guarded by mu; when the last look began
	err     error     // guarded by mu; of the last look
	look    *look     // guarded by mu; the one under way
}

// look is one look at a provider, which all wait for who need it.
type look struct {
	done chan struct{}
	err  error // readable after done
}

// get returns the value, fetching it when it is too old.
func (d *document[T]) get(ctx context.Context) (T, error) {
	d.mu.Lock()
	now := d.clock()
	age := now.Sub(d.fetched)
	if !d.fetched.IsZero() && age >= 0 && age < d.refresh {
		defer d.mu.Unlock()
		return d.value, nil
	}
	l := d.begin(now)
	d.mu.Unlock()
	var zero T
	if l != nil {
		if err := l.wait(ctx); err != nil {
			return zero, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.fetched.IsZero() && d.clock().Sub(d.fetched) < keepTime {
		return d.value, nil
	}
	return zero, fmt.Errorf("not to be had: %w", d.err)
}

// peek returns the value of whatever age, without waiting for one. Where there is
// none it begins a look.
func (d *document[T]) peek() (value T, has bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fetched.IsZero() {
		d.begin(d.clock())
		return value, false
	}
	return d.value, true
}

// again fetches a value anew, unless that was done a moment ago. It says whether
// there was a look, and that it failed.
func (d *document[T]) again(ctx context.Context) (T, bool, error) {
	d.mu.Lock()
	l := d.begin(d.clock())
	d.mu.Unlock()
	var zero T
	if l == nil {
		return zero, false, nil
	}
	if err := l.wait(ctx); err != nil {
		return zero, true, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.value, true, l.err
}

// begin returns the look that is under way, or begins one; nil when the last one
// was a moment ago. mu is held.
func (d *document[T]) begin(now time.Time) *look {
	if d.look != nil {
		return d.look
	}
	if since := now.Sub(d.looked); !d.looked.IsZero() && since >= 0 && since < askTime {
		return nil
	}
	l := &look{done: make(chan struct{})}
	d.looked, d.look = now, l
	go d.run(l) // it ends by itself: lookTime
	return l
}

// run makes one look. It does not end with the request that caused it.
func (d *document[T]) run(l *look) {
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	value, err := d.contained(ctx)
	d.mu.Lock()
	if err == nil {
		d.value, d.fetched = value, d.clock()
	}
	d.err, d.look, l.err = err, nil, err
	d.mu.Unlock()
	close(l.done)
}

// contained makes an error of a panic: in this goroutine it would end the process.
func (d *document[T]) contained(ctx context.Context) (value T, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return d.fetch(ctx)
}

// takeOver begins with what another had of the same source.
func (d *document[T]) takeOver(old *document[T]) {
	old.mu.Lock()
	defer old.mu.Unlock()
	d.value, d.fetched, d.looked, d.err = old.value, old.fetched, old.looked, old.err
}

func (l *look) wait(ctx context.Context) error {
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
