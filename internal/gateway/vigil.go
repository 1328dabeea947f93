package gateway

import (
	"context"
	"errors"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// vigilTime is between two looks at the credential of an open stream.
const vigilTime = time.Second

// vigil watches over a stream after its door was passed: a session that ends, a
// key that is revoked and a role that is taken end the streams that they opened.
type vigil struct {
	stop   chan struct{}
	done   chan struct{}
	reason problem.Reason // why the stream was cut; readable after done
}

// watch begins a vigil. cut is called at most once, from another goroutine. A
// stream without a credential has nothing to watch, and its vigil is nil.
func (g *Gateway) watch(ctx context.Context, cred Credential, rt *zone.Route, cut func()) *vigil {
	if cred.Kind == NoCredential {
		return nil
	}
	v := &vigil{stop: make(chan struct{}), done: make(chan struct{}), reason: problem.OK}
	go func() {
		defer close(v.done)
		tick := time.NewTicker(vigilTime)
		defer tick.Stop()
		for {
			select {
			case <-v.stop:
				return
			case <-tick.C:
			}
			if r := g.stillMay(ctx, cred, rt); r != problem.OK {
				v.reason = r
				cut()
				return
			}
		}
	}()
	return v
}

// end ends the vigil and says why it cut the stream, OK when it did not.
func (v *vigil) end() problem.Reason {
	if v == nil {
		return problem.OK
	}
	close(v.stop)
	<-v.done
	return v.reason
}

// stillMay asks again what authenticate and authorize asked when the stream was
// opened. That is mostly a look at what is remembered; an answer that cannot be
// had is a no, as it would be for a new request.
func (g *Gateway) stillMay(ctx context.Context, cred Credential, rt *zone.Route) problem.Reason {
	key := credentialKey{hash: cred.Hash, kind: cred.Kind}
	e := g.principals.get(key, g.clock())
	if e == nil {
		var err error
		if e, err = g.lookup(ctx, key, cred); err != nil {
			if ctx.Err() != nil {
				return problem.OK // the client has ended the stream itself
			}
			if p, ok := errors.AsType[*problem.Error](err); ok && p.Reason != problem.OK {
				return p.Reason
			}
			return problem.AuthUnavailable
		}
	}
	return policy.Authorize(rt, e.principal)
}
