package outward

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Document is something of an issuer that changes seldom: its discovery document,
// its keys, its metadata. While it cannot be had again the old one is used for a
// while.
type Document[T any] struct {
	Fetch   func(ctx context.Context) (T, error)
	Clock   func() time.Time
	Refresh time.Duration // between two looks
	Keep    time.Duration // how long a value is used while no look succeeds
	Timeout time.Duration // of one look in all

	mu      sync.Mutex
	value   T         // guarded by mu
	fetched time.Time // guarded by mu; when value was last seen to be current; zero: there is none
	looked  time.Time // guarded by mu; when the last look began
	err     error     // guarded by mu; of the last look
	look    *look     // guarded by mu; the one under way
}

// look is one look at an issuer, which all wait for who need it.
type look struct {
	done chan struct{}
	err  error // readable after done
}

var (
	errNone = errors.New("it could not be had yet")
	errOld  = errors.New("it could not be had again for too long")
)

// Get returns the value, fetching it when it is too old.
func (d *Document[T]) Get(ctx context.Context) (T, error) {
	d.mu.Lock()
	now := d.Clock()
	age := now.Sub(d.fetched)
	if !d.fetched.IsZero() && age >= 0 && age < d.Refresh {
		defer d.mu.Unlock()
		return d.value, nil
	}
	d.mu.Unlock()
	if err := d.again(ctx); err != nil {
		var zero T
		return zero, err
	}
	return d.Current()
}

// Current returns the value that may be used now, and asks nobody.
func (d *Document[T]) Current() (T, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var zero T
	switch {
	case d.fetched.IsZero():
		return zero, because(errNone, d.err)
	case d.Clock().Sub(d.fetched) >= d.Keep:
		return zero, because(errOld, d.err)
	}
	return d.value, nil
}

func because(what, why error) error {
	if why == nil {
		return what
	}
	return fmt.Errorf("%w: %w", what, why)
}

// Peek returns the value of whatever age, without waiting for one. Where there is
// none it begins a look.
func (d *Document[T]) Peek() (value T, has bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fetched.IsZero() {
		d.begin(false)
		return value, false
	}
	return d.value, true
}

// again waits for a look, unless there was one a moment ago. Its error is that the
// caller gave up; what came of the look, State says.
func (d *Document[T]) again(ctx context.Context) error {
	d.mu.Lock()
	l := d.begin(false)
	d.mu.Unlock()
	if l == nil {
		return nil
	}
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// State returns the last value, when it was last seen to be current (zero: never),
// and why the last look failed.
func (d *Document[T]) State() (value T, fetched time.Time, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.value, d.fetched, d.err
}

// Run looks again and again until ctx ends.
func (d *Document[T]) Run(ctx context.Context) {
	retry := retryTime
	for ctx.Err() == nil {
		err := d.Look(ctx)
		if ctx.Err() != nil {
			return
		}
		// A tenth less or none: issuers are not to be asked by all at once.
		wait := d.Refresh - rand.N(d.Refresh/10+1) // #nosec G404 -- not a secret
		if err == nil {
			retry = retryTime
		} else {
			wait, retry = min(wait, retry), min(2*retry, retryMost)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// Look looks now, whenever the last look was, and waits for it.
func (d *Document[T]) Look(ctx context.Context) error {
	d.mu.Lock()
	l := d.begin(true)
	d.mu.Unlock()
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin returns the look that is under way, or begins one. One that a request causes
// is not begun soon after another: then it returns nil. mu is held.
func (d *Document[T]) begin(scheduled bool) *look {
	if d.look != nil {
		return d.look
	}
	now := d.Clock()
	if since := now.Sub(d.looked); !scheduled && !d.looked.IsZero() && since >= 0 && since < AskTime {
		return nil
	}
	l := &look{done: make(chan struct{})}
	d.looked, d.look = now, l
	go d.run(l) // it ends by itself: Timeout
	return l
}

// run makes one look. It does not end with the request that caused it.
func (d *Document[T]) run(l *look) {
	ctx, cancel := context.WithTimeout(context.Background(), d.Timeout)
	defer cancel()
	value, err := d.contained(ctx)
	d.mu.Lock()
	if err == nil {
		d.value, d.fetched = value, d.Clock()
	}
	d.err, d.look, l.err = err, nil, err
	d.mu.Unlock()
	close(l.done)
}

// contained makes an error of a panic: in this goroutine it would end the process.
func (d *Document[T]) contained(ctx context.Context) (value T, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return d.Fetch(ctx)
}

// TakeOver begins with what another had of the same source.
func (d *Document[T]) TakeOver(old *Document[T]) {
	old.mu.Lock()
	defer old.mu.Unlock()
	d.value, d.fetched, d.looked, d.err = old.value, old.fetched, old.looked, old.err
}
