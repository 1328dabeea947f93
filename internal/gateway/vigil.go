package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"sallyport.dev/internal/policy"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

const (
	// vigilTime is between two looks at the credential of an open stream. What is
	// revoked is looked at at once.
	vigilTime = time.Second
	// vigilGrace is how long a stream that was cut may take to say so to its client,
	// and as long again to take leave of it.
	vigilGrace = 250 * time.Millisecond
)

// vigil watches over a stream after its door was passed: a session that ends, a
// key that is revoked, a role that is taken and a route that is no more end the
// streams that they opened.
type vigil struct {
	stop   chan struct{}
	done   chan struct{}
	look   chan struct{}  // holds one: something was revoked that may concern it
	reason problem.Reason // why the stream was cut; readable after done
	still  func() problem.Reason
	grace  time.Duration // vigilGrace
}

// ends are how a vigil ends its stream. Each is called at most once, from another
// goroutine, and none after the vigil's end.
type ends struct {
	cut   func()      // the service
	force func()      // the client, when it does not take what is left in time; may be nil
	drain func() bool // whether it ends now that the gateway drains; asked at each look
}

// watch begins a vigil over the stream of a trip.
func (g *Gateway) watch(t *trip, by ends) *vigil {
	v := &vigil{stop: make(chan struct{}), done: make(chan struct{}), look: make(chan struct{}, 1), reason: problem.OK, grace: g.graces.vigil}
	g.principals.vigils.add(v, t.cred.Hash, [2]string{t.principal.Subject, t.principal.Owner})
	ctx, hash := t.r.Context(), t.cred.Hash
	v.still = func() problem.Reason { return g.stillMay(ctx, t) }
	go func() {
		defer close(v.done)
		defer g.principals.vigils.remove(v, hash)
		tick := time.NewTicker(vigilTime)
		defer tick.Stop()
		for {
			select {
			case <-v.stop:
				return
			case <-tick.C:
			case <-v.look:
			}
			r := problem.OK
			if g.draining.Load() && by.drain() {
				r = problem.ZoneDraining
			}
			if r == problem.OK {
				r = v.still()
			}
			if r != problem.OK {
				v.reason = r
				v.finish(by)
				return
			}
		}
	}()
	return v
}

func (v *vigil) finish(by ends) {
	by.cut()
	if by.force == nil {
		return
	}
	grace := time.NewTimer(v.grace)
	defer grace.Stop()
	select {
	case <-v.stop:
	case <-grace.C:
		by.force()
	}
}

// end ends the vigil and returns why the stream is over: what it was cut for, else
// reason. An inner door may have cut it first, for the same cause as the vigil would
// have: that is no fault of the service.
func (v *vigil) end(reason problem.Reason) problem.Reason {
	close(v.stop)
	<-v.done
	r := v.reason
	if r == problem.OK && reason == problem.UpstreamProtocol {
		r = v.still()
	}
	if r == problem.OK {
		r = reason
	}
	return r
}

// atOnce is for ends.drain: who had the stream opens it again elsewhere.
func atOnce() bool { return true }

// stillMay asks again what route, authenticate and authorize asked when the stream
// was opened. That is mostly a look at what is remembered; an answer that cannot
// be had is a no, as it would be for a new request. It only reads of the trip what
// does not change while the stream is open.
func (g *Gateway) stillMay(ctx context.Context, t *trip) problem.Reason {
	rt, values, reason := g.heir(t)
	if reason != problem.OK {
		return reason
	}
	p := t.principal
	if t.cred.Kind != NoCredential {
		key := credentialKey{hash: t.cred.Hash, kind: t.cred.Kind}
		e := g.remembered(key, g.clock())
		if e == nil {
			var err error
			if e, err = g.lookup(ctx, key, t.cred); err != nil {
				if ctx.Err() != nil {
					return problem.OK // the client has ended the stream itself
				}
				if p, ok := errors.AsType[*problem.Error](err); ok && p.Reason != problem.OK {
					return p.Reason
				}
				return problem.AuthUnavailable
			}
		}
		p = e.principal
		if r := fromHere(p, t.Client); r != problem.OK {
			return r
		}
	}
	if r := g.admits(rt, p); r != problem.OK {
		return r
	}
	if rt.Signed && !t.route.Signed { // since the map changed: nobody has signed this
		return problem.ProofMissing
	}
	if o := rt.Owner; o.Kind == zone.OwnerPath && !policy.Owns(p, values.Get(o.Arg)) {
		return problem.OwnerDenied
	}
	return problem.OK
}

// vigils are those of the open streams, by what may be revoked under them.
type vigils struct {
	mu       sync.Mutex
	by       map[[sha256.Size]byte]map[*vigil]struct{} // guarded by mu; by credential
	subjects map[*vigil][2]string                      // guarded by mu; the principal and its owner
}

func (s *vigils) add(v *vigil, credential [sha256.Size]byte, subjects [2]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by, s.subjects = map[[sha256.Size]byte]map[*vigil]struct{}{}, map[*vigil][2]string{}
	}
	if s.by[credential] == nil {
		s.by[credential] = map[*vigil]struct{}{}
	}
	s.by[credential][v] = struct{}{}
	s.subjects[v] = subjects
}

func (s *vigils) remove(v *vigil, credential [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.subjects, v)
	delete(s.by[credential], v)
	if len(s.by[credential]) == 0 {
		delete(s.by, credential)
	}
}

// forget makes the streams of a credential look.
func (s *vigils) forget(credential [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := range s.by[credential] {
		v.wake()
	}
}

// forgetSubject makes the streams of a subject look.
func (s *vigils) forgetSubject(subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for v, of := range s.subjects {
		if of[0] == subject || of[1] == subject {
			v.wake()
		}
	}
}

func (v *vigil) wake() {
	select {
	case v.look <- struct{}{}:
	default: // it will look already
	}
}
