package svid

import (
	"net"
	"net/netip"
	"testing"
)

// visitor is a connection in memory from an address.
type visitor struct {
	net.Conn
	from   string
	closed bool
}

func (v *visitor) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(v.from), 4711))
}

func (v *visitor) Close() error { v.closed = true; return nil }

// TestCrowd: whoever has not shown who it is makes way for the next; nobody takes
// all of the places, neither an address nor a workload.
func TestCrowd(t *testing.T) {
	c := newCrowd(nil, 32, 4)
	come := func(from string) (*visitor, *guest) {
		v := &visitor{from: from}
		return v, c.welcome(v)
	}
	var named []*guest
	for range 10 {
		_, g := come("192.0.2.1")
		if g == nil || !g.name("orders") {
			t.Fatal("a workload finds no place in an empty room")
		}
		named = append(named, g)
	}
	var strangers []*visitor
	for range 22 { // an attacker with a few addresses of its own
		v, g := come([]string{"198.51.100.1", "198.51.100.2", "198.51.100.3", "2001:db8::1", "2001:db8:1::1", "2001:db8:2::1"}[len(strangers)%6])
		if g == nil {
			t.Fatalf("stranger %d finds no place", len(strangers))
		}
		strangers = append(strangers, v)
	}
	// Who has its share makes way for itself: behind the address of an attacker, or
	// on this host, may be a workload. Else it is the first of all.
	for _, next := range []struct {
		from string
		way  int
	}{{"198.51.100.2", 1}, {"2001:db8::99", 3}, {"192.0.2.7", 0}, {"192.0.2.7", 2}} {
		v, g := come(next.from)
		switch {
		case g == nil:
			t.Fatalf("%s: a full room of strangers lets nobody in", next.from)
		case !strangers[next.way].closed:
			t.Errorf("%s: another than stranger %d made way", next.from, next.way)
		case !g.name("catalog") || v.closed:
			t.Errorf("%s: a workload has no place", next.from)
		}
	}
	if _, g := come("192.0.2.8"); g == nil || g.name("orders") {
		t.Error("ten connections of a workload, and one more when it is crowded")
	}
	for _, g := range named {
		_ = g.Close()
		_ = g.Close() // the TLS above and the crowd may both do so
	}
	if _, g := come("192.0.2.9"); g == nil || !g.name("orders") {
		t.Error("the places of closed connections are not free")
	}
	for g := range c.open {
		_ = g.Close()
	}
	if c.strangers.Len() != 0 || len(c.held) != 0 || len(c.open) != 0 {
		t.Errorf("after all have gone: %d strangers, %v, %d open", c.strangers.Len(), c.held, len(c.open))
	}
}

// TestNamedFillTheRoom: connections with a name make way for nobody.
func TestNamedFillTheRoom(t *testing.T) {
	c := newCrowd(nil, 8, 1)
	for i := range 8 {
		v := &visitor{from: "192.0.2." + string(rune('1'+i))}
		if g := c.welcome(v); g == nil || !g.name(v.from) {
			t.Fatalf("%d of 8 finds no place", i)
		}
	}
	if c.welcome(&visitor{from: "192.0.2.100"}) != nil {
		t.Error("a ninth of eight")
	}
}
