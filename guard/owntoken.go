package guard

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// ownToken is the inside token of the service itself, for calls `as: service`. It
// is used for half of its life; of the calls that find it too old one asks
// control and the others wait for it.
type ownToken struct {
	mu     sync.Mutex
	value  string    // guarded by mu
	until  time.Time // guarded by mu; value is used until then
	flight *flight   // guarded by mu; nil: nobody asks
}

// flight is one question to control.
type flight struct {
	done  chan struct{} // closed when the others are written
	value string
	err   error
}

// ownTokenFor returns the token for a call.
func (g *Guard) ownTokenFor(ctx context.Context) (string, error) {
	o := &g.own
	o.mu.Lock()
	if g.cfg.Clock().Before(o.until) {
		defer o.mu.Unlock()
		return o.value, nil
	}
	f := o.flight
	if f == nil {
		f = &flight{done: make(chan struct{})}
		o.flight = f
		go g.fetchOwnToken(context.WithoutCancel(ctx), f) // others may wait for it; ask bounds it
	}
	o.mu.Unlock()
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (g *Guard) fetchOwnToken(ctx context.Context, f *flight) {
	asked := g.cfg.Clock()
	value, expires, err := g.control.token(ctx)
	life := expires.Sub(asked)
	if err == nil && life <= 0 {
		err = fmt.Errorf("control sent a token that ended at %s", expires.Format(time.RFC3339))
	}
	o := &g.own
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flight, f.err = nil, err; err == nil {
		f.value = value
		o.value, o.until = value, asked.Add(life/2)
	}
	close(f.done)
}
