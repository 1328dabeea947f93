package bearer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// errExpired is of a token that was good once.
var errExpired = errors.New("expired")

// refusal is why a token is invalid.
type refusal struct {
	issuer *issuer // whose token it says it is; nil: nobody's
	cause  error
}

func (r *refusal) Error() string { return r.cause.Error() }
func (r *refusal) Unwrap() error { return r.cause }

func refuse(i *issuer, text string, args ...any) error {
	return &refusal{i, fmt.Errorf(text, args...)}
}

// teller lets a line pass each tellTime, and counts the others.
type teller struct {
	mu     sync.Mutex
	last   time.Time // guarded by mu
	untold int       // guarded by mu
}

func (t *teller) take(now time.Time) (untold int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if since := now.Sub(t.last); since >= 0 && since < tellTime {
		t.untold++
		return 0, false
	}
	untold = t.untold
	t.last, t.untold = now, 0
	return untold, true
}

// tell lets an operator find out why the tokens of an issuer are refused.
func (s *Issuers) tell(ctx context.Context, r *refusal) {
	about, provider := &s.strangers, ""
	if r.issuer != nil {
		about, provider = &r.issuer.refusals, r.issuer.Name
	}
	if untold, ok := about.take(s.clock()); ok {
		s.log.InfoContext(ctx, "token of another issuer refused",
			slog.String("provider", provider), slog.Any("cause", r.cause), slog.Int("untold", untold))
	}
}
