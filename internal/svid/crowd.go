package svid

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
)

// sharePart of the places is the most that one address from which strangers come
// has when more than half of them are taken.
const sharePart = 8

// crowd is a bound on connections under the handshake. Anybody who reaches a
// listener can open connections without showing who he is: so a stranger makes
// way for the next one, the first to come of an address that has its share, or
// of all when every place is taken.
type crowd struct {
	net.Listener
	most  int
	share int // of one workload when it is crowded

	mu        sync.Mutex
	open      map[*guest]struct{} // guarded by mu
	strangers *list.List          // guarded by mu; *guest without a name, the first came first
	held      map[holder]int      // guarded by mu
}

// holder is who has places.
type holder struct {
	name string     // of a workload
	from netip.Addr // of strangers, see HostOf
}

// NewCrowd bounds the connections of a listener, for Conns.Listener: most in all,
// and share of one workload while more than half are taken. Connections whose
// peer has not proved in a handshake who it is make way for others: to have seen
// the certificate of a workload is not enough to take places in its name.
func NewCrowd(inner net.Listener, most, share int) net.Listener { return newCrowd(inner, most, share) }

func newCrowd(inner net.Listener, most, share int) *crowd {
	return &crowd{Listener: inner, most: most, share: share, open: map[*guest]struct{}{}, strangers: list.New(), held: map[holder]int{}}
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
		g.holder.from = HostOf(ap.Addr())
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
	most := c.most / sharePart
	if h.name != "" {
		most = c.share
	}
	return 2*taken >= c.most && c.held[h] >= max(1, most)
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

// guestUnder finds the place of a connection, nil where its listener is no crowd.
func guestUnder(nc net.Conn) *guest {
	for {
		switch c := nc.(type) {
		case *guest:
			return c
		case interface{ NetConn() net.Conn }:
			nc = c.NetConn()
		default:
			return nil
		}
	}
}

// HostOf is what counts as one address: an IPv6 host chooses freely within its /64.
func HostOf(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
