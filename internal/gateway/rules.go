package gateway

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"sallyport.dev/internal/upstream"
	"sallyport.dev/zone"
)

// rules is what one map says to the outer door: all that a reload replaces. A
// trip keeps to its end the rules that it began with.
type rules struct {
	zone      *zone.Zone
	listeners []*listener      // as in the zone
	pools     map[string]*pool // by service
	trips     atomic.Int64     // under way by these rules, and one while they are in force
	over      func()           // lets go of the pools; called when the last trip has left, and harmless again
}

// leave ends what enter began.
func (r *rules) leave() {
	if r.trips.Add(-1) == 0 {
		r.over()
	}
}

// listener returns the listener of a name, nil when there is none.
func (r *rules) listener(name string) *listener {
	for _, l := range r.listeners {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// pool is a service as it is reached: its connections and what is known of its
// health. It outlives a reload that does not concern it.
type pool struct {
	*upstream.Set
	service *zone.Service      // of the map it was made of
	users   int                // rules that have it; guarded by Gateway.pooling
	stop    context.CancelFunc // ends its health checks; nil before they began
	stopped sync.WaitGroup
}

// fits says whether the pool may go on as that of a service of a later map.
func (p *pool) fits(svc *zone.Service) bool {
	return p.service.InnerDoor() == svc.InnerDoor() && p.service.Health == svc.Health && reflect.DeepEqual(p.service.Doors(), svc.Doors())
}

// watchHealth begins the health checks.
func (p *pool) watchHealth() {
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.stopped.Go(func() { p.Run(ctx) })
}

func (p *pool) close() {
	if p.stop != nil {
		p.stop()
		p.stopped.Wait()
	}
	p.Close()
}

// makeRules makes the rules of a map. before, which may be nil, are those in
// force: what the map leaves as it was is taken over from them. Nothing is
// opened or started, and on an error nothing is left.
func (g *Gateway) makeRules(cfg *Config, before *rules) (*rules, error) {
	r := &rules{zone: cfg.Zone, pools: make(map[string]*pool, len(cfg.Zone.Services))}
	r.trips.Store(1)
	r.over = sync.OnceFunc(func() { g.release(r) })
	for _, svc := range cfg.Zone.Services {
		if before != nil {
			if p := before.pools[svc.Name]; p != nil && p.fits(svc) {
				r.pools[svc.Name] = p
				continue
			}
		}
		r.pools[svc.Name] = &pool{Set: upstream.New(svc, cfg.Upstream), service: svc}
	}
	g.hold(r)
	for i, zl := range cfg.Zone.Listeners {
		l, err := newListener(g, r, zl, i, cfg, before)
		if err != nil {
			g.release(r)
			return nil, err
		}
		r.listeners = append(r.listeners, l)
	}
	return r, nil
}

// hold counts the rules as users of their pools.
func (g *Gateway) hold(r *rules) {
	g.pooling.Lock()
	defer g.pooling.Unlock()
	for _, p := range r.pools {
		p.users++
	}
}

// release closes the pools that nobody uses any more.
func (g *Gateway) release(r *rules) {
	g.pooling.Lock()
	var unused []*pool
	for _, p := range r.pools {
		if p.users--; p.users == 0 {
			unused = append(unused, p)
		}
	}
	g.pooling.Unlock()
	for _, p := range unused {
		p.close()
	}
}

// now returns the rules in force.
func (g *Gateway) now() *rules { return g.inForce.Load() }

// Reload replaces the zone: listeners, routes, limits, services. It prepares all
// before it changes anything; on an error the zone in force stays whole.
//
// No connection is closed and no request refused for it, but where the right to
// it is gone: a listener that the new map has not answers what is in hand and
// closes, and streams whose route is gone, or no longer allows them, are cut by
// their vigil. A listener whose server has other bounds (header, header_time,
// idle, streams) gets new connections by a new server on the same socket, while
// the connections of the old one end with their next answer.
//
// The name of the zone cannot change.
func (g *Gateway) Reload(z *zone.Zone, certificates map[string]Certificates, locals []Local) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	if !g.serving || g.draining.Load() {
		return errNotServing
	}
	before := g.now()
	if z.Name != before.zone.Name {
		return fmt.Errorf("gateway: the zone is %s and cannot become %s", before.zone.Name, z.Name)
	}
	cfg := g.cfg
	cfg.Zone, cfg.Certificates, cfg.Locals = z, certificates, locals
	if err := cfg.check(); err != nil {
		return err
	}
	next, err := g.makeRules(&cfg, before)
	if err != nil {
		return err
	}
	moves, err := g.prepareDoors(next)
	if err != nil {
		g.release(next)
		return err
	}
	for _, p := range next.pools {
		if p.stop == nil {
			p.watchHealth()
		}
	}
	if !slices.Equal(listenerNames(before), listenerNames(next)) {
		// Inside tokens hang on their entry by the index of their listener.
		g.principals.forgetAll()
	}
	g.cfg = cfg
	g.inForce.Store(next)
	g.move(moves, next)
	before.leave()
	return nil
}

func listenerNames(r *rules) []string {
	names := make([]string, len(r.listeners))
	for i, l := range r.listeners {
		names[i] = l.Name
	}
	return names
}

// heir returns the route by which the rules in force would let the request of a
// trip in, and false when there is none: it began under earlier rules.
func (g *Gateway) heir(t *trip) (*route, bool) {
	if t.listener.rules == nil || t.listener.rules == g.now() {
		return t.route, true
	}
	l := g.now().listener(t.Listener)
	if l == nil {
		return nil, false
	}
	var values zone.Values
	matched, found := l.matcher.Match(t.r.Method, t.path, &values)
	if found != zone.Matched {
		return nil, false
	}
	rt := l.routes[matched]
	if rt.whole != nil {
		if narrower, _ := rt.whole.Match(t.r.Method, t.path, nil); narrower != matched {
			return nil, false
		}
	}
	same := rt.serviceName == t.route.serviceName && rt.Stream == t.route.Stream && len(rt.NotEnforced) == 0
	return rt, same && strings.EqualFold(rt.Method, t.route.Method)
}
