package app

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
)

// background is what runs beside the doors. A part that ends by itself, however
// it ends, is a failure of the process.
type background struct {
	mu      sync.Mutex
	waiting []*part         // added before it runs; guarded by mu
	ctx     context.Context // nil before it runs; guarded by mu
	failed  func()          // ends the doors
	group   errgroup.Group
}

// part is something that runs until its context ends.
type part struct {
	name string
	run  func(context.Context) error
	end  context.CancelFunc // guarded by background.mu
	over bool               // it was stopped before it ran; likewise
}

// add has a part run: at once, or when run is called. stop ends it, and waits
// for nothing.
func (b *background) add(name string, run func(context.Context) error) (stop func()) {
	p := &part{name: name, run: run}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx == nil {
		b.waiting = append(b.waiting, p)
	} else {
		b.start(p)
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		p.over = true
		if p.end != nil {
			p.end()
		}
	}
}

// start runs a part. The caller holds mu.
func (b *background) start(p *part) {
	if p.over {
		return
	}
	var ctx context.Context
	ctx, p.end = context.WithCancel(b.ctx)
	b.group.Go(func() error {
		err := p.run(ctx)
		switch {
		case ctx.Err() != nil: // told to
			return nil
		case err == nil:
			err = errors.New("it ended by itself")
		}
		b.failed()
		return fmt.Errorf("%s: %w", p.name, err)
	})
}

// run starts all parts, and from then on those that are added, until ctx ends.
// failed is called when one ends by itself.
func (b *background) run(ctx context.Context, failed func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ctx, b.failed = ctx, failed
	for _, p := range b.waiting {
		b.start(p)
	}
	b.waiting = nil
}

// wait returns when all parts have ended, with the error of the first that
// failed. Nothing is added by then.
func (b *background) wait() error { return b.group.Wait() }
