package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"sallyport.dev/internal/problem"
)

// maxListeners bounds the listeners of a zone: each entry of the principals has
// a place for the token of each.
const maxListeners = 16

var errDeadToken = errors.New("the token service returned an empty or expired token")

// insideToken is a minted token and until when it is used.
type insideToken struct {
	listener string // that it says; another may have its place by another map
	value    string
	until    time.Time // half its life: what travels inside is always good for a while
}

// exchangeStage takes the outside credential out and puts the inside token in.
// Signing costs more than all the rest of the pipeline, so a token is used again
// for half its life, and dropped with the entry it hangs on.
func exchangeStage(g *Gateway, t *trip) problem.Reason {
	if t.route.local != nil {
		return problem.OK // it never leaves this process
	}
	return g.exchange(t, t.start)
}

// exchangeAgain is for a trip that has waited for its client since it got its
// token: by now that may have expired, and the credential may have been revoked.
func (g *Gateway) exchangeAgain(t *trip) problem.Reason {
	if now := g.clock(); !now.Before(t.insideUntil) {
		return g.exchange(t, now)
	}
	return problem.OK
}

func (g *Gateway) exchange(t *trip, now time.Time) problem.Reason {
	if t.route.signed() {
		return g.mintOnce(t)
	}
	token := t.entry.tokens[t.listener.index].Load()
	if token == nil || token.listener != t.listener.Name || !now.Before(token.until) {
		var err error
		if token, err = g.mint(t); err != nil {
			return g.notMinted(t, err)
		}
	}
	t.inside, t.insideUntil = token.value, token.until
	return problem.OK
}

// mintOnce gets a token for this one request, whose `txn` is its correlation id:
// the price of `proof: signature`.
func (g *Gateway) mintOnce(t *trip) problem.Reason {
	ctx, cancel := context.WithTimeout(t.r.Context(), lookupTime)
	defer cancel()
	value, expires, err := g.tokens.Exchange(ctx, t.cred, t.principal, t.listener.Name, t.CorrelationID)
	now := g.clock()
	if err == nil && (value == "" || !now.Before(expires)) {
		err = errDeadToken
	}
	if err != nil {
		return g.notMinted(t, err)
	}
	t.inside, t.insideUntil = value, now.Add(expires.Sub(now)/2)
	return problem.OK
}

// notMinted says why there is no inside token.
func (g *Gateway) notMinted(t *trip, err error) problem.Reason {
	if t.r.Context().Err() != nil {
		return problem.ClientClosed
	}
	reason := t.failed(err, problem.TokenUnavailable)
	if reason.Status() == http.StatusUnauthorized { // it knows better than what is remembered
		g.principals.forget(t.cred.Hash)
	}
	return reason
}

// mint asks the token service, once for all requests that need the same token at
// a time. What it returns is kept on the entry: when that has been dropped
// meanwhile, nobody finds it there.
func (g *Gateway) mint(t *trip) (*insideToken, error) {
	e, cred, l, ctx := t.entry, t.cred, t.listener, t.r.Context()
	asked := g.mints.DoChan(e.mintName(l), contained(func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTime)
		defer cancel()
		value, expires, err := g.tokens.Exchange(ctx, cred, e.principal, l.Name, "")
		if err != nil {
			return nil, err
		}
		now := g.clock()
		if value == "" || !now.Before(expires) {
			return nil, errDeadToken
		}
		token := &insideToken{listener: l.Name, value: value, until: now.Add(expires.Sub(now) / 2)}
		e.tokens[l.index].Store(token)
		return token, nil
	}))
	select {
	case r := <-asked:
		token, _ := r.Val.(*insideToken)
		return token, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// mintName tells entries and listeners apart. A new entry of the same credential
// has another number: it never shares a token with the one before it.
func (e *entry) mintName(l *listener) string {
	return strconv.FormatUint(e.number, 36) + " " + l.Name
}
