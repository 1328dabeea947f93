package gateway

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// upstreamConfig bounds what the gateway spends on a service. Every zero value
// stands for the default that is written beside it.
type upstreamConfig struct {
	dial        func(ctx context.Context, network, address string) (net.Conn, error) // default net.Dialer
	dialTime    time.Duration                                                        // 2 s: bounds one dial
	headTime    time.Duration                                                        // 30 s from the sent request to the head of the answer
	pieceTime   time.Duration                                                        // 30 s between two pieces of a body, either way
	answerTime  time.Duration                                                        // 5 min for the whole answer; streams have no such bound
	streamIdle  time.Duration                                                        // 2 min between two pieces of a declared stream
	idleTime    time.Duration                                                        // 30 s: below the 60 to 75 s after which services commonly close
	idleConns   int                                                                  // 256 idle connections per instance
	outstanding int                                                                  // 1024 requests under way per instance
	health      time.Duration                                                        // 5 s between two checks
	clock       func() time.Time                                                     // default time.Now
	log         *slog.Logger                                                         // default discards
}

func (c upstreamConfig) withDefaults() upstreamConfig {
	fill := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	fill(&c.dialTime, 2*time.Second)
	fill(&c.headTime, 30*time.Second)
	fill(&c.pieceTime, 30*time.Second)
	fill(&c.answerTime, 5*time.Minute)
	fill(&c.streamIdle, 2*time.Minute)
	fill(&c.idleTime, 30*time.Second)
	fill(&c.health, 5*time.Second)
	if c.idleConns == 0 {
		c.idleConns = 256
	}
	if c.outstanding == 0 {
		c.outstanding = 1024
	}
	if c.clock == nil {
		c.clock = time.Now
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.dial == nil {
		c.dial = (&net.Dialer{Timeout: c.dialTime}).DialContext
	}
	return c
}

// upstreamSet is a service as the gateway reaches it: its instances, their
// connections and what is known of their health. It is safe for concurrent use.
type upstreamSet struct {
	name      string
	health    string // path of GET health; empty: dial only
	cfg       upstreamConfig
	instances []*instance
	next      atomic.Uint32 // where the search begins, so that equals take turns
	retries   retryBudget
	closed    atomic.Bool
}

// newUpstreamSet makes the set of a service. It starts nothing and dials nothing:
// health is watched while run is running.
func newUpstreamSet(svc *zone.Service, cfg upstreamConfig) *upstreamSet {
	s := &upstreamSet{name: svc.Name, health: svc.Health, cfg: cfg.withDefaults()}
	s.retries.tokens.Store(retryCap)
	for _, u := range svc.Upstreams {
		s.instances = append(s.instances, &instance{set: s, scheme: u.Scheme, network: u.Network, address: u.Address, url: u.URL})
	}
	return s
}

// Close closes the idle connections. Those in use are closed as they come back.
func (s *upstreamSet) Close() {
	s.closed.Store(true)
	for _, in := range s.instances {
		in.closeIdle(func(*wire) bool { return true })
	}
}

// pick takes the instance with the fewest requests under way and counts one
// more; the caller gives it back with release. Order of preference: instances
// that work, instances whose health check fails, an ejected one. An ejected
// instance whose time is over is tried with one request at a time (half-open);
// a request that could not be tried again elsewhere is not risked on it while
// another instance works. avoid, which may be nil, is taken only when there is
// no other.
func (s *upstreamSet) pick(avoid *instance, again bool) (lease, problem.Reason) {
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
		if int(load) >= s.cfg.outstanding {
			busy = true
			continue
		}
		rank := works
		switch probe := in.ejection(); {
		case probe == ejectedNow:
			rank = ejected
		case probe == halfOpen && (again || len(s.instances) == 1) && in != avoid:
			if in.probing.CompareAndSwap(false, true) {
				in.outstanding.Add(1)
				return lease{instance: in, probe: true}, problem.OK
			}
			continue
		case probe == halfOpen:
			rank = ejected
		case in == avoid:
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
	best.outstanding.Add(1)
	return lease{instance: best, probe: bestRank == ejected}, problem.OK
}

// worksWithout says whether another instance is in use.
func (s *upstreamSet) worksWithout(in *instance) bool {
	for _, other := range s.instances {
		if other != in && other.ejection() == closedBreaker && !other.unhealthy.Load() {
			return true
		}
	}
	return false
}

// firstBack returns the ejected instance that has been out the longest, when
// that is at least the shortest ejection.
func (s *upstreamSet) firstBack() *instance {
	now := s.cfg.clock().UnixNano()
	var first *instance
	since := now - int64(ejectionFloor)
	for _, in := range s.instances {
		if at := in.ejectedAt.Load(); at != 0 && at <= since && !in.probing.Load() {
			first, since = in, at
		}
	}
	return first
}

// retryBudget keeps retries a small part of the traffic: each request earns a
// tenth of one and a hundred may be saved up, so a service that fails as a
// whole is not asked twice as often as one that works.
type retryBudget struct {
	tokens atomic.Int64 // tenths of a retry
}

const (
	retryCost = 10
	retryCap  = 100 * retryCost
)

func (b *retryBudget) earn() {
	if b.tokens.Load() < retryCap {
		b.tokens.Add(1)
	}
}

func (b *retryBudget) spend() bool {
	if b.tokens.Add(-retryCost) >= 0 {
		return true
	}
	b.tokens.Add(retryCost)
	return false
}

// retriable reports whether a request of this method may be sent again when
// nobody knows whether the first was acted on: the safe methods of RFC 9110
// section 9.2.1. PUT and DELETE are idempotent in effect but not in their
// answers (a second DELETE says 404), so they are not.
func retriable(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}
