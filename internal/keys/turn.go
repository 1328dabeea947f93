package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sallyport.dev/internal/store"
	"sallyport.dev/internal/token"
)

// Run turns the ring until ctx ends. A turn that fails is logged and tried
// again at the next tick: there is an overlap's worth of them.
func (r *Ring) Run(ctx context.Context) error {
	tick := time.NewTicker(r.cfg.Overlap / ticks)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := r.Rotate(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Log.ErrorContext(ctx, "signing keys not turned", "ring", r.cfg.Name, "error", err)
		}
	}
}

// Rotate brings the ring to where time says it should be: it does what is due
// and no more. It also takes over what other processes have done.
func (r *Ring) Rotate(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Clock()
	var keys []signingKey
	err := r.db.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		keys, err = r.load(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	r.note(keys, now)
	if len(r.plan(keys, now)) == 0 { // nearly always: no write transaction
		return r.serve(keys, now)
	}
	var steps []step
	err = r.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		keys, steps, err = r.turn(ctx, tx, now)
		return err
	})
	if errors.Is(err, store.ErrConflict) { // another process did it at this very moment
		steps = nil
		err = r.db.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
			keys, err = r.load(ctx, tx)
			return err
		})
	}
	if err != nil {
		return err
	}
	r.tell(ctx, steps)
	r.note(keys, now)
	return r.serve(keys, now)
}

// tell logs steps that were committed.
func (r *Ring) tell(ctx context.Context, steps []step) {
	for _, s := range steps {
		r.cfg.Log.InfoContext(ctx, "signing key turned", "ring", r.cfg.Name, "kid", s.key, "to", string(s.to))
	}
}

// note remembers since when this process publishes each key.
func (r *Ring) note(keys []signingKey, now time.Time) {
	seen := make(map[string]time.Time, len(keys))
	for _, k := range keys {
		since, known := r.seen[k.id]
		if !known {
			since = now
		}
		seen[k.id] = since
	}
	r.seen = seen
}

// serve replaces what the ring answers with.
func (r *Ring) serve(keys []signingKey, now time.Time) error {
	s := &snapshot{read: now}
	for _, k := range keys {
		s.public = append(s.public, token.PublicKey{ID: k.id, Key: &k.private.PublicKey})
		if k.state == active {
			s.active = token.SigningKey{ID: k.id, Signer: k.private}
		}
	}
	if s.active.Signer == nil {
		return fmt.Errorf("keys: ring %s has no active key", r.cfg.Name)
	}
	var err error
	if s.set, err = token.NewKeySet(s.public); err != nil {
		return fmt.Errorf("keys: ring %s: %w", r.cfg.Name, err)
	}
	r.now.Store(s)
	return nil
}
