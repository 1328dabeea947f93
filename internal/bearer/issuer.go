package bearer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"sallyport.dev/zone"
)

// issuer is one provider with the keys that it has published.
type issuer struct {
	zone.Provider // immutable
	http          *http.Client
	log           *slog.Logger
	clock         func() time.Time
	refresh, keep time.Duration
	timeout       time.Duration
	refusals      teller

	mu      sync.Mutex
	keys    *keySet   // guarded by mu; nil: none were had yet
	fetched time.Time // guarded by mu; when keys were last seen to be current
	looked  time.Time // guarded by mu; when the last look began
	err     error     // guarded by mu; of the last look
	look    *look     // guarded by mu; the one under way
}

// look is one look at an issuer's keys, which all wait for who need it.
type look struct {
	done chan struct{}
	err  error // readable after done
}

var (
	errNoKeys  = errors.New("the issuer's keys could not be had yet")
	errOldKeys = errors.New("the issuer's keys could not be refreshed for too long")
)

func newIssuer(p zone.Provider, cfg *Config) (*issuer, error) {
	switch {
	case p.Name == "" || p.Issuer == "" || p.Audience == "":
		return nil, errors.New("no name, issuer or audience")
	case len(p.Algorithms) == 0:
		return nil, errors.New("no algorithms")
	}
	client, err := newClient(p.CA, cfg)
	if err != nil {
		return nil, err
	}
	return &issuer{
		Provider: p, http: client, log: cfg.Log.With(slog.String("provider", p.Name)), clock: cfg.Clock,
		refresh: cfg.Refresh, keep: cfg.Keep, timeout: cfg.Timeout,
	}, nil
}

// takeOver begins with the keys that were had of the same source.
func (i *issuer) takeOver(old *issuer) {
	if old == nil || old.Issuer != i.Issuer || old.JWKS != i.JWKS || old.CA != i.CA || !slices.Equal(old.Algorithms, i.Algorithms) {
		return
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	i.keys, i.fetched, i.looked, i.err = old.keys, old.fetched, old.looked, old.err
}

// run looks at the issuer's keys until ctx ends.
func (i *issuer) run(ctx context.Context) {
	defer i.http.CloseIdleConnections()
	retry := retryTime
	for ctx.Err() == nil {
		l := i.begin(true)
		select {
		case <-l.done:
		case <-ctx.Done():
			return
		}
		// A tenth less or none: issuers are not to be asked by all at once.
		wait := i.refresh - rand.N(i.refresh/10+1) // #nosec G404 -- not a secret
		if l.err == nil {
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

// begin returns the look that is under way, or begins one. One that a token
// causes is not begun soon after another: then it returns nil.
func (i *issuer) begin(scheduled bool) *look {
	now := i.clock()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.look != nil {
		return i.look
	}
	if since := now.Sub(i.looked); !scheduled && since >= 0 && since < askTime {
		return nil
	}
	l := &look{done: make(chan struct{})}
	i.looked, i.look = now, l
	go i.fetch(l) // it ends by itself: timeout
	return l
}

// fetch makes one look. It does not end with the request that caused it.
func (i *issuer) fetch(l *look) {
	ctx, cancel := context.WithTimeout(context.Background(), i.timeout)
	defer cancel()
	keys, err := contained(func() (*keySet, error) { return i.fetchKeys(ctx) })
	i.mu.Lock()
	before, failed := i.keys, i.err
	if err == nil {
		i.keys, i.fetched = keys, i.clock()
		if before != nil && before.digest == keys.digest {
			i.keys = before // what was verified with them stays so
		}
	}
	i.err, i.look, l.err = err, nil, err
	i.mu.Unlock()
	close(l.done)
	switch {
	case err != nil:
		i.log.Warn("keys of an issuer could not be had", slog.Any("error", err), slog.Bool("kept", before != nil))
	case before == nil || before.digest != keys.digest:
		i.log.Info("keys of an issuer", slog.Int("keys", len(keys.keys)), slog.Any("skipped", keys.skipped[:min(len(keys.skipped), mostTold)]))
	case failed != nil:
		i.log.Info("keys of an issuer can be had again")
	}
}

// contained makes an error of a panic: in this goroutine it would end the process.
func contained(work func() (*keySet, error)) (keys *keySet, err error) {
	defer func() {
		if v := recover(); v != nil {
			keys, err = nil, fmt.Errorf("panic: %v", v)
		}
	}()
	return work()
}

// current returns the keys that may be used now.
func (i *issuer) current(now time.Time) (*keySet, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.keys == nil && i.err == nil:
		return nil, errNoKeys
	case i.keys == nil:
		return nil, fmt.Errorf("%w: %w", errNoKeys, i.err)
	case now.Sub(i.fetched) >= i.keep && i.err == nil:
		return nil, errOldKeys
	case now.Sub(i.fetched) >= i.keep:
		return nil, fmt.Errorf("%w: %w", errOldKeys, i.err)
	}
	return i.keys, nil
}

// uses says whether a set is the one in use.
func (i *issuer) uses(set *keySet, now time.Time) bool {
	current, err := i.current(now)
	return err == nil && current == set
}

// verify says by which keys the token is the issuer's. A key that is not known
// may be a new one: the issuer is asked, if it was not a moment ago.
func (i *issuer) verify(ctx context.Context, t *jwt) (*keySet, error) {
	set, found, err := i.find(t)
	if found == nil && err == nil || err != nil {
		if set, found, err = i.findAgain(ctx, t, err); err != nil {
			return nil, err
		}
	}
	for _, k := range found {
		if t.holds(k) {
			return set, nil
		}
	}
	return nil, refuse(i, "the signature does not hold with kid %q", clip(t.keyID))
}

// find returns the keys for a token; none and no error when none is known.
func (i *issuer) find(t *jwt) (*keySet, []key, error) {
	set, err := i.current(i.clock())
	if err != nil {
		return nil, nil, err
	}
	found, known := set.find(t)
	if known && len(found) == 0 {
		return nil, nil, refuse(i, "no key for alg %s and kid %q", t.algorithm, clip(t.keyID))
	}
	return set, found, nil
}

// findAgain is find after a look at the issuer's keys. before is why find failed.
func (i *issuer) findAgain(ctx context.Context, t *jwt, before error) (*keySet, []key, error) {
	if refused := (*refusal)(nil); errors.As(before, &refused) {
		return nil, nil, before
	}
	if l := i.begin(false); l != nil {
		select {
		case <-l.done:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	set, found, err := i.find(t)
	if err != nil || len(found) > 0 {
		return set, found, err
	}
	// Of an issuer that cannot be asked it is open whether it has the key.
	i.mu.Lock()
	failed := i.err
	i.mu.Unlock()
	if failed != nil {
		return nil, nil, failed
	}
	return nil, nil, refuse(i, "no key with kid %q for alg %s", clip(t.keyID), t.algorithm)
}

func (i *issuer) state(now time.Time) State {
	set, err := i.current(now)
	i.mu.Lock()
	defer i.mu.Unlock()
	s := State{Provider: i.Name, Issuer: i.Issuer, Fetched: i.fetched, Usable: err == nil, Err: i.err}
	if set != nil {
		s.Keys = len(set.keys)
	}
	return s
}
