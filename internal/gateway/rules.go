package gateway

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	"sallyport.dev/internal/problem"
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
// the connections of the old one end with their next answer (over HTTP/2, where a
// GOAWAY can meet a request that cannot be sent twice, that one fails).
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
	g.cfg = cfg
	g.inForce.Store(next)
	g.move(moves, next)
	before.leave()
	return nil
}

// heir returns the route by which the rules in force would take the request of a
// trip, with the values of its path, or the reason why they would not: the trip
// may have begun under earlier rules.
func (g *Gateway) heir(t *trip) (*route, *zone.Values, problem.Reason) {
	now := g.now()
	if t.listener.rules == nil || t.listener.rules == now {
		return t.route, &t.values, problem.OK
	}
	l := now.listener(t.Listener)
	switch {
	case l == nil:
		return nil, nil, problem.RouteUnknown
	case l.ClientCA != "" && t.conn != nil && !bytes.Equal(t.conn.clientCA, l.clientCA):
		return nil, nil, problem.ListenerCertificate
	case !l.hosts[t.host]:
		return nil, nil, problem.ListenerHost
	}
	values := new(zone.Values)
	rt := l.find(t.r.Method, t.path, values)
	if rt == nil || rt.serviceName != t.route.serviceName || rt.Stream != t.route.Stream {
		return nil, nil, problem.RouteUnknown
	}
	if t.encodedSlash && !rt.EncodedSlash {
		return nil, nil, problem.RequestPath
	}
	if len(rt.NotEnforced) > 0 {
		return nil, nil, problem.ZoneNotEnforced
	}
	return rt, values, rt.checkParams(values, t.query)
}

// find returns the route of a request that nothing else is asked of, nil when
// there is none.
func (l *listener) find(method, path string, values *zone.Values) *route {
	matched, found := l.matcher.Match(method, path, values)
	if found != zone.Matched {
		return nil
	}
	rt := l.routes[matched]
	if rt.whole != nil {
		if narrower, _ := rt.whole.Match(method, path, nil); narrower != matched {
			return nil
		}
	}
	return rt
}
