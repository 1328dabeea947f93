package control

import (
	"container/list"
	"context"
	"net"
	"net/netip"
	"sync"

	"sallyport.dev/internal/svid"
)

// maxConnections bounds the connections of the listener.
const maxConnections = 512

// sharePart of the places is the most that one holder has when more than half of
// them are taken: a workload, or an address from which strangers come.
const sharePart = 8

// crowd is the bound on connections. Anybody who reaches the listener can open
// connections without showing who he is, and a guard that cannot ask for its map
// closes its service in the end: so a stranger makes way for the next one, the first
// to come of an address that has its share, or of all when every place is taken.
type crowd struct {
	net.Listener
	most int

	mu        sync.Mutex
	open      map[*guest]struct{} // guarded by mu
	strangers *list.List          // guarded by mu; *guest without a name, the first came first
	held      map[holder]int      // guarded by mu
}

// holder is who has places.
type holder struct {
	name string     // of a workload
	from netip.Addr // of strangers, see hostOf
}

func newCrowd(inner net.Listener, most int) *crowd {
	return &crowd{Listener: inner, most: most, open: map[*guest]struct{}{}, strangers: list.New(), held: map[holder]int{}}
}

// Accept returns the next connection for which there is a place.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		raw, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if g := c.welcome(raw); g != nil {
			return g, nil
		}
		_ = raw.Close() // nothing was said on it
	}
}

// guest is a connection that has a place.
type guest struct {
	net.Conn
	crowd  *crowd
	holder holder        // guarded by crowd.mu
	at     *list.Element // guarded by crowd.mu; nil: it has a name
}

// welcome gives a connection a place, nil when there is none.
func (c *crowd) welcome(raw net.Conn) *guest {
	g := &guest{Conn: raw, crowd: c}
	if ap, err := netip.ParseAddrPort(raw.RemoteAddr().String()); err == nil {
		g.holder.from = hostOf(ap.Addr())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if shared := c.hasShare(g.holder, len(c.open)); shared || len(c.open) >= c.most {
		if !c.makeWay(g.holder, shared) {
			return nil
		}
	}
	c.open[g] = struct{}{}
	c.held[g.holder]++
	g.at = c.strangers.PushBack(g)
	return g
}

// makeWay closes the connection of the first stranger, of the holder when it has
// its share. It reports whether there was one. The caller holds mu.
func (c *crowd) makeWay(h holder, shared bool) bool {
	for at := c.strangers.Front(); at != nil; at = at.Next() {
		if g := at.Value.(*guest); !shared || g.holder == h {
			c.leave(g)
			_ = g.Conn.Close() // its server reads the end
			return true
		}
	}
	return false
}

// hasShare reports whether it is crowded and the holder has its share. The caller holds mu.
func (c *crowd) hasShare(h holder, taken int) bool {
	return 2*taken >= c.most && c.held[h] >= max(1, c.most/sharePart)
}

// leave frees a place. The caller holds mu.
func (c *crowd) leave(g *guest) {
	if _, here := c.open[g]; !here {
		return
	}
	delete(c.open, g)
	c.drop(g.holder)
	if g.at != nil {
		c.strangers.Remove(g.at)
		g.at = nil
	}
}

func (c *crowd) drop(h holder) {
	if c.held[h]--; c.held[h] == 0 {
		delete(c.held, h)
	}
}

// name says that the peer has shown who it is. It reports false when the
// workload has its share of a crowded room: the connection should end.
func (g *guest) name(workload string) bool {
	c := g.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, here := c.open[g]; !here || g.at == nil {
		return here // it has made way, or is known
	}
	h := holder{name: workload}
	if c.hasShare(h, len(c.open)-1) {
		return false
	}
	c.strangers.Remove(g.at)
	g.at = nil
	c.drop(g.holder)
	g.holder = h
	c.held[h]++
	return true
}

// Close closes the connection and frees its place.
func (g *guest) Close() error {
	g.crowd.mu.Lock()
	g.crowd.leave(g)
	g.crowd.mu.Unlock()
	return g.Conn.Close()
}

type guestKey struct{}

// ConnContext lets each request find its connection, for PeerFrom and for the crowd.
func ConnContext(ctx context.Context, nc net.Conn) context.Context {
	ctx = svid.ConnContext(ctx, nc)
	for {
		switch c := nc.(type) {
		case *guest:
			return context.WithValue(ctx, guestKey{}, c)
		case interface{ NetConn() net.Conn }:
			nc = c.NetConn()
		default:
			return ctx
		}
	}
}

// hostOf is what counts as one address: an IPv6 host chooses freely within its /64.
func hostOf(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
