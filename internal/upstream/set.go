// Package upstream is an HTTP/1.1 client (RFC 9112), and for streams that need it
// an HTTP/2 client (RFC 9113), for one purpose: it sends the
// requests of a door to the instances of one service, which it watches, and hands
// back their answers.
//
// It promises that a request leaves as the bytes that were judged, framed anew;
// that it is sent again only when that is certain to do no harm; that nothing a
// connection was left with reaches the next request; that everything is bounded,
// in time, in size and in number, and for each client; and that an answer is whole
// or an error. It refuses every answer about whose end two parties could disagree.
//
// It knows nothing of tokens, users or proofs: what a request says beside its
// target is written by its Fields, what binds it to a connection by Config.Prove.
package upstream

import (
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// Set is a service as it is reached: its instances, their
// connections and what is known of their health. It is safe for concurrent use.
type Set struct {
	service   *zone.Service
	cfg       Config
	instances []*instance
	next      atomic.Uint32 // where the search begins, so that equals take turns
	retries   retryBudget
	seed      maphash.Seed // of the names of clients, see holderOf
	closed    atomic.Bool
}

// New makes the set of a service. It starts nothing and dials nothing: health is
// watched while Run is running.
func New(svc *zone.Service, cfg Config) *Set {
	s := &Set{service: svc, cfg: cfg.withDefaults(), seed: maphash.MakeSeed()}
	s.retries.tokens.Store(retryCap)
	for _, u := range svc.Doors() {
		in := &instance{Upstream: u, set: s, places: newPlaces(s.cfg.Outstanding)}
		in.calls = newH2Pool(in, &s.cfg)
		s.instances = append(s.instances, in)
	}
	return s
}

// Close closes the idle connections. Those in use are closed as they come back.
func (s *Set) Close() {
	s.closed.Store(true)
	for _, in := range s.instances {
		in.closeIdle(func(*wire) bool { return true })
		in.calls.closeIdle(func(time.Time) bool { return true })
	}
}

// pick takes the instance with the fewest requests under way and counts one
// more; the caller gives it back with release. Order of preference: instances
// that work, instances whose health check fails, an ejected one. An ejected
// instance whose time is over is tried with one request at a time (half-open);
// a request that could not be tried again elsewhere is not risked on it while
// another instance works. What is in avoid is taken only when there is no other.
// An instance of which the holder has its share counts as busy. Where there is one
// instance alone nobody is spared by leaving it alone: it is asked each time.
func (s *Set) pick(avoid []*instance, again bool, holder uint64) (lease, problem.Reason) {
	const ( // rank: the lower the better
		works = iota
		unhealthy
		avoided
		ejected
		none
	)
	var best *instance
	bestRank, bestLoad, busy := none, int32(0), false
	start := s.next.Add(1)
	for i := range s.instances {
		in := s.instances[(int(start)+i)%len(s.instances)]
		load := in.outstanding.Load()
		if in.places.closedTo(holder, int(load)) {
			busy = true
			continue
		}
		rank := works
		switch probe := in.ejection(); {
		case len(s.instances) == 1:
		case probe == ejectedNow:
			rank = ejected
		case probe == halfOpen && again && !slices.Contains(avoid, in):
			if in.probing.CompareAndSwap(false, true) {
				return in.lease(true, holder, start)
			}
			continue
		case probe == halfOpen:
			rank = ejected
		case slices.Contains(avoid, in):
			rank = avoided
		case in.unhealthy.Load():
			rank = unhealthy
		}
		if rank < bestRank || rank == bestRank && load < bestLoad {
			best, bestRank, bestLoad = in, rank, load
		}
	}
	switch {
	case best == nil && busy:
		return lease{}, problem.UpstreamBusy
	case best == nil:
		return lease{}, problem.UpstreamUnreachable
	case bestRank == ejected:
		// Nothing else is left, so a dead service is asked now and then, by one
		// request at a time; the others are refused at once.
		best = s.firstBack()
		if best == nil || !best.probing.CompareAndSwap(false, true) {
			return lease{}, problem.UpstreamUnreachable
		}
	}
	return best.lease(bestRank == ejected, holder, start)
}

// worksWithout says whether another instance is in use.
func (s *Set) worksWithout(in *instance) bool {
	for _, other := range s.instances {
		if other != in && other.ejection() == closedBreaker && !other.unhealthy.Load() {
			return true
		}
	}
	return false
}

// firstBack returns the ejected instance that has been out the longest, when
// that is at least the shortest ejection.
func (s *Set) firstBack() *instance {
	now := s.cfg.Clock().UnixNano()
	var first *instance
	since := now - int64(ejectionFloor)
	for _, in := range s.instances {
		if at := in.ejectedAt.Load(); at != 0 && at <= since && !in.probing.Load() {
			first, since = in, at
		}
	}
	return first
}
