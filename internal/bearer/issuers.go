package bearer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"sallyport.dev/internal/outward"
	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// Kind is the kind of provider that this package is about.
const Kind = "bearer"

// Method is the Method of principals.
const Method = "bearer"

// Config is what Issuers are made of.
type Config struct {
	Providers []zone.Provider  // those of other kinds are passed over
	Log       *slog.Logger     // required
	Clock     func() time.Time // nil: time.Now

	Refresh time.Duration // between two looks at an issuer's keys; 0: 5 min
	Keep    time.Duration // how long keys are used while no look succeeds; 0: 6 h
	Timeout time.Duration // of one look in all; 0: 4 s
	// Before are the Issuers of the map before this one, whose keys are taken over
	// where the source is the same: a reload does without no key that it had. nil: none.
	Before *Issuers
	// Dial reaches issuers; nil: net.Dialer. TLS is made on top of it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Issuers verifies the tokens of all bearer providers of a zone. Safe for
// concurrent use.
type Issuers struct {
	byIssuer  map[string]*issuer // immutable
	list      []*issuer          // immutable, in the order of the map
	log       *slog.Logger
	clock     func() time.Time
	verified  *verified
	strangers teller // about tokens of no issuer of ours
}

// New makes Issuers without asking any issuer: a zone starts when one is down.
func New(cfg Config) (*Issuers, error) {
	if cfg.Log == nil {
		return nil, errors.New("bearer: no log")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Refresh <= 0 {
		cfg.Refresh = refreshTime
	}
	if cfg.Keep <= 0 {
		cfg.Keep = keepTime
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = fetchTime
	}
	s := &Issuers{byIssuer: map[string]*issuer{}, log: cfg.Log, clock: cfg.Clock, verified: newVerified(maxVerified)}
	for _, p := range cfg.Providers {
		if p.Kind != Kind {
			continue
		}
		i, err := newIssuer(p, &cfg)
		if err != nil {
			return nil, fmt.Errorf("bearer: provider %s: %w", p.Name, err)
		}
		if other := s.byIssuer[p.Issuer]; other != nil {
			return nil, fmt.Errorf("bearer: providers %s and %s have one issuer", other.Name, p.Name)
		}
		if cfg.Before != nil {
			i.takeOver(cfg.Before.byIssuer[p.Issuer])
		}
		s.byIssuer[p.Issuer] = i
		s.list = append(s.list, i)
	}
	return s, nil
}

// Run keeps the keys of all issuers fresh until ctx ends, and returns nil then.
func (s *Issuers) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, i := range s.list {
		all.Go(func() { i.run(ctx) })
	}
	<-ctx.Done() // also when there is no issuer
	all.Wait()
	return nil
}

// Verify returns the user whose token it is, and when the token expires: an
// answer must not be believed from then on. Errors are *problem.Error:
// AuthInvalid, AuthExpired, or AuthUnavailable with a private cause.
func (s *Issuers) Verify(ctx context.Context, token string) (policy.Principal, time.Time, error) {
	p, until, err := s.verify(ctx, token)
	var refused *refusal
	switch {
	case err == nil:
		return p, until, nil
	case errors.Is(err, errExpired):
		return policy.Principal{}, time.Time{}, problem.New(problem.AuthExpired, nil)
	case errors.As(err, &refused):
		// The cause is told here, seldom, and not with each request: strangers
		// choose how often a token is refused.
		s.tell(ctx, refused)
		return policy.Principal{}, time.Time{}, problem.New(problem.AuthInvalid, nil)
	default:
		return policy.Principal{}, time.Time{}, problem.New(problem.AuthUnavailable, fmt.Errorf("bearer: %w", err))
	}
}

// verify refuses what is cheap to refuse first. What an unverified token says of
// itself can only refuse it.
func (s *Issuers) verify(ctx context.Context, token string) (policy.Principal, time.Time, error) {
	if len(token) > maxToken {
		return policy.Principal{}, time.Time{}, refuse(nil, "%d bytes are more than %d", len(token), maxToken)
	}
	now := s.clock()
	sum := digestOf(token)
	if e, ok := s.verified.get(sum, now); ok && e.issuer.keys.Uses(e.keys) {
		return e.principal, e.expires, nil
	}
	t, err := parse(token)
	if err != nil {
		return policy.Principal{}, time.Time{}, refuse(nil, "%w", err)
	}
	i := s.byIssuer[t.claims.Text("iss")]
	if i == nil {
		return policy.Principal{}, time.Time{}, refuse(nil, "iss %q is no provider's issuer", outward.Clip(t.claims.Text("iss")))
	}
	p, expires, err := i.read(t, now)
	if err != nil {
		return policy.Principal{}, time.Time{}, err
	}
	set, err := i.verify(ctx, t)
	if err != nil {
		return policy.Principal{}, time.Time{}, err
	}
	now = s.clock() // the keys may have been waited for
	if !now.Before(expires) {
		return policy.Principal{}, time.Time{}, errExpired
	}
	s.verified.put(sum, entry{issuer: i, keys: set, principal: p, expires: expires, until: earlier(expires, now.Add(verifiedLife))}, now)
	return p, expires, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
